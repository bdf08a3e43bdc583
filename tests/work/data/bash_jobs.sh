# bash: job control with set -m: stop, bg, fg, wait -n, disown, process groups
# needs: bash ps
# with:
# with: --lazy
cat >script <<'END'
set -m
sleep 30 & a=$!
sleep 31 & b=$!
jobs
kill -STOP %1; sleep .3; jobs
bg %1; sleep .2; jobs
kill %2; wait %2; echo "wait gave $?"
kill %1; wait %1; echo "wait gave $?"
(sleep .3; exit 6) & fg >/dev/null; echo "fg gave $?"
(exit 7) & (sleep .3; exit 8) &
wait -n; echo "first $?"; wait -n; echo "second $?"
cat | tr a-z A-Z <<<"piped" & wait
[ "$(ps -o pgid= -p $$)" -eq "$(ps -o pgid= -p $BASHPID)" ] && echo same group
sleep 20 & [ "$(ps -o pgid= -p $! | tr -d ' ')" = $! ] && echo own group
disown; jobs; kill $!
bash -c 'kill -STOP $$; echo continued; exit 4' & p=$!; sleep .3; jobs -l | sed 's/ \+[0-9]\+ / N /'; fg; echo "fg gave $?"
set +m
coproc C { while read x; do echo "got $x"; done; }
echo one >&${C[1]}; read -u ${C[0]} line; echo $line; eval "exec ${C[1]}>&-"; wait
END
#== run
$RUN bash script; echo "status $?"
