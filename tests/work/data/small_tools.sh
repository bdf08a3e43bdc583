# file, bc, jq, man, groff, gpg, ssh-keygen, xxd, tree of small programs, ps, strace of a program
# needs: file bc jq man xxd ssh-keygen gpg strace ip
# with:
# with: --lazy
# mask: [0-9A-F]{16,}
seq 100 >f; gzip -kn f; cp /bin/true t
#== run
$RUN file f f.gz t /usr/lib/x86_64-linux-gnu/libc.so.6; echo 'scale=50; 4*a(1); 2^200' | $RUN bc -l; echo '{"a":[1,2,{"b":"x"}]}' | $RUN jq -c '.a[2].b, (.a|length), [.a[0:2][]|.*2]'; echo '{' | $RUN jq .; echo "status $?"
MANWIDTH=80 $RUN man -P cat true 2>&1 | md5sum; printf '.TH X 1\n.SH NAME\nx \\- y\n' | $RUN groff -man -Tascii 2>/dev/null | head -5; $RUN xxd f | head -2
$RUN ssh-keygen -q -t ed25519 -N '' -C c -f k; $RUN ssh-keygen -l -f k.pub | cut -d' ' -f1,3,4; echo m >m; $RUN ssh-keygen -q -Y sign -n file -f k m 2>/dev/null; head -1 m.sig; rm -f k k.pub m.sig
mkdir -m 700 g; export GNUPGHOME=$PWD/g; echo secret | $RUN gpg --batch --no-tty -q --passphrase x --pinentry-mode loopback -c -o e 2>/dev/null; $RUN gpg --batch --no-tty -q --passphrase x --pinentry-mode loopback -d e 2>/dev/null; gpgconf --kill all 2>/dev/null; rm -rf g e
$RUN strace -f -e trace=execve -o s sh -c '/bin/true; exit 3'; echo "status $?"; grep -c execve s; rm -f s; $RUN ps -o comm= -p 1 | wc -l; $RUN free | wc -l; $RUN uname -s; $RUN hostname | wc -l; $RUN df / | wc -l; $RUN lsblk 2>/dev/null | head -0; $RUN ip -o addr show lo | head -1 | cut -d' ' -f2; $RUN dpkg-query -W bash; $RUN dpkg -L bash | md5sum; $RUN apt-cache show bash | head -1; $RUN column -t <<<'a b'; $RUN hexdump -C f | md5sum; $RUN getopt -o ab: -- -a -b x y; $RUN flock f echo locked; $RUN setsid -w echo session; $RUN script -qc 'echo in script' /dev/null | tr -d '\r'; $RUN xmllint --version 2>/dev/null | head -0
