# python3: every extension module there is; zlib, lzma, bz2, decimal, json, curses, readline, mmap, numpy
# needs: python3
# with:
# with: --lazy
# with: --now
# with: --interp
#== run
cat >t.py <<'END'
import glob, importlib, os, sysconfig, sys
names = sorted({os.path.basename(p).partition(".")[0] for p in glob.glob(os.path.join(sysconfig.get_path("platstdlib"), "lib-dynload", "*.so"))})
for n in names:
    try: importlib.import_module(n); r = "ok"
    except Exception as e: r = repr(e)
    print(n, r)
import bz2, curses, decimal, io, json, lzma, mmap, random, readline, struct, tempfile, unicodedata, zlib, datetime, locale, xml.etree.ElementTree as E, pickle, array, binascii, fcntl, grp, pwd, resource, syslog, termios, zoneinfo, statistics, re, tarfile, zipfile, uuid, textwrap, difflib
data = json.dumps([random.Random(1).random() for _ in range(20000)]).encode()
for m in (zlib, bz2, lzma): c = m.compress(data); print(m.__name__, len(c), m.decompress(c) == data)
decimal.getcontext().prec = 200; print(decimal.Decimal(2).sqrt(), sum(1 / decimal.Decimal(i) for i in range(1, 500)))
curses.setupterm("xterm"); print(curses.tigetnum("colors"), curses.tigetstr("clear"), curses.tparm(curses.tigetstr("cup"), 3, 4))
readline.parse_and_bind("tab: complete"); readline.add_history("x"); print(readline.get_current_history_length())
with open("m", "wb+") as f: f.truncate(4096); m = mmap.mmap(f.fileno(), 0); m[0:5] = b"hello"; m.flush(); print(m.find(b"llo"))
print(E.tostring(E.fromstring("<a><b c='1'>x</b></a>")), unicodedata.name("é"), pwd.getpwuid(0).pw_name, grp.getgrgid(0).gr_name)
print(pickle.loads(pickle.dumps({1: [2, {3}]})), re.findall(r"(\w+)@(\w+)", "a@b c@d"), zoneinfo.ZoneInfo("Europe/Berlin").utcoffset(datetime.datetime(2024, 7, 1)))
print(uuid.uuid5(uuid.NAMESPACE_DNS, "x"), locale.setlocale(locale.LC_ALL, ""), struct.pack(">dqH", 1.5, -2, 3), statistics.stdev(range(10)))
try:
    import numpy as n
    a = n.random.default_rng(1).random((200, 200)); print(n.allclose(n.linalg.inv(a) @ a, n.eye(200)), round(float(n.fft.fft(a).real.sum()), 6), n.linalg.svd(a)[1][:3].round(6))
except ImportError as e: print(e)
try:
    import lxml.etree as L; print(L.tostring(L.XML("<a><b/></a>").xpath("//b")[0]))
except ImportError as e: print(e)
END
$RUN /usr/bin/python3 t.py 2>&1; echo "status $?"
