# locale, iconv (gconv modules), getent (NSS), localedef, id, gettext, msgfmt
# needs: locale iconv getent
# with:
# with: --lazy
# with: --interp
# slow
#== run
$RUN locale -a; $RUN locale -k LC_NUMERIC; LC_ALL=C $RUN locale charmap; $RUN locale -m | wc -l; $RUN getent passwd root; $RUN getent group daemon; $RUN getent hosts localhost; $RUN getent ahosts 127.0.0.1; $RUN getent services http; $RUN getent protocols tcp; $RUN getent passwd nosuch; echo "status $?"; $RUN getent hosts nosuch.invalid; echo "status $?"
for c in ISO-8859-1 UTF-16 UTF-32LE CP1252 SHIFT_JIS EUC-JP GB18030 BIG5 KOI8-R ISO-2022-JP UTF-7 EUC-KR IBM037; do printf 'h\303\251llo \346\227\245\346\234\254\n' | $RUN iconv -c -f UTF-8 -t $c | od -An -tx1; done; echo x | $RUN iconv -t NOSUCH; echo "status $?"; $RUN iconv -l | wc -l; printf '\303\344' | $RUN iconv -t UTF-16; echo "status $?"; printf '\342\202\254\n' | $RUN iconv -t ASCII//TRANSLIT
$RUN id root; $RUN id -un; $RUN whoami; $RUN groups root; LC_ALL=nosuch $RUN locale 2>&1; $RUN localedef --version | head -1; $RUN ldconfig -p | md5sum; $RUN ldconfig -N -X -v 2>/dev/null | md5sum; $RUN ls -ld / | cut -d' ' -f3,4
