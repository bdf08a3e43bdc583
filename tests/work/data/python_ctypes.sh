# python3: ctypes (libc, libm, callbacks, structures, errno, dlopen flags, libraries by name)
# needs: python3 gcc
# with:
# with: --lazy
cat >own.c <<'END'
#include <errno.h>
struct point { double x, y; };
struct point swap(struct point p) { struct point q = { p.y, p.x }; return q; }
int each(int (*f)(int, void *), void *d, int n) { int s = 0; for (int i = 0; i < n; i++) s += f(i, d); errno = 42; return s; }
__thread int counter = 5; int next(void) { return ++counter; }
int exported = 77;
END
gcc -shared -fPIC own.c -o libown.so
#== run
cat >t.py <<'END'
import ctypes, ctypes.util, os, threading, _ctypes
from ctypes import *
libc = CDLL(None); print(libc.strlen(b"hello"), libc.abs(-4))
libm = CDLL("libm.so.6"); libm.pow.restype = c_double; libm.pow.argtypes = [c_double] * 2; print(libm.pow(2, 10))
own = CDLL("./libown.so", use_errno=True)
class P(Structure): _fields_ = [("x", c_double), ("y", c_double)]
own.swap.restype = P; own.swap.argtypes = [P]; p = own.swap(P(1, 2)); print(p.x, p.y)
F = CFUNCTYPE(c_int, c_int, c_void_p); print(own.each(F(lambda i, d: i * i), None, 100), get_errno())
print([own.next() for _ in range(3)]); r = []; t = threading.Thread(target=lambda: r.append(own.next())); t.start(); t.join(); print(r)
print(c_int.in_dll(own, "exported").value)
cmp = CFUNCTYPE(c_int, POINTER(c_int), POINTER(c_int)); a = (c_int * 6)(5, 3, 9, 1, 7, 2)
libc.qsort(a, 6, sizeof(c_int), cmp(lambda x, y: x[0] - y[0])); print(list(a))
for name in ("z", "m", "ssl", "sqlite3", "nosuchlib"): print(name, ctypes.util.find_library(name))
z = CDLL("libz.so.1"); z.zlibVersion.restype = c_char_p; print(z.zlibVersion(), z.crc32(0, b"abc", 3) & 0xffffffff)
for bad in ("./nosuch.so", "libnosuch.so.9", "./t.py"):
    try: CDLL(bad)
    except OSError as e: print(e)
try: own.nosuch
except AttributeError as e: print(e)
g = CDLL("./libown.so", mode=RTLD_GLOBAL); print(CDLL(None).next(), g._handle == own._handle)
handle = own._handle; _ctypes.dlclose(handle); print(PyDLL(None).Py_IsInitialized())
pythonapi.PyLong_FromLong.restype = py_object; print(pythonapi.PyLong_FromLong(c_long(12)))
buf = create_string_buffer(50); libc.snprintf(buf, 50, b"%d %s %.2f", 5, b"x", c_double(1.5)); print(buf.value)
memmove(buf, b"moved", 6); print(buf.value, string_at(buf, 3))
print(os.sys.getdlopenflags() == os.RTLD_NOW)
END
$RUN /usr/bin/python3 t.py; echo "status $?"
