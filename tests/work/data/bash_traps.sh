# bash: traps of every kind, functions, subshells, exit codes
# needs: bash
# with:
# with: --lazy
# with: --interp
cat >script <<'END'
trap 'echo exit $?' EXIT
trap 'echo usr1' USR1
trap 'echo err at $LINENO' ERR
f() { trap 'echo return' RETURN; echo "in f $*"; return 3; }
kill -USR1 $$
f a b || echo "f gave $?"
false
( trap 'echo sub exit' EXIT; exit 5 ); echo "sub gave $?"
( kill -TERM $BASHPID ); echo "killed: $?"
trap '' TERM; kill -TERM $$; trap - TERM
trap 'echo chld' CHLD; /bin/true; trap - CHLD
trap 'echo debug $BASH_COMMAND' DEBUG; x=1; y=$((x+1)); trap - DEBUG
g() { local n=$1; ((n == 0)) && { echo deep; return; }; g $((n-1)); }
g 200
echo "$(trap -p EXIT)"
sleep 5 & p=$!; trap 'kill $p; echo alarmed' ALRM; (sleep .2; kill -ALRM $$) & wait $p; echo "wait: $?"; wait $p; echo "wait: $?"
set -e; trap 'echo last $?' EXIT
false
echo not reached
END
#== run
$RUN bash script; echo "status $?"
$RUN bash -c 'kill -SEGV $$'; echo "status $?"
$RUN bash -c 'exec false'; echo "status $?"
$RUN bash -c 'exec -a other bash -c "echo \$0"'
$RUN bash --norc -c 'ulimit -n 50; ulimit -n; umask 077; >f; times >/dev/null'
