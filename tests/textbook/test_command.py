"""``rtld textbook``: help, usage, exit status, JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtld.cli import run
from rtld.cli.textbook import COMMANDS
from textbook.bed import DATA

Rtld = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rtld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Rtld:
    """``rtld("link a.lk")`` among copies of the examples: status, output, errors."""
    for path in DATA.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)

    def command(line: str) -> tuple[int, str, str]:
        status = run(["textbook", *line.split()])
        done = capsys.readouterr()
        return status, done.out, done.err

    return command


def document(rtld: Rtld, line: str, status: int = 0) -> Any:
    """The JSON document of a command that ends with *status*."""
    done, out, _ = rtld(line)
    assert done == status
    body = json.loads(out)
    assert body["schema"].startswith("rtld/")
    assert body["command"] == f"textbook {line.split(maxsplit=1)[0]}"
    return body


def test_help(rtld: Rtld) -> None:
    for line in ("", "--help", "-h", "help"):
        status, out, _ = rtld(line)
        assert status == 0
        for name in COMMANDS:
            assert f"  {name} " in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name: str, rtld: Rtld) -> None:
    status, out, _ = rtld(f"{name} --help")
    assert status == 0
    assert out.startswith(f"usage: rtld textbook {name} [OPTION...] ")
    assert f"  rtld textbook {name} " in out.partition("examples:")[2] or name == "from-elf"


# fmt: off
USAGE = [
    # line                               what is said
    ("links a.lk",                       "there is no command textbook links; there are link, bind"),
    ("link",                             "OBJ is missing"),
    ("link --bas 1 sin.lk",              "there is no option --bas; did you mean --base?"),
    ("link --base xyz sin.lk",           "--base xyz: a hex number up to ffffffff is wanted"),
    ("link --base 100000000 sin.lk",     "--base 100000000: a hex number up to ffffffff is wanted"),
    ("link --endian middle sin.lk",      "--endian middle: choose big or little"),
    ("link --stub s sin.lk",             "--stub goes with --base"),
    ("link --stub s --base 8000 lib",    "--stub needs -o, or --name"),
    ("bind a b",                         "one argument too many: b"),
    ("ar make lib.a",                    "write: ar create LIBRARY OBJ..."),
    ("ar list lib.a sin.lk",             "write: ar create LIBRARY OBJ..."),
]
# fmt: on


@pytest.mark.parametrize(("line", "message"), USAGE, ids=[row[0] for row in USAGE])
def test_usage(line: str, message: str, rtld: Rtld) -> None:
    status, out, err = rtld(line)
    assert (status, out) == (2, "")
    assert message in err
    assert "--help' for more information" in err


# fmt: off
STATUS = [
    ("check sin.lk",             0),
    ("link -o x sin.lk",         0),
    ("link calc.lk",             1),  # undefined
    ("link sin.lk sin.lk",       1),  # defined twice
    ("link --pic place.lk thing.lk", 1),
    ("check bad.lk",             3),
    ("check sin.lk nothing",     3),
    ("link bad.lk",              3),
    ("link nothing.lk",          3),
    ("bind place.lk",            3),
    ("show cave.c",              3),
    ("from-elf sin.lk",          3),
    ("run sin.lk",               3),  # big-endian, or no machine
]
# fmt: on


@pytest.mark.parametrize(("line", "expected"), STATUS, ids=[row[0] for row in STATUS])
def test_status(line: str, expected: int, rtld: Rtld) -> None:
    status, _, err = rtld(line)
    assert status == expected
    assert all(text.startswith("rtld: ") for text in err.splitlines())
    assert bool(err) == bool(expected)


def test_standard_output_and_files(rtld: Rtld) -> None:
    _, text, _ = rtld("link sin.lk")
    assert rtld("link -o - sin.lk") == (0, text, "")
    assert rtld("link -o out.lk sin.lk") == (0, "", "")
    assert Path("out.lk").read_text() == text
    assert rtld("copy out.lk") == (0, text, "")
    _, table, _ = rtld("link -m -o map.lk sin.lk")
    assert Path("map.lk").read_text() == text
    assert table.startswith("segment ")


def test_json_of_a_link(rtld: Rtld) -> None:
    body = document(rtld, "link --json north.lk south.lk")
    assert [s["name"] for s in body["segments"]] == [".text", ".rodata", ".data", ".bss"]
    assert body["segments"][0]["pieces"][1] == {"input": "south.lk", "start": 0x1008, "length": 8}
    table = next(s for s in body["symbols"] if s["name"] == "table")
    assert (table["common"], table["users"], table["definer"]) == (
        0x24,
        ["north.lk", "south.lk"],
        None,
    )
    assert body["output"]["segments"][0]["data"].startswith("00001008")
    assert body["relocations"] == {"AS4": 2, "R4": 1}
    body = document(rtld, "link --json west.lk", 1)
    assert [problem["subject"] for problem in body["problems"]] == ["east", "gold"]
    body = document(rtld, "link --json bad.lk", 3)
    assert (len(body["complaints"]), body["complaints"][0]["line"]) == (12, 2)


def test_json_of_a_bound_program(rtld: Rtld) -> None:
    rtld("link --shared -o libadd add.lk")
    rtld("link -o prog prog.lk libadd")
    body = document(rtld, "bind --json prog")
    assert [module["moved"] for module in body["modules"]] == [0, 0x2000]
    assert body["bindings"][0] == {
        "referrer": "prog",
        "symbol": "add",
        "definer": "libadd",
        "address": 0x3000,
    }
    assert body["memory"][0] == {"address": 0x1000, "data": "00001ffc0000400c00000000"}
    rtld("link --shared -o libadd sin.lk")
    body = document(rtld, "bind --json prog", 1)
    assert [problem["subject"] for problem in body["problems"]] == ["add", "counter"]


def test_json_of_files(rtld: Rtld) -> None:
    body = document(rtld, "show --json greet.lk")
    assert body["symbols"][0] == {"name": "greet", "value": 0x1004, "segment": 1, "type": "D"}
    assert body["relocations"][1]["to"] == "print"
    body = document(rtld, "ar --json create lib.a sin.lk cos.lk")
    assert body["members"] == [
        {"name": "1", "symbols": ["sin", "sinh"]},
        {"name": "2", "symbols": ["cos"]},
    ]
    assert document(rtld, "show --json lib.a")["format"] == "file"
    body = document(rtld, "check --json bad.lk sin.lk nothing", 3)
    assert [len(file["complaints"]) for file in body["files"]] == [12, 0, 1]
