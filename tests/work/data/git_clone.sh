# git: clone and push between local repositories, bundles, worktrees, submodules, hooks, format-patch and am
# needs: git
# ignore: *.git/index
# ignore: *.git/logs*
# ignore: *.git/FETCH_HEAD
# ignore: *pack-*
# ignore: *index
# ignore: *.idx
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@x GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@x GIT_AUTHOR_DATE='2024-01-01 00:00:00 +0000' GIT_COMMITTER_DATE='2024-01-01 00:00:00 +0000'
git init -q -b main src; cd src; for i in 1 2 3; do seq $i 500 >f$i; git add .; git commit -qm "c $i"; done; git tag t
#== run
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@x GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@x GIT_AUTHOR_DATE='2024-01-01 00:00:00 +0000' GIT_COMMITTER_DATE='2024-01-01 00:00:00 +0000' GIT_PAGER=cat GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.file.allow GIT_CONFIG_VALUE_0=always
$RUN git clone -q --bare src bare.git; $RUN git clone -q file://$PWD/bare.git one; $RUN git clone -q --depth 1 --no-tags file://$PWD/bare.git shallow
cd one; printf '#!/bin/sh\necho hook ran\n' >.git/hooks/pre-commit; chmod +x .git/hooks/pre-commit
echo n >n; $RUN git add n; $RUN git commit -qm n; $RUN git push -q origin main; echo "push $?"; $RUN git log --oneline; cd ..
$RUN git -C shallow fetch -q --unshallow; $RUN git -C shallow log --oneline origin/main
$RUN git -C one format-patch -q -2 -o ../patches; ls patches; $RUN git -C src am -q ../patches/0002-n.patch; $RUN git -C src log -1 --format='%H %s'
$RUN git -C one bundle create -q ../b HEAD; $RUN git -C one bundle verify ../b; $RUN git -C one worktree add -q ../wt t; ls wt; rm b
$RUN git init -q -b main super; cd super; $RUN git submodule --quiet add ../bare.git sub; $RUN git commit -qm sub; $RUN git submodule status; $RUN git ls-remote ../bare.git
