# tmux: a server with sessions, keys sent to a shell, the pane's text
# needs: tmux
# mask: \(created .*
#== run
export TMUX_TMPDIR=$PWD; T="$RUN tmux -f /dev/null"; $T new-session -d -s t -x 80 -y 20 'cat'; $T new-session -d -s s -x 80 -y 20 'PS1="> " sh'; $T send-keys -t s 'echo $((6*7)) >out; exit 0' Enter; for i in $(seq 60); do [ -s out ] && break; sleep .1; done; sleep .3; cat out; $T list-sessions -F '#{session_name}'; $T send-keys -t t hello Enter; sleep .5; $T capture-pane -p -t t | head -2; $T kill-server; echo "status $?"; sleep .2; rm -rf tmux-*
