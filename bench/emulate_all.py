"""A hundred command lines of Debian's programs on each emulated CPU: output and exit status, compared with qemu-user's.

    python bench/emulate_all.py [--way pure] DIR [ARCH...]

DIR holds a sysroot for each CPU, DIR/arm64 and so on, and gets those that are missing (rtld sysroot create). qemu-user
shows a program this computer's files, so the files that the lines name are bound at the path they have here. --way: an option
of rtld run that says who links: interp, pure, lazy-load, now.
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
    options = parser.parse_args()
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
            subprocess.run([*rtld, "sysroot", "create", arch, root, *PACKAGES], env=env, check=True)
        prepare()
        same = total = 0
        for line in LINES.strip().replace("/data", str(WORK)).splitlines():
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
            same += ours == theirs
            if ours != theirs:
                print(f"{arch}: {line}\n  {theirs}\n  {ours}", flush=True)
        print(f"{arch}: {same} of {total} identical ({100 * same / total:.1f} %)", flush=True)
        good = good and same >= 0.98 * total
    return 0 if good else 1


def prepare() -> None:
    """Some files to work on."""
    WORK.mkdir(exist_ok=True)
    (WORK / "words").write_text("pear 3\napple 10\nfig\t2\nbanana 7\napple 10\ncherry 1\n")
    (WORK / "pairs").write_text("a b\nb c\na d\nd c\n")
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
