# dash: the small shell, with traps and pipes
# needs: dash
# with:
# with: --lazy
# with: --interp
#== run
$RUN dash -c 'trap "echo bye" EXIT; x=$(seq 10 | wc -l); echo $x; (exit 3); echo $?; for i in a b; do echo $i & wait; done; kill -9 $$'; echo "status $?"
seq 4 | $RUN dash -c 'while read x; do echo "x $x"; done; exec sh -c "exit 5"'; echo "status $?"
