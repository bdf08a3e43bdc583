# vim -es, ed, sed -i, awk as editors; less and more of a pipe
# needs: vim ed
# with:
# with: --lazy
seq 200 >f; cp f g
#== run
$RUN vim -u NONE -es -c '%s/1/one/g' -c 'g/5/d' -c 'normal ggOtop' -c 'w! out' -c 'q!' f; echo "status $?"; md5sum out; $RUN vim -u NONE -es -c 'redir! > v | silent echo strftime("%Y", 0) has("unix") system("echo sys") | redir END' -c 'sort n' -c 'wq! out2' f; cat v
$RUN vim -u NONE -es +'call writefile(map(range(5), "v:val * v:val"), "sq")' +q; cat sq; printf '1,3p\n5,10s/0/zero/\n,n\n!echo shell\nw g2\nq\n' | $RUN ed -s g; echo "status $?"; $RUN less -E f | tail -1; $RUN more f | tail -1; script -qec "$RUN vim -u NONE -n -c 'set columns=80' -c 'normal Axyz' -c 'wq! tty' f" /dev/null >/dev/null; head -1 tty; rm -f .f.swp
