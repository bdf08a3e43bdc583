"""A hundred command lines of Debian's programs on each emulated CPU: output and exit status, compared with qemu-user's.

    python bench/emulate_all.py [--way pure] [--programs] DIR [ARCH...]

DIR holds a sysroot for each CPU, DIR/arm64 and so on, and gets those that are missing (rtld sysroot create). qemu-user
shows a program this computer's files, so the files that the lines name are bound at the path they have here. --way: an option
of rtld run that says who links: interp, pure, lazy-load, now. --programs: instead larger programs, 0.7 GB for each CPU: git, Node.js,
PHP, Guile, programs of Rust, Go and Haskell, threads, machine code that is made at run time, most of Python's library. Lines
start no other programs, as qemu-user cannot.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "coreutils",
    "bash",
    "sed",
    "grep",
    "gawk",
    "findutils",
    "perl-base",
    "python3-minimal",
    "sqlite3",
    "openssl",
    "diffutils",
    "bc",
)
PROGRAM_PACKAGES = (
    *PACKAGES, "python3", "git", "tar", "xz-utils", "zstd", "gpg", "lua5.4", "nodejs", "ripgrep", "fd-find", "fzf", "curl", "php-cli",
    "tcl", "guile-3.0", "shellcheck", "jq", "file", "busybox", "binutils", "make",
)  # fmt: skip
CPUS = {
    "arm64": "aarch64",
    "armhf": "arm",
    "i386": "i386",
    "s390x": "s390x",
    "riscv64": "riscv64",
}
WORK = Path(tempfile.gettempdir()) / "rtld-emulate-all"

LINES = r"""
echo hello world
printf %05d,%s,%x\n 42 abc 255
seq 1 3 20
seq -w 8 11
seq -f %.3e 1 4
expr 6 * 7
factor 1000000007 123456789012
sort /data/words
sort -r /data/words
sort -n -k2 /data/words
sort -u /data/words
sort -R --random-source=/data/words /data/words
uniq -c /data/words
wc /data/words
wc -l -w -c /data/words
head -3 /data/words
tail -3 /data/words
tail -c 20 /data/words
tac /data/words
rev /data/words
nl /data/words
cat -A /data/words
cut -d~ -f1 /data/words
cut -c1-3 /data/words
paste /data/words /data/words
join /data/words /data/words
comm /data/words /data/words
fold -w 7 /data/words
fmt -w 20 /data/words
expand /data/words
unexpand -a /data/words
pr -t -2 /data/words
od -A d -t x1z /data/words
od -t f8 -N 32 /data/words
base64 /data/words
base32 /data/words
md5sum /data/words
sha1sum /data/words
sha224sum /data/words
sha256sum /data/words
sha384sum /data/words
sha512sum /data/words
b2sum /data/words
cksum /data/words
sum /data/words
sum -s /data/words
split -l 2 --filter=cat /data/words
csplit -s -f /tmp/rtld-part /data/words 3
stat -c %s-%F-%a /data/words
ls -ln --time-style=+ /data
ls -lAn --time-style=+ --color=always /data
ls -i1s --si /data/nothing
du -b /data/words
dirname /a/b/c
basename /a/b/c.txt .txt
realpath -m /a/../b/./c
readlink -f /data/link
pathchk /data/words
test -f /data/words
test 3 -gt 4
true
false
date -u -d @1000000000 +%F_%T
date -u -d 2020-02-29T12:00:00Z +%j-%U-%s
numfmt --to=iec 1234567
numfmt --from=si 12K
tsort /data/pairs
shuf --random-source=/data/words -i 1-9
truncate --version
dd if=/data/words bs=7 count=3 status=none
tr a-z A-Z
env -i A=1 B=2 /usr/bin/env
printenv LC_ALL
nproc --version
id -u
uname -sm
sed -n 2,4p /data/words
sed s/a/A/g;y/b/B/ /data/words
grep -n a /data/words
grep -E -c ^[a-m] /data/words
grep -o -i [aeiou] /data/words
grep nothing-of-that /data/words
gawk {print\ NR,\ length($0)} /data/words
gawk BEGIN{printf"%.6f\ %d\n",atan2(1,1),2^31}
gawk {n[$1]++}END{for(i=0;i<3;i++)print\ i,NR} /data/words
find /data -name w*
find /data -type f -size -2 -printf %f-%s\n
cmp /data/words /data/pairs
diff /data/words /data/pairs
diff -u --label=a --label=b /data/words /data/pairs
bash -c echo\ $((7*6))\ ${BASH_VERSION%%.*};for\ i\ in\ a\ b;do\ echo\ $i;done
bash -c f(){\ local\ x=$1;[\ $x\ -lt\ 2\ ]&&echo\ 1&&return;echo\ $((x*$(f\ $((x-1)))));};f\ 10
bash -c a=(3\ 1\ 2);echo\ ${a[@]}\ ${#a[@]};printf\ '%s\n'\ "${a[@]}"|{\ while\ read\ l;do\ echo\ $l;done;}
bash -c trap\ 'echo\ bye'\ EXIT;kill\ -0\ $$;exit\ 5
bash -c x=abcdef;echo\ ${x:1:3}\ ${x/c/C}\ ${x^^};[[\ $x\ =~\ c(.)e\ ]]&&echo\ ${BASH_REMATCH[1]}
perl -e print\ join(",",map{$_*$_}1..9),"\n"
perl -e my%h=(a=>1,b=>2);print"$_=$h{$_}\n"for\ sort\ keys%h;printf"%.10f\n",exp(1)
python3 -c print(sum(i*i\ for\ i\ in\ range(10000)),2**200,1/3)
python3 -c import\ sys;print(sys.byteorder,sorted({5,3,9}),'%r'%{'a':[1,2.5]})
sqlite3 :memory: create\ table\ t(a,b);insert\ into\ t\ values(1,'x'),(2,'y');select\ a*10,b,sqrt(a)\ from\ t\ order\ by\ 1\ desc;
sqlite3 :memory: with\ recursive\ c(n)as(select\ 1\ union\ all\ select\ n+1\ from\ c\ where\ n<500)select\ sum(n),avg(n)from\ c;
openssl dgst -sha256 /data/words
openssl enc -aes-256-cbc -K 00112233 -iv 00 -in /data/words -a
openssl prime 1000003
cat /data/nothing
"""

PROGRAMS = r"""
git --version
git hash-object /data/words
git diff --no-index --stat /data/words /data/pairs
git diff --no-index --word-diff /data/words /data/pairs
tar cf - --numeric-owner --sort=name --mtime=@0 -C /data words pairs
xz -T2 -c /data/many
zstd -q -T2 -c /data/many
gpg --version
lua5.4 -e local\ t={}for\ i=1,10\ do\ t[i]=i*i\ end\ print(table.concat(t,","),1//0.3,math.pi,string.format("%q",1/3))
lua5.4 -e local\ co=coroutine.wrap(function()coroutine.yield(1)error("x")end)print(co(),pcall(co))
nodejs -e let\ s=0;function\ f(i){return\ i*1.5+1};for(let\ i=0;i<1e5;i++)s+=f(i);console.log(s)
nodejs -e const\ z=require("zlib");z.gzip(Buffer.alloc(100000,"ab"),(e,b)=>console.log(z.gunzipSync(b).length))
nodejs -e const\ {Worker}=require("worker_threads");new\ Worker('require("worker_threads").parentPort.postMessage(42)',{eval:true}).on("message",console.log)
rg -n a /data/words
rg -c -e [ae] /data/words /data/pairs --sort path
fdfind --threads 1 . /data
fzf --filter=an
curl -s file:///data/words
php8.2 -r echo\ json_encode([1,"a"=>2.5,"s"=>sha1("x")]);foreach((function(){yield\ 1;yield\ 2;})()as$x)echo$x;
php8.2 -r for($i=0,$s=0;$i<100000;$i++)$s+=$i;echo$s,preg_replace("/(a)(b)/",'$2$1',"xabx");
tclsh /data/script.tcl
guile-3.0 --no-auto-compile -c (display(expt\ 2\ 200))(newline)(display(call/cc(lambda(k)(dynamic-wind(lambda()(display"in"))(lambda()(k\ 5))(lambda()(display"out"))))))
shellcheck /data/script.sh
jq -c .a|map(.*2) /data/object.json
file -b /data/words /data/script.sh
busybox sh -c echo\ $((1+2))
objdump -f /data/nothing
make -f /data/makefile -n
python3 -c import\ threading,queue;q=queue.Queue();L=[];ts=[threading.Thread(target=lambda:[L.append(q.get())for\ _\ in\ range(10)])for\ _\ in\ range(4)];[t.start()for\ t\ in\ ts];[q.put(i)for\ i\ in\ range(40)];[t.join()for\ t\ in\ ts];print(sorted(L)==list(range(40)))
python3 -c import\ multiprocessing\ as\ m;print(m.Pool(2).map(abs,range(-10,0)))
python3 -c import\ multiprocessing.shared_memory\ as\ s;a=s.SharedMemory(create=True,size=99);a.buf[:3]=b"abc";b=s.SharedMemory(a.name);print(bytes(b.buf[:3]));b.close();a.close();a.unlink()
python3 -c import\ asyncio;print(asyncio.run(asyncio.wait_for(asyncio.to_thread(sum,[1,2]),9)))
python3 -c import\ sqlite3\ as\ s;c=s.connect(":memory:");c.execute("create\ table\ t(a)");c.executemany("insert\ into\ t\ values(?)",((i,)for\ i\ in\ range(1000)));c.create_function("f",1,lambda\ x:x*2);print(c.execute("select\ sum(f(a))from\ t").fetchall())
python3 -c import\ ssl,hashlib;print(ssl.OPENSSL_VERSION,hashlib.sha3_256(b"a").hexdigest(),len(ssl.create_default_context().get_ciphers()))
python3 -c import\ mmap,os;a=mmap.mmap(-1,4096);p=os.fork();p\ or(a.write(b"child"),os._exit(0));os.waitpid(p,0);print(a[:5])
python3 -c import\ ctypes\ as\ c;F=c.CFUNCTYPE(c.c_int,*[c.POINTER(c.c_int)]*2);A=(c.c_int*5)(5,2,9,1,3);c.CDLL(None).qsort(A,5,4,F(lambda\ a,b:a[0]-b[0]));print(list(A));print(c.CFUNCTYPE(c.c_double,c.c_double,c.c_longlong,c.c_float)(lambda\ a,b,d:a*b+d)(1.5,1<<33,.25))
python3 -c import\ signal\ as\ s,os;s.pthread_sigmask(0,[10]);os.kill(os.getpid(),10);print(s.sigwait([10]),s.sigpending(),s.sigtimedwait([12],.01))
python3 -c import\ concurrent.futures\ as\ f,hashlib;print([x.hex()[:6]for\ x\ in\ f.ThreadPoolExecutor(4).map(lambda\ i:hashlib.scrypt(b"a",salt=bytes([i]),n=64,r=2,p=1),range(8))])
python3 -c import\ zlib,bz2,lzma,decimal,fractions;d=b"abc"*1000;print(len(zlib.compress(d)),len(bz2.compress(d)),lzma.decompress(lzma.compress(d))==d,decimal.Decimal(2).sqrt(),fractions.Fraction(1,3)+1)
python3 -c import\ socket,select;a,b=socket.socketpair();a.send(b"x");print(select.select([b],[],[],1)[0]==[b],b.recv(1));p=select.poll();p.register(b,1);print(p.poll(10))
"""


def split(line: str) -> list[str]:
    """Words between blanks; a backslash keeps the next one."""
    words = [""]
    quoted = False
    for c in line:
        if quoted:
            words[-1] += c if c == " " else "\\" + c
            quoted = False
        elif c == "\\":
            quoted = True
        elif c == " ":
            words.append("")
        else:
            words[-1] += c
    return words


def main() -> int:
    """Print each line that differs, then the share that does not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=Path)
    parser.add_argument("arch", nargs="*")
    parser.add_argument("--way", choices=("interp", "pure", "lazy-load", "now"))
    parser.add_argument("--programs", action="store_true")
    options = parser.parse_args()
    lines, packages = (PROGRAMS, PROGRAM_PACKAGES) if options.programs else (LINES, PACKAGES)
    here = {
        key: value
        for key, value in os.environ.items()
        if key not in ("TERM", "COLORTERM", "LS_COLORS")
    }
    env = {**here, "PYTHONPATH": str(ROOT / "src")}
    rtld = [sys.executable, "-m", "rtld"]
    way = [f"--{options.way}"] if options.way else []
    good = True
    for arch in options.arch or CPUS:
        root = options.dir / arch
        if not (root / "bin").exists():
            subprocess.run([*rtld, "sysroot", "create", arch, root, *packages], env=env, check=True)
        elif options.programs and not (root / "usr/bin/shellcheck").exists():
            subprocess.run([*rtld, "sysroot", "add", root, *packages], env=env, check=True)
        prepare()
        same = total = 0
        for line in lines.strip().replace("/data", str(WORK)).splitlines():
            name, *words = split(line)
            path = next(
                (f"{d}/{name}" for d in ("/bin", "/usr/bin") if (root / d[1:] / name).exists()),
                None,
            )
            if path is None:
                continue
            total += 1
            command = [
                f"qemu-{CPUS[arch]}",
                "-L",
                str(root),
                "-0",
                path,
                "-E",
                "LC_ALL=C",
                "-E",
                "PATH=/usr/bin:/bin",
                f"{root}{path}",
                *words,
            ]
            theirs = run(command, {"PATH": os.environ["PATH"]})
            ours = run(
                [
                    *rtld,
                    "run",
                    *way,
                    f"--sysroot={root}",
                    f"--bind={WORK}:{WORK}",
                    "--",
                    path,
                    *words,
                ],
                {**env, "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            )
            parts = (
                2 if options.programs else 3
            )  # what they say on standard error is their own affair
            same += ours[:parts] == theirs[:parts]
            if ours[:parts] != theirs[:parts]:
                shown = "\n  ".join(repr(each)[:500] for each in (theirs, ours))
                print(f"{arch}: {line}\n  {shown}", flush=True)
        print(f"{arch}: {same} of {total} identical ({100 * same / total:.1f} %)", flush=True)
        good = good and same >= 0.98 * total
    return 0 if good else 1


def prepare() -> None:
    """Some files to work on."""
    WORK.mkdir(exist_ok=True)
    (WORK / "words").write_text("pear 3\napple 10\nfig\t2\nbanana 7\napple 10\ncherry 1\n")
    (WORK / "pairs").write_text("a b\nb c\na d\nd c\n")
    (WORK / "many").write_text("".join(f"{i}\n" for i in range(5000)))
    (WORK / "object.json").write_text('{"a": [1, 2.5, 3]}')
    (WORK / "script.sh").write_text("#!/bin/sh\necho $x\nfor i in `ls`; do echo $i; done\n")
    (WORK / "script.tcl").write_text(
        "puts [expr {2**100}]\nproc f x {expr {$x<2?1:$x*[f [expr $x-1]]}}\nputs [f 20]\nputs [lsort {c a b}]\n"
        "after 10 {set done 1}\nvwait done\nputs [clock format 0 -gmt 1 -format %Y]\n"
    )
    (WORK / "makefile").write_text("all: a b\n\techo done\na b:\n\ttouch $@\n")
    if not (WORK / "link").is_symlink():
        (WORK / "link").symlink_to("words")


def run(command: list[str], env: dict[str, str]) -> tuple[int, bytes, bytes]:
    try:
        done = subprocess.run(
            command,
            env=env,
            cwd="/",
            input=b"some input\nof two lines\n",
            capture_output=True,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1, b"", b"does not end"
    return done.returncode, done.stdout, done.stderr


if __name__ == "__main__":
    raise SystemExit(main())
