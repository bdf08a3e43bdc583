"""Extension modules from a wheel's bytes, two versions of their shared library side by side."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import io
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rtld import importer

EXTENSION = """
#define PY_SSIZE_T_CLEAN
#include <Python.h>
int version(void);
static PyObject *get(PyObject *self, PyObject *args) { return PyLong_FromLong(version()); }
static PyObject *fail(PyObject *self, PyObject *args) { PyErr_SetString(PyExc_ValueError, "no"); return 0; }
static struct PyModuleDef def;
static PyObject *found(PyObject *self, PyObject *args) { return PyBool_FromLong(PyState_FindModule(&def) == self); }
static PyMethodDef methods[] = {{"get", get, METH_NOARGS, ""}, {"fail", fail, METH_NOARGS, ""}, {"found", found, METH_NOARGS, ""}, {0}};
#ifdef ONE
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "ext", "", -1, methods};
PyMODINIT_FUNC PyInit_ext(void) { return PyModule_Create(&def); }
#else
static int run(PyObject *m) { return PyModule_AddIntConstant(m, "ran", 1); }
static PyModuleDef_Slot slots[] = {{Py_mod_exec, run}, {0}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "ext", "", 0, methods, slots};
PyMODINIT_FUNC PyInit_ext(void) { return PyModuleDef_Init(&def); }
#endif
"""


def make(lib: Callable[..., str], package: str, number: int, *flags: str) -> bytes:
    engine = lib(
        f"int version(void) {{ return {number}; }}",
        "-Wl,-soname,libengine.so.1",
        name="libengine.so.1",
    )
    include = sysconfig.get_paths()["include"]
    if not os.path.exists(f"{include}/Python.h"):
        pytest.skip("no Python.h")
    extension = lib(
        EXTENSION, f"-I{include}", "-Wl,-rpath,$ORIGIN/../x.libs", engine, *flags, name="ext.so"
    )
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{package}/__init__.py", "from .sub import value\nfrom . import ext\n")
        archive.writestr(f"{package}/sub.py", "value = 3\n")
        archive.write(extension, f"{package}/ext{importlib.machinery.EXTENSION_SUFFIXES[0]}")
        archive.write(engine, f"{package}.libs/libengine.so.1")
    return data.getvalue()


def test_two_versions(lib: Callable[..., str]) -> None:
    with (
        importer.wheel(make(lib, "wheel_one", 1, "-DONE")),
        importer.wheel(make(lib, "wheel_two", 2)),
    ):
        import wheel_one  # type: ignore[import-not-found]
        import wheel_two  # type: ignore[import-not-found]
    assert (wheel_one.ext.get(), wheel_two.ext.get()) == (1, 2)
    assert wheel_two.ext.ran == wheel_one.value - 2 == 1
    with pytest.raises(ValueError, match="no"):
        wheel_two.ext.fail()
    # Made in one phase: named in full, and known to PyState_FindModule, as where the interpreter imports it.
    one = wheel_one.ext
    assert (one.__name__, one.get.__module__, one.found()) == ("wheel_one.ext",) * 2 + (True,)
    with open("/proc/self/maps") as maps:
        assert "libengine" not in maps.read()


NUMPY = """
import sys, rtld.importer
installed = rtld.importer.install(open(sys.argv[1], "rb").read(), "numpy.whl")
import numpy as np
assert np.__file__ == "numpy.whl/numpy/__init__.py", np.__file__
a = np.arange(250_000, dtype=float).reshape(500, 500) / 1e5
assert (a @ a)[3, 7] == sum(a[3, :] * a[:, 7]) or abs((a @ a)[3, 7] - sum(a[3, :] * a[:, 7])) < 1e-9
assert np.allclose(np.linalg.inv(np.eye(5) * 2), np.eye(5) / 2)
assert np.array_equal(np.fft.ifft(np.fft.fft(np.arange(8.0))).real.round(12), np.arange(8.0))
assert np.array_equal(np.sort(np.random.default_rng(1).permutation(100)), np.arange(100))
try: np.zeros(2) + np.zeros(3)
except ValueError as error: print(str(error)[:34])
with open("/proc/self/maps") as maps: print(sum("numpy" in line or "openblas" in line for line in maps))
print(any("openblas" in module.path for module in installed.namespace.modules), flush=True)
import os; os._exit(0)  # openblas' threads wait for work
"""


def test_numpy_from_the_bytes_of_its_wheel(tmp_path: Path) -> None:
    """The wheel that numpy was installed from, put together again from what its RECORD lists."""
    distribution = importlib.metadata.distribution("numpy")
    wheel = tmp_path / "numpy.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for member in distribution.files or ():
            path = member.locate()
            if ".." not in str(member) and member.suffix != ".pyc" and os.path.exists(path):
                archive.write(path, str(member))
        if not any(".libs/" in name for name in archive.namelist()):
            pytest.skip("numpy is not from a wheel")
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", NUMPY, str(wheel)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "operands could not be broadcast to\n0\nTrue\n"


@pytest.mark.live
def test_a_wheel_of_the_index(tmp_path: object) -> None:
    """RTLD_WHEELS: a directory with wheels of ujson, regex, lxml."""
    directory = os.environ.get("RTLD_WHEELS", "")
    if not directory:
        pytest.skip("RTLD_WHEELS is not set")
    work = {
        "ujson": "import ujson; print(ujson.loads(ujson.dumps({'a': [1, 2.5]})))",
        "regex": "import regex; print(regex.findall(r'(?V1)[a-z--[b]]+', 'abc'))",
        "lxml": "from lxml import etree; print(etree.fromstring('<a><b/></a>').xpath('count(b)'))",
    }
    said = {}
    for name, code in work.items():
        wheels = [w for w in os.listdir(directory) if w.startswith(name)]
        if wheels:
            head = f"import rtld.importer; rtld.importer.install(open({directory + '/' + wheels[0]!r}, 'rb').read())\n"
            done = subprocess.run(
                [sys.executable, "-X", "faulthandler", "-c", head + code],
                capture_output=True,
                text=True,
                check=False,
            )
            said[name] = done.stdout + done.stderr[-400:]
    assert said == {
        n: s
        for n, s in {"ujson": "{'a': [1, 2.5]}\n", "regex": "['a', 'c']\n", "lxml": "1.0\n"}.items()
        if n in said
    }
