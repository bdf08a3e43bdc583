# python3: subprocess, asyncio, signals, os.posix_spawn, pty, select
# needs: python3
# with:
# with: --lazy
#== run
cat >t.py <<'END'
import asyncio, os, pty, select, signal, subprocess, sys, time, selectors, socket, threading
print(subprocess.run(["sort", "-n"], input="3\n1\n2\n", capture_output=True, text=True))
p = subprocess.Popen("echo out; echo err >&2; exit 4", shell=True, stdout=-1, stderr=-1); print(p.communicate(), p.returncode)
p = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"]); time.sleep(.2); p.terminate(); print(p.wait())
print(subprocess.run(["nosuch"], check=False) if 0 else "", end="")
try: subprocess.run(["./nosuch"])
except FileNotFoundError as e: print(e)
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 6"], {}); print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
got = []; signal.signal(signal.SIGUSR1, lambda s, f: got.append(s)); signal.signal(signal.SIGALRM, lambda s, f: got.append(s))
os.kill(os.getpid(), signal.SIGUSR1); signal.setitimer(signal.ITIMER_REAL, .05); time.sleep(.2); print([int(x) for x in got])
async def main():
    async def slow(n): await asyncio.sleep(.01 * n); return n
    print(await asyncio.gather(*(slow(n) for n in range(5))))
    p = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1); print(await p.communicate(b"through cat"))
    async def handle(r, w): w.write((await r.readline()).upper()); await w.drain(); w.close()
    s = await asyncio.start_server(handle, "127.0.0.1", 0)
    r, w = await asyncio.open_connection(*s.sockets[0].getsockname()); w.write(b"line\n"); print(await r.read())
    print(await asyncio.to_thread(sum, range(1000)))
    try: await asyncio.wait_for(asyncio.sleep(5), .05)
    except TimeoutError: print("timeout")
    s.close()
asyncio.run(main())
pid, fd = pty.fork()
if not pid: os.execlp("sh", "sh", "-c", "tty >/dev/null && echo on a tty; stty size")
out = b""
try:
    while x := os.read(fd, 99): out += x
except OSError: pass
print(out.split(), os.waitpid(pid, 0)[1])
a, b = socket.socketpair(); s = selectors.DefaultSelector(); s.register(a, 1); b.send(b"x"); print(type(s).__name__, len(s.select()))
print(os.system("exit 3") >> 8, os.popen("echo popen").read())
r = threading.Thread(target=lambda: time.sleep(.1), daemon=True); r.start()
pid = os.fork()
if not pid: import zlib, decimal; print(decimal.Decimal(1) / 3, flush=True); os.kill(os.getpid(), 9)
print(os.waitpid(pid, 0)[1])
sys.stdout.flush(); os.execv("/bin/echo", ["echo", "exec'ed"])
END
$RUN /usr/bin/python3 t.py 2>&1; echo "status $?"
$RUN /usr/bin/python3 -c 'import os; os.abort()'; echo "status $?"
$RUN /usr/bin/python3 -c 'raise SystemExit(9)'; echo "status $?"
$RUN /usr/bin/python3 -X faulthandler -c 'import ctypes; ctypes.string_at(0)' 2>&1 | head -1; echo "status ${PIPESTATUS[0]}"
$RUN /usr/bin/python3 -c 'raise ValueError("x")'; echo "status $?"
echo 'print(6*7); import sys; print(sys.argv)' | $RUN /usr/bin/python3 - a b
