"""The doors of <dlfcn.h>, each opened once; what is wrong says so with its fields."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import rtld

Lib = Callable[..., str]
SOURCE = """
#include <stdlib.h>
int twice(int n) { return 2 * n; }
int counter = 5;
__thread int mine = 3;
int *address(void) { return &mine; }
char *block(void) { char *p = malloc(16); if (p) *p = 'x'; return p; }
"""


@pytest.fixture(scope="module")
def path(lib: Lib) -> str:
    return lib(SOURCE, "-Wl,-soname,libapi.so", name="libapi.so")


def test_sources(path: str) -> None:
    """Name, path, os.PathLike, bytes, bytearray, memoryview, descriptor, binary file."""
    content = Path(path).read_bytes()
    fd = os.open(path, os.O_RDONLY)
    try:
        with Path(path).open("rb") as stream:
            for source in (
                path,
                Path(path),
                content,
                bytearray(content),
                memoryview(content),
                fd,
                stream,
            ):
                with rtld.Namespace() as ns, ns.dlopen(source) as library:
                    assert library.twice(21) == 42
                    assert "twice" in dir(library)
                    assert library.info()["phnum"] > 0
    finally:
        os.close(fd)
    with rtld.Namespace(library_path=str(Path(path).parent)) as ns:
        assert ns.dlopen("libapi.so").path == path
    assert rtld.dlopen(None)["getpid"]() == os.getpid()


def test_a_descriptor_of_what_is_loaded_is_the_same(path: str) -> None:
    with rtld.Namespace() as ns:
        first = ns.dlopen(path)
        with Path(path).open("rb") as stream:
            assert ns.dlopen(stream.fileno()).base == first.base
        assert ns.dlopen(Path(path).read_bytes()).base != first.base


def test_functions(path: str) -> None:
    with rtld.dlopen(path) as library:
        address = rtld.dlsym(library, "twice")
        assert ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(address)(4) == 8
        found = rtld.dladdr(address)
        assert (found.path, found.name, found.value, found.base) == (
            path,
            "twice",
            address,
            library.base,
        )
        assert rtld.dladdr(library.twice) == found
        assert rtld.dladdr(id(library)) is None
        _, symbol = rtld.dladdr1(address, 1)
        assert symbol.value == address - library.base
        _, link_map = rtld.dladdr1(address, 2)
        assert link_map == library.handle
        with pytest.raises(ValueError, match="flags"):
            rtld.dladdr1(address, 7)
        info = rtld.dlinfo(library)
        assert info["origin"] == str(Path(path).parent)
        assert info["linkmap"] == library.handle
        # A thread-local variable: this thread's.
        place = library.function("address", ctypes.c_void_p)
        assert rtld.dlsym(library, "mine") == place()
        assert info["tls_modid"] > 0
        rows: list[str] = []
        rtld.dl_iterate_phdr(lambda row: rows.append(row[0]))
        assert path in rows
        assert rtld.dl_iterate_phdr(lambda _row: 17) == 17
        with pytest.raises(rtld.UnresolvedSymbol, match="nothing_of_the_kind"):
            rtld.dlsym(rtld.RTLD_DEFAULT, "nothing_of_the_kind")
        with pytest.raises(ValueError, match="no handle"):
            rtld.dlsym(12345, "twice")


def test_versions() -> None:
    with rtld.Namespace() as ns:
        ssl = ns.dlopen("libcrypto.so.3")
        assert rtld.dlvsym(ssl, "EVP_sha256", "OPENSSL_3.0.0") == rtld.dlsym(ssl, "EVP_sha256")
        with pytest.raises(rtld.UnresolvedSymbol) as error:
            rtld.dlvsym(ssl, "EVP_sha256", "OPENSSL_9")
        assert (error.value.symbol, error.value.version) == ("EVP_sha256", "OPENSSL_9")


def test_pseudo_handles(lib: Lib) -> None:
    """RTLD_DEFAULT, RTLD_NEXT, RTLD_SELF, as a library would ask."""
    second = lib("int who(void) { return 2; }", "-Wl,-soname,libsecond.so", name="libsecond.so")
    first = lib("int who(void) { return 1; }", "-Wl,--no-as-needed", second, name="libfirst.so")
    front = lib("int who(void) { return 0; }", name="libfront.so")

    def call(address: int) -> int:
        return int(ctypes.CFUNCTYPE(ctypes.c_int)(address)())

    with rtld.Namespace(library_path=str(Path(second).parent)) as ns:
        ns.dlopen(front, rtld.RTLD_NOW | rtld.RTLD_GLOBAL)
        library = ns.dlopen(first)
        answers = [
            call(rtld.dlsym(handle, "who", caller=library))
            for handle in (rtld.RTLD_DEFAULT, rtld.RTLD_SELF, rtld.RTLD_NEXT)
        ]
        assert answers == [0, 1, 2]


def test_namespaces(path: str) -> None:
    first = rtld.dlmopen(rtld.dlfcn.LM_ID_NEWLM, path)
    again = rtld.dlmopen(first.namespace, path)
    other = rtld.dlmopen(rtld.dlfcn.LM_ID_NEWLM, path)
    assert first.base == again.base != other.base
    first.data("counter", ctypes.c_int).value = 9
    assert other.data("counter", ctypes.c_int).value == 5
    with pytest.raises(ValueError, match="namespace"):
        rtld.dlmopen(99, path)
    for library in (first, other):
        namespace = library.namespace
        namespace.close()
        assert library.closed
        with pytest.raises(rtld.Closed):
            namespace.dlopen(path)


def test_near_misses(path: str) -> None:
    with rtld.dlopen(path) as library:
        with pytest.raises(rtld.SymbolNotFound, match=r"did you mean twice\?") as error:
            library.twise  # noqa: B018
        assert error.value.near == ("twice",)
        assert (error.value.path, error.value.symbol) == (path, "twise")
        assert not hasattr(library, "quite_another")


def test_interposed_malloc(path: str) -> None:
    """One library's malloc is Python's for a while; nobody else's is."""
    asked: list[int] = []
    malloc = ctypes.CDLL(None).malloc
    malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]

    def mine(size: int) -> int:
        asked.append(size)
        return 0 if len(asked) == 2 else int(malloc(size))

    with rtld.dlopen(path) as library:
        block = library.function("block", ctypes.c_void_p)
        undo = library.interpose("malloc", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(mine))
        blocks = [block(), block()]
        undo()
        blocks.append(block())
        assert asked == [16, 16]
        assert [bool(b) for b in blocks] == [True, False, True]
        for b in blocks:
            ctypes.CDLL(None).free(ctypes.c_void_p(b))


def test_other_cpu(path: str) -> None:
    """Another CPU's file: the field, what was found, what is expected."""
    data = bytearray(Path(path).read_bytes())
    data[18:20] = (183).to_bytes(2, "little")
    with rtld.Namespace() as ns:
        with pytest.raises(rtld.FormatError) as error:
            ns.dlopen(bytes(data), name="libarm.so")
        assert (error.value.path, error.value.field, error.value.found) == (
            "libarm.so",
            "e_machine",
            183,
        )
        assert "x86-64" in str(error.value)
        assert not ns.modules
