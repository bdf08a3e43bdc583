# dbus, gio, gettext, wget, zip, lz4, elfutils, perf-less: readelf of elfutils, valgrind, qemu-user, ssh-agent, ctags, lsof
# needs: dbus-run-session gio msgfmt wget zip lz4 eu-readelf
# with:
# with: --lazy
# mask: ==\d+==
# mask: --\d{4}-.*|saved .*
seq 5000 >f; printf 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\nmsgid "a"\nmsgstr "b"\n' >m.po; printf 'int twice(int x) { return 2 * x; }\nstruct s { int a; };\n' >c.c
#== run
$RUN dbus-run-session -- dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.GetId 2>&1 | wc -l; $RUN dbus-uuidgen | wc -c; $RUN gio info -a standard::size f; $RUN gio cat f | md5sum; $RUN gdbus help | head -1; $RUN gsettings list-schemas 2>/dev/null | head -0
$RUN msgfmt -o m.mo m.po; $RUN msgunfmt m.mo; $RUN xgettext -o - --omit-header -k_ c.c; $RUN gettext -d none text; echo; $RUN zip -qX z.zip f; $RUN unzip -p z.zip f | md5sum; rm z.zip; $RUN lz4 -q f f.lz4; $RUN lz4 -dc f.lz4 | md5sum; $RUN eu-readelf -h /bin/true | md5sum; $RUN eu-strings /bin/true | md5sum; $RUN eu-elfcmp /bin/true /bin/true; $RUN ctags -f - c.c; $RUN rpcgen -c /dev/null | head -1; $RUN wget -q -O - http://127.0.0.1:9/; echo "status $?"; $RUN fc-match monospace | cut -d: -f2; $RUN pkgconf --exists nosuch; echo "status $?"; $RUN lsof -v 2>&1 | head -1; $RUN getconf PAGESIZE; ssh-agent $RUN ssh-add -l; $RUN uconv -f latin1 -t utf8 <<<abc; $RUN scanelf -n /bin/true | tail -1; $RUN tic -V; $RUN infocmp -1 xterm | md5sum; $RUN tput -T xterm cols; $RUN nstat 2>/dev/null | head -0; $RUN qemu-aarch64 --version | head -1; $RUN go version 2>/dev/null | head -0; $RUN valgrind -q true; echo "status $?"; $RUN heaptrack_print --version 2>&1 | head -0; $RUN perf --version 2>&1 | wc -l; $RUN red -V 2>&1 | head -1; $RUN osslsigncode --version 2>&1 | head -1
