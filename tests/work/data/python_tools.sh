# python3: unittest, doctest, pdb, profile, compileall, zipapp, venv, http.server, curses on a terminal
# needs: python3 script
# mask: in [0-9.]+s|[0-9.]+ seconds|port [0-9]+
# ignore: env/*
# ignore: *__pycache__*
#== run
mkdir app; echo 'print("from a zip")' >app/__main__.py; echo 'def f(x):
    """
    >>> f(2)
    4
    """
    return x * 2
import unittest
class T(unittest.TestCase):
    def test_f(self): self.assertEqual(f(3), 6)
    @unittest.skip("no")
    def test_s(self): pass' >mod.py
$RUN /usr/bin/python3 -m unittest mod
$RUN /usr/bin/python3 -m doctest -v mod.py | tail -3
printf 'b mod.f\nc\np x\nw\nq\n' | $RUN /usr/bin/python3 -m pdb -c 'p 1' -m doctest mod.py 2>&1 | grep -c 'Pdb'
$RUN /usr/bin/python3 -m zipapp app -o a.pyz; $RUN /usr/bin/python3 a.pyz; rm a.pyz
$RUN /usr/bin/python3 -m compileall -q mod.py; echo $?
$RUN /usr/bin/python3 -m venv --without-pip env && env/bin/python -c 'import sys; print(sys.prefix != sys.base_prefix)'
$RUN env/bin/python -c 'import sys, os; print(os.path.relpath(sys.prefix), sys.executable.endswith("env/bin/python"), os.path.realpath("/proc/self/exe"))'
echo '{"b": [1, 2.50, null], "a": "\u00e9"}' | $RUN /usr/bin/python3 -m json.tool --sort-keys
script -qec "$RUN /usr/bin/python3 -c '
import curses
def main(s): s.addstr(2, 3, \"in curses\"); s.refresh(); curses.start_color(); return s.getmaxyx()
print(curses.wrapper(main))'" /dev/null | tr -d '\r' | cat -v
