# bash: pipes, here-documents, process substitution, descriptors, arrays, /dev/tcp, extglob
# needs: bash seq
# with:
# with: --lazy
# with: --now
cat >script <<'END'
shopt -s extglob lastpipe globstar
seq 100000 | tee >(wc -l >count) | awk '{s+=$1} END {print s}' ; sleep .3; cat count
diff <(seq 5) <(seq 2 6); echo "diff $?"
cat <<X | while read -r l; do echo "<$l>"; done
a $((6*7)) `echo back`
b ${HOME:+home}
X
cat <<-'X'
	$tabs stripped
	X
declare -A m=([one]=1 [two]=2); for k in "${!m[@]}"; do echo $k=${m[$k]}; done | sort
a=(x{1..5}); echo "${a[@]:1:3} ${#a[@]} ${a[@]/x/y}"
exec 5>file5; echo five >&5; exec 5>&-; cat file5
exec 6<>file6; echo six >&6; cat <file6
mapfile -t lines < <(seq 3); echo "${lines[2]}"
set -o pipefail; false | true; echo "pipefail $? ${PIPESTATUS[*]}"
printf '%q %05d %x %s\n' "a b" 42 255 $'t\tb'; printf '%(%Y-%m-%d)T\n' 86400
[[ abc123 =~ ([a-z]+)([0-9]+) ]] && echo "${BASH_REMATCH[2]}"
s=héllo; echo ${#s} ${s^^} ${s:1:1}; LC_ALL=C; echo ${#s}; LC_ALL=C.UTF-8
yes | head -3; echo ${PIPESTATUS[*]}
mkdir -p d/e; touch d/e/{1,2,3}.t; echo **/*.t; echo d/e/!(2*).t
for ((i=0;i<20;i++)); do (exit $i) & done; wait; echo waited
x=$(for i in {1..300}; do echo -n $(echo $i); done); echo ${#x} 
command -v nosuch || echo none; nosuch 2>&1 | sed 's/.*: line [0-9]*: //'
read -t 0.2 -r z < <(sleep 1; echo late) || echo "read $?"
select q in a b; do echo "q $q"; break; done <<<2 2>/dev/null
let 'z=2**62'; echo $z $((z*4)) $((7#12)) $RANDOM_
END
#== run
$RUN bash script 2>&1; echo "status $?"
