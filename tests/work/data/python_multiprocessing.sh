# python3: multiprocessing by fork, spawn and forkserver; shared memory, pools, queues, locks
# needs: python3
# timeout: 90
#== run
cat >t.py <<'END'
import multiprocessing as mp, os, sys, concurrent.futures as cf
from multiprocessing import shared_memory
def square(x): return x * x
def worker(q, n): q.put((n, sum(range(n)))); sys.exit(n)
def fill(name, n):
    s = shared_memory.SharedMemory(name); s.buf[n] = n * 3; s.close()
def add(v, lock):
    for _ in range(200):
        with lock: v.value += 1
def main():
    for method in ("fork", "spawn", "forkserver"):
        c = mp.get_context(method)
        with c.Pool(3) as p: print(method, p.map(square, range(10)))
        q = c.Queue(); ps = [c.Process(target=worker, args=(q, n)) for n in (1, 2, 3)]
        [p.start() for p in ps]; print(sorted(q.get() for _ in ps)); [p.join() for p in ps]; print([p.exitcode for p in ps])
        v = c.Value("i", 0); l = c.Lock(); ps = [c.Process(target=add, args=(v, l)) for _ in range(3)]; [p.start() for p in ps]; [p.join() for p in ps]; print(v.value)
        s = shared_memory.SharedMemory(create=True, size=16)
        ps = [c.Process(target=fill, args=(s.name, n)) for n in range(4)]; [p.start() for p in ps]; [p.join() for p in ps]; print(bytes(s.buf[:4])); s.close(); s.unlink()
    a, b = mp.Pipe()
    if os.fork() == 0: b.send({"child": True}); os._exit(3)
    print(a.recv(), os.waitstatus_to_exitcode(os.wait()[1]))
    with cf.ProcessPoolExecutor(2) as e: print(list(e.map(square, range(5))))
    with mp.Manager() as m:
        d = m.dict(); p = mp.Process(target=d.update, args=({"x": 1},)); p.start(); p.join(); print(dict(d))
    print(subinterp())
def subinterp():
    import _xxsubinterpreters as si, os
    i = si.create(); r, w = os.pipe(); si.run_string(i, f"import os, math, json; os.write({w}, json.dumps(math.pi).encode())"); si.destroy(i); return os.read(r, 99)
if __name__ == "__main__": main()
END
$RUN /usr/bin/python3 t.py; echo "status $?"
