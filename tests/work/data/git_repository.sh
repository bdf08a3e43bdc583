# git: init, commits, branches, merge with a conflict, rebase, stash, gc, fsck, log, blame, archive
# needs: git
# with:
# with: --lazy
# ignore: r/.git/index
# ignore: *.git/logs*
#== run
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@x GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@x GIT_AUTHOR_DATE='2024-01-01 00:00:00 +0000' GIT_COMMITTER_DATE='2024-01-01 00:00:00 +0000' GIT_PAGER=cat
$RUN git init -q -b main r; cd r
seq 1000 >a; mkdir d; for i in $(seq 50); do echo "file $i" >d/$i; done
$RUN git add .; $RUN git commit -m first; $RUN git status
$RUN git checkout -b side; sed -i 's/^500$/side/' a; $RUN git commit -qam side
$RUN git checkout -q main; sed -i 's/^500$/main/' a; $RUN git commit -qam main; $RUN git diff --stat HEAD~1
$RUN git merge side; echo "merge $?"; $RUN git diff; sed -i '/^<<<<<<<\|^=======\|^>>>>>>>/d' a; $RUN git add a; $RUN git commit -qm merged
$RUN git log --graph --oneline --decorate; $RUN git blame -L 499,502 a; $RUN git show --stat HEAD
$RUN git branch topic HEAD~1; $RUN git checkout -q topic; echo x >x; $RUN git add x; $RUN git commit -qm x; $RUN git rebase main 2>&1 | tr '\r' '\n' | tail -1
$RUN git tag -a v1 -m one; $RUN git describe; echo y >>x; $RUN git stash; $RUN git stash pop; $RUN git checkout x
$RUN git grep -n 'file 1'; $RUN git rev-list --count --all; $RUN git cat-file -p HEAD; $RUN git ls-tree -r HEAD | md5sum
$RUN git archive HEAD | md5sum; $RUN git gc --quiet; $RUN git fsck --full; $RUN git count-objects -v; $RUN git bisect start HEAD HEAD~2; $RUN git bisect run false; $RUN git nosuch; echo "status $?"
