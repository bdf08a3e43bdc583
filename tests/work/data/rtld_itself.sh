# rtld under rtld: the linker linked by itself; ldd, tree, run inside run; signals to the parent; nobody lingers
# needs: python3
#== run
$RUN $RTLD --version | cut -d' ' -f1; $RUN $RTLD ldd /bin/ls | sed 's/ (0x.*//'; $RUN $RTLD link --bindings --json /usr/bin/git | grep -c referrer; $RUN $RTLD tree /usr/bin/git | md5sum; $RUN $RTLD why /usr/bin/git inflate | md5sum; $RUN $RTLD run -- /bin/echo inner; $RUN $RTLD run -- sh -c 'exit 7'; echo "status $?"; $RUN $RTLD run -- $RTLD run -- /bin/echo third
$RUN sleep 77.5 & p=$!; sleep .6; kill -9 $p; wait $p 2>/dev/null; sleep .3; pgrep -f '^sleep 77.5' | wc -l; $RUN sh -c 'kill -TERM $$'; echo "status $?"; $RUN timeout 0.5 sleep 9; echo "status $?"; timeout 0.7 $RUN sleep 9; echo "status $?"; nohup $RUN sh -c 'echo nohup' 2>/dev/null; ($RUN cat & wait) </dev/null; echo piped | $RUN cat - /dev/null | $RUN cat; $RUN true <&-; echo $?; $RUN /bin/echo x >&-; echo $?
F='for f in /proc/self/fd/*; do n=${f##*/}; [ $n -lt 200 ] && [ -e $f ] && echo -n "$n "; done; echo'; $RUN sh -c "$F" <&-; $RUN sh -c "$F" 7</dev/null; $RUN sh -c "$F" 2>&-
