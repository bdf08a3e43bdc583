"""Modules, their order, every binding and the order of DllMain: Wine is the judge."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pe import windows
from rtld.pe.module import Policies
from rtld.process.link_pe import PeLink, find, link, link_all

Need = Callable[[str], None]
DEBUG = "+imports,+module,+loaddll,+pid"


def system(need: Need) -> str:
    if not windows.WINE_DLLS.is_dir():
        need("libwine")
    return str(windows.WINE_DLLS)


def linked(path: Path, need: Need) -> PeLink:
    return find(str(path), windows_dir=system(need))


def our_imports(result: PeLink, bases: dict[str, int]) -> set[tuple[str, str, int]]:
    """Our bindings as Wine tells them, at the addresses that Wine chose."""
    from rtld.report.pe_json import binding_object

    rows = set()
    for binding in result.bindings():
        row = binding_object(binding)
        definer = binding.definer
        assert definer is not None, row
        base = bases.get(definer.base_name, definer.base)
        dll = result.namespace.search.complete(row["descriptor"]).lower()
        rows.add((row["symbol"], dll, base + binding.rva))
    return rows


def same_order(result: PeLink, judged: windows.Judged) -> None:
    """The DLLs of the start are attached in our order, but for those that a DllMain has loaded before their turn."""
    names = [module.base_name for module in result.init_order[:-1]]
    early = set(judged.attached(static=False))
    assert judged.attached(static=True) == [name for name in names if name not in early]


@pytest.mark.parametrize("program", ["main.exe"])
def test_the_set_is_linked_as_wine_does(program: str, windows_set: Callable[..., Path], need: Need) -> None:  # fmt: skip
    path = windows_set("x86_64") / program
    judged = windows.wine([path], need, debug=DEBUG, cwd=path.parent)
    assert judged.status == 7
    result = linked(path, need)
    assert not result.problems
    same_order(result, judged)
    ours = our_imports(result, judged.bases)
    theirs = {row for row in judged.imports if row[1] in {dll for _, dll, _ in ours}}
    assert len(ours) > 1000
    assert ours - theirs == set()
    # what Wine has bound more was for DLLs that the program opened itself
    later = {"gamma.dll", "delta.dll"}
    assert {dll for _, dll, _ in theirs - ours} <= {"kernel32.dll", "msvcrt.dll", "alpha.dll"} | later  # fmt: skip


@pytest.mark.parametrize(
    "program", ["cmd.exe", "msiexec.exe", "reg.exe", "expand.exe", "where.exe", "taskkill.exe"]
)
def test_wines_programs(program: str, need: Need) -> None:
    """All that a program of Wine needs: order of DllMain and addresses. It is stopped by an option it does not know."""
    path = Path(system(need)) / program
    if not path.exists():
        pytest.skip(f"no {program} in this Wine")
    judged = windows.wine([program, "/?"], need, debug=DEBUG, env={"DISPLAY": ""})
    result = linked(path, need)
    assert not result.problems
    same_order(result, judged)
    ours = our_imports(result, judged.bases)
    assert len(ours) > 1000
    assert ours <= set(judged.imports)


def test_every_import_of_wine_is_bound(need: Need) -> None:
    directory = Path(system(need))
    files = [p for p in sorted(directory.iterdir()) if p.read_bytes()[:2] == b"MZ"]
    result = link_all([str(p) for p in files], windows_dir=str(directory))
    total = sum(len(m.table.imports) for m in result.modules if m.table is not None)
    bound = sum(sum(d >= 0 for d in m.table.definer) for m in result.modules if m.table is not None)
    assert len(result.modules) == len(files)
    assert total > 40_000
    assert bound == total
    assert not [p for p in result.problems if p.fatal]


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_what_the_set_is_made_of(arch: str, windows_set: Callable[..., Path]) -> None:
    """Forwarders by name and by number, ordinals, data, a ring: whichever width."""
    place = windows_set(arch)
    result = find(str(place / "main.exe"), windows_dir=str(place))
    mine = {"main.exe", "alpha.dll", "beta.dll", "ping.dll", "pong.dll"}
    assert {m.base_name for m in result.modules} >= mine
    rows = {}
    for binding in result.bindings(result.modules[0]):
        if binding.definer is not None:
            table = result.modules[0].table
            assert table is not None
            name = table.imports.name(binding.row)
            rows[name] = binding
    suffix = b""
    forwarded = rows[b"alpha_forwarded" + suffix]
    assert forwarded.definer.base_name == "beta.dll"
    assert [text for _, text in forwarded.chain] == ["beta.beta_mul"]
    assert [text for _, text in rows[b"alpha_by_number"].chain] == ["beta.#5"]
    ordinal = rows[None]
    assert ordinal.how == "ordinal"
    assert ordinal.definer.base_name == "alpha.dll"
    # GNU's dlltool writes ordinals where hints belong
    assert rows[b"alpha_add"].how in ("hint", "search")


def test_a_missing_export_and_a_missing_dll(windows_set: Callable[..., Path], need: Need, tmp_path: Path) -> None:  # fmt: skip
    for path in windows_set("x86_64").glob("*.[de][lx][le]"):
        shutil.copy(path, tmp_path)
    (tmp_path / "pong.dll").unlink()
    data = (tmp_path / "beta.dll").read_bytes()
    (tmp_path / "beta.dll").write_bytes(data.replace(b"beta_mul\0", b"beta_mux\0"))
    result = linked(tmp_path / "main.exe", need)
    kinds = {(p.kind, p.subject): p for p in result.problems}
    assert kinds["library", "pong.dll"].fatal
    assert "error 126, ERROR_MOD_NOT_FOUND" in kinds["library", "pong.dll"].message
    symbol = kinds["symbol", "alpha_forwarded"]
    assert "error 127, ERROR_PROC_NOT_FOUND" in symbol.message
    assert "beta.beta_mul" in symbol.message
    stub = find(str(tmp_path / "main.exe"), windows_dir=system(need), policies=Policies(unresolved="stub"))  # fmt: skip
    assert stub.problems
    assert not any(p.fatal for p in stub.problems)


def test_forwarders_in_a_circle_are_cut(need: Need, tmp_path: Path) -> None:
    user = "__declspec(dllimport) int around(void); int main(void) { return around(); }"
    one = windows.build("int x;", "one.dll", need, "-shared")
    cc = windows.compiler("x86_64", need)
    import subprocess

    for name, other in (("one", "two"), ("two", "one")):
        (tmp_path / f"{name}.def").write_text(f"LIBRARY {name}.dll\nEXPORTS\n  around = {other}.around\n")  # fmt: skip
        (tmp_path / "x.c").write_text("int x;")
        subprocess.run([cc, "-shared", "x.c", f"{name}.def", "-o", f"{name}.dll", f"-Wl,--out-implib,lib{name}.a"],
                       cwd=tmp_path, check=True, capture_output=True)  # fmt: skip
    (tmp_path / "user.c").write_text(user)
    subprocess.run([cc, "user.c", "-o", "user.exe", "libone.a"], cwd=tmp_path, check=True, capture_output=True)  # fmt: skip
    result = linked(tmp_path / "user.exe", need)
    assert [p.kind for p in result.problems] == ["symbol"]
    assert "circle" in result.problems[0].message
    assert one.exists()


def test_a_long_chain_needs_no_deep_stack(tmp_path: Path) -> None:
    """Each of 1,500 DLLs needs the next one; made by hand, since compiling them would take minutes."""
    from pe.pefiles import image

    count = 1500
    for number in range(count):
        needs = {f"n{number + 1}.dll": [b"f"]} if number + 1 < count else {}
        (tmp_path / f"n{number}.dll").write_bytes(image(f"n{number}.dll", {b"f": 0x1000}, needs))
    result = link(str(tmp_path / "n0.dll"), windows_dir=str(tmp_path))
    assert len(result.modules) == count
    assert not result.problems
    assert [m.base_name for m in result.init_order[:2]] == [f"n{count - 1}.dll", f"n{count - 2}.dll"]  # fmt: skip
