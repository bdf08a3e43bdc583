# python3: many threads with locals, queues, locks, exceptions; gc; big recursion
# needs: python3
#== run
cat >t.py <<'END'
import threading, queue, concurrent.futures as cf, hashlib, zlib, gc, weakref, sys, time, contextvars, random, json
def job(n):
    h = hashlib.sha256(bytes([n]) * 300000).hexdigest(); return n, h[:8], zlib.crc32(bytes([n]) * 100000)
with cf.ThreadPoolExecutor(16) as e: print(list(e.map(job, range(64))))
local = threading.local(); out = []
def use(n): local.x = n; time.sleep(.001); out.append(local.x == n)
ts = [threading.Thread(target=use, args=(n,)) for n in range(150)]; [t.start() for t in ts]; [t.join() for t in ts]; print(all(out), len(out))
q = queue.Queue(); d = queue.Queue()
def w():
    while (x := q.get()) is not None: d.put(x * 2)
ts = [threading.Thread(target=w) for _ in range(4)]; [t.start() for t in ts]; [q.put(n) for n in range(1000)]; [q.put(None) for _ in ts]; [t.join() for t in ts]
print(sum(d.get() for _ in range(1000)))
threading.excepthook = lambda a: print("hook", a.exc_type.__name__)
t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()
threading.stack_size(64 << 20); sys.setrecursionlimit(60000)
def deep(n): return 0 if n == 0 else 1 + deep(n - 1)
t = threading.Thread(target=lambda: print(deep(50000))); t.start(); t.join()
class C: pass
c = C(); c.me = c; r = weakref.ref(c); del c; gc.collect(); print(r() is None)
t = threading.Timer(.05, print, ["timer"]); t.start(); t.join()
b = threading.Barrier(5); [threading.Thread(target=b.wait).start() for _ in range(4)]; b.wait(); print("barrier")
END
$RUN /usr/bin/python3 t.py; echo "status $?"
