"""--json: one document each, and no key that docs/json.md does not describe."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cli.support import Rtld

#: Several commands under one name each.
FAMILIES = ("sysroot", "textbook")
DOCS = Path(__file__).parents[2] / "docs" / "json.md"


def keys(value: Any) -> set[str]:
    """Every key below, but for objects whose keys are data (counts by name)."""
    result: set[str] = set()
    if isinstance(value, list):
        for item in value:
            result |= keys(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            result.add(key)
            if key not in ("counts", "binding_counts"):
                result |= keys(item)
    return result


@pytest.mark.parametrize(
    "words",
    [
        ("tree", "app"),
        ("tree", "lost/app"),
        ("ldd", "-u", "app"),
        ("ldd", "-r", "lost/app"),
        ("link", "app"),
        ("link", "--bindings", "app"),
        ("check", "lost/app"),
        ("why", "app", "shared"),
        ("why", "app", "nothing"),
        ("why", "app", "libtwo.so"),
        ("why", "lost/app", "libtwo.so"),
        ("tree", "app", "lost/app"),
    ],
)
def test_documented(rtld: Rtld, here: Path, words: tuple[str, ...]) -> None:
    files = [str(here / word) if "app" in word else word for word in words[1:]]
    document = json.loads(rtld(words[0], "--json", *files).out)
    assert list(document)[:2] == ["schema", "command"]
    assert (document["schema"], document["command"]) == ("rtld/1", words[0])
    described = set(re.findall(r"`(\w+)`", DOCS.read_text()))
    assert keys(document) - described == set()


def test_several_files(rtld: Rtld, here: Path) -> None:
    document = json.loads(rtld("tree", "--json", here / "app", "/nonexistent", "/etc/passwd").out)
    one, two, three = document["files"]
    assert one["modules"][0]["path"] == f"{here}/app"
    assert two == {
        "path": "/nonexistent",
        "error": {
            "type": "FileNotFoundError",
            "message": "/nonexistent: No such file or directory",
        },
    }
    assert three["error"]["type"] == "FormatError"
    assert three["error"]["field"] == "magic"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("link", "/nonexistent"), 3),
        (("why", "/nonexistent", "malloc"), 3),
        (("diff-models", "/nonexistent", "glibc", "musl"), 3),
        (("freeze", "/nonexistent"), 3),
        (("freeze", "--check", "/nonexistent"), 3),
        (("call", "/nonexistent", "int f(void)"), 1),
        (("call", "libc.so.6", "int there_is_no_such_function(void)"), 1),
        (("sysroot", "list", "/nonexistent"), 3),
        (("textbook", "show", "/nonexistent"), 3),
        (("textbook", "link", "/nonexistent"), 3),
    ],
)
def test_commands_that_fail(rtld: Rtld, words: tuple[str, ...], status: int) -> None:
    """A document there is in any case, and the sentence on standard error as ever."""
    done = rtld(*words[:-1], "--json", words[-1]) if words[0] in FAMILIES else rtld(words[0], "--json", *words[1:])  # fmt: skip
    document = json.loads(done.out)
    assert done.status == status
    assert document["command"] == (" ".join(words[:2]) if words[0] in FAMILIES else words[0])
    assert document.get("path") == (None if words[0] in FAMILIES else words[-1] if "--check" in words else words[1])  # fmt: skip
    assert document["error"]["message"] in done.err


def test_cache_and_epoch(rtld: Rtld, tmp_path: Path) -> None:
    images = rtld("cache", "--json", "--dir", tmp_path / "images", "path", "/bin/true").out
    program = json.loads(images)
    assert (program["program"], program["image"]) == ("/bin/true", None)
    registry = tmp_path / "epoch.json"
    registry.write_text("{}")
    ended = rtld("epoch", "--json", "--registry", registry, "end")
    assert (json.loads(ended.out)["removed"], ended.status) == (True, 0)
    ended = rtld("epoch", "--json", "--registry", registry, "end")
    assert (json.loads(ended.out)["removed"], ended.status) == (False, 1)


def test_names_that_are_not_utf8(rtld: Rtld, here: Path, tmp_path: Path) -> None:
    path = tmp_path / "\udcff\udce4"
    path.write_bytes((here / "app").read_bytes())
    document = json.loads(rtld("tree", "--json", "--library-path", here, path).out)
    assert document["path"] == str(path)


def test_the_issue_s_words(rtld: Rtld, here: Path) -> None:
    document = json.loads(rtld("link", "--json", "--bindings", here / "app").out)
    assert {"modules", "bindings", "problems", "init_order", "scopes", "tls", "timings"} <= set(
        document
    )
    assert set(document["bindings"][0]) == {"referrer", "definer", "symbol", "version", "kind"}
    paths = [module["path"] for module in document["modules"]]
    assert sorted(document["init_order"]) == sorted(paths)
    assert document["scopes"][0]["modules"] == paths
