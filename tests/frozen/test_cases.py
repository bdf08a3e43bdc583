"""Every case of tests/cases, frozen in every form, does what the original does."""

from __future__ import annotations

import os

import pytest

import casefile
import toolchain
from casefile import Case
from conftest import require
from frozenimages import FORMS, outcome
from rtld.errors import Unsupported
from rtld.frozen import freeze
from rtld.frozen.choose import NotFreezable
from rtld.process.link import find

#: What an image is not: one object is told to dl_iterate_phdr where there were several.
DIFFERENT = {"scope/iterate_phdr"}
#: ld.so warns about these at each start; an image has them settled.
SILENT = {
    "copy/protected_variable",
    "copy/size_has_changed",
    "ifunc/relocated_too_late",
    "lazy/protected_function",
    "version/versioned_reference_unversioned_library",
}
#: LD_PRELOAD leads to the original, but only after ld.so has initialised what is preloaded once.
TWICE = {
    "init/preloaded_library_is_initialised_before_the_program",
    "resolve/missing_preload_is_ignored",
    "search/preload_is_searched_like_a_need",
}
WANT = toolchain.TARGETS["x86_64"]
CASES = [case for case in casefile.all_cases() if "x86_64" in case.targets and case.dynamic]


@pytest.mark.skipif(toolchain.HOST != "x86_64", reason="images are for x86-64")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = toolchain.missing(WANT, cxx=case.cxx)
    if lacking:
        require(lacking)
    place = case.build(WANT)
    env = toolchain.environment(WANT, case.environment(place))
    program = place / "main"
    monkeypatch.chdir(place)  # an empty element of a path means it
    expected = outcome([program, *case.args], env=env, cwd=place)
    image = place / f"main.{os.getpid()}.frozen"
    try:
        for form, options in FORMS.items():
            try:
                freeze(find(program, env=env), image, **options)
            except NotFreezable:
                # The original does not start either, or dies of the first call.
                assert case.problems or expected[0] != 0 or b"not found" in expected[2], form
                continue
            except Unsupported:
                assert "pie" in form, form
                continue
            status, out, err = outcome([program, *case.args], image, env=env, cwd=place)
            assert status == expected[0], (form, err)
            if case.name in DIFFERENT:
                continue
            out, err = (text.replace(image.name.encode(), b"main") for text in (out, err))
            if case.name not in TWICE:
                assert out == expected[1], form
                assert case.name in SILENT or err == expected[2], form
    finally:
        image.unlink(missing_ok=True)
