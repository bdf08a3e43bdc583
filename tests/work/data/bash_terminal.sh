# bash on a terminal: Ctrl-Z, jobs, fg, Ctrl-C, window size, readline
# needs: bash python3 stty
# mask: \x1b\[\?2004[hl]\r?
cat >drive.py <<'END'
import fcntl, os, pty, re, select, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.environ["PS1"] = "READY>"
    os.execvp(sys.argv[1], sys.argv[1:])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", 33, 101, 0, 0))
seen = b""
def until(pattern, seconds=20):
    global seen
    end = time.time() + seconds
    while not re.search(pattern, seen):
        if time.time() > end:
            sys.exit(f"no {pattern} in {seen}")
        if select.select([fd], [], [], 0.1)[0]:
            try: seen += os.read(fd, 4096)
            except OSError: break
    found = seen; seen = b""
    return found
def say(text): os.write(fd, text)
until(b"READY>")
def command(text, want=b"READY>"):
    say(text + b"\r")
    time.sleep(.15)
    lines = until(want).replace(b"\r", b"").split(b"\n")
    print([re.sub(rb"\[\d+\] \d+$", b"[n] pid", l) for l in lines[1:]], flush=True)
command(b"stty size; echo $((6*7)); tty >/dev/null && echo tty")
say(b"sleep 60\r"); time.sleep(.5); say(b"\x1a"); print(b"Stopped" in until(b"READY>"), flush=True)
command(b"jobs")
say(b"fg\r"); time.sleep(.5); say(b"\x03"); until(b"READY>")
command(b"echo after $?")
command(b"sleep 50 &")
command(b"kill %1; wait; echo waited")
say(b"echo edix"); say(b"\x7f"); command(b"ted")
say(b"\x12ted"); time.sleep(.3); command(b"")
say(b"while :; do :; done\r"); time.sleep(.4); say(b"\x03"); until(b"READY>")
command(b"trap 'echo int' INT; cat")if 0 else None
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", 20, 70, 0, 0)); time.sleep(.3)
command(b"echo $LINES $COLUMNS; stty size")
say(b"exit 9\r")
try:
    while os.read(fd, 4096): pass
except OSError: pass
print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
#== run
/usr/bin/python3 drive.py $RUN bash --norc -i; echo "status $?"
