"""Random programs: whatever the order, every reference leads to what it names."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtld.core.module import Namespace
from rtld.textbook.bind import address_of, bind, look_up, memory_of
from rtld.textbook.link import LinkOptions, link
from rtld.textbook.object import Relocation, Segment, Symbol, TextObject
from textbook.bed import save

SIZE = 24


class Reference(NamedTuple):
    """A place in the text of an object: what kind, to which label, with which addend."""

    kind: str
    label: str
    addend: int


class Plan(NamedTuple):
    """An object: its references, in order; labels are ``o1text``, ``o1data``, one at each segment's start."""

    number: int
    references: tuple[Reference, ...]


@st.composite
def plans(draw: st.DrawFn) -> list[Plan]:
    count = draw(st.integers(2, 5))
    labels = [f"o{i}{kind}" for i in range(count) for kind in ("text", "data")]
    result = []
    for index in range(count):
        references = []
        for _ in range(draw(st.integers(0, 4))):
            kind = draw(st.sampled_from(["A4", "R4", "AS4", "RS4", "GP4"]))
            own = [f"o{index}text", f"o{index}data"]
            label = draw(st.sampled_from(own if kind in ("A4", "R4") else labels))
            addend = 0 if kind == "GP4" else draw(st.integers(0, SIZE - 1))
            references.append(Reference(kind, label, addend))
        result.append(Plan(index, tuple(references)))
    return result


def object_of(plan: Plan) -> TextObject:
    """The object of a plan. Its first word is GA4, so that the table can be found."""
    own = [f"o{plan.number}text", f"o{plan.number}data"]
    others = sorted({r.label for r in plan.references} - set(own))
    symbols = [
        Symbol(own[0], 0, 1, "D"),
        Symbol(own[1], 0, 2, "D"),
        *[Symbol(n, 0, 0, "U") for n in others],
    ]
    numbers = {symbol.name: number for number, symbol in enumerate(symbols, 1)}
    rows, data = [Relocation(0, 1, 0, "GA4")], bytes(4)
    for reference in plan.references:
        ref = numbers[reference.label]
        rows.append(Relocation(len(data), 1, ref, reference.kind))
        data += reference.addend.to_bytes(4, "big")
    data = data.ljust(SIZE, b"\x90")
    content = bytes([0xD0 + plan.number]) * SIZE
    segments = Segment(".text", 0, SIZE, "RP", data), Segment(".data", 0, SIZE, "RWP", content)
    return TextObject(segments, tuple(symbols), tuple(rows))


def meaning(ns: Namespace, plans: list[Plan]) -> dict[str, list[tuple[str, int]]]:
    """For each object, the label and offset that each of its references leads to, read from memory."""
    assert ns.problems == []
    spots = {}
    for plan in plans:
        for kind in ("text", "data"):
            found = look_up(ns, f"o{plan.number}{kind}", ns.main.scopes)
            assert found is not None
            spots[address_of(found)] = f"o{plan.number}{kind}"
    bytes_at = {
        at + i: byte for m in ns.modules for at, data in memory_of(m) for i, byte in enumerate(data)
    }

    def word(at: int) -> int:
        return int.from_bytes(bytes(bytes_at[at + i] for i in range(4)), "big")

    def spot(address: int) -> tuple[str, int]:
        start = max(at for at in spots if at <= address)
        return spots[start], address - start

    starts = {label: at for at, label in spots.items()}
    result = {}
    for plan in plans:
        at = starts[f"o{plan.number}text"]
        table = (word(at) + at) % (1 << 32)
        leads = []
        for number, reference in enumerate(plan.references, 1):
            place = at + 4 * number
            value = word(place)
            if reference.kind in ("R4", "RS4"):
                value = (value + place + 4) % (1 << 32)
            elif reference.kind == "GP4":
                value = word(table + value)
            leads.append(spot(value))
        result[f"o{plan.number}"] = leads
        assert bytes_at[starts[f"o{plan.number}data"]] == 0xD0 + plan.number
    return result


def said(plans: list[Plan]) -> dict[str, list[tuple[str, int]]]:
    """What the objects ask for."""
    return {f"o{p.number}": [(r.label, r.addend) for r in p.references] for p in plans}


def write_objects(directory: Path, plans: list[Plan]) -> dict[int, str]:
    return {plan.number: save(directory / f"o{plan.number}.lk", object_of(plan)) for plan in plans}


QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(st.data())
def test_static_and_shared_in_any_order_mean_the_same(data: st.DataObject) -> None:
    """Objects in two orders, in one executable, and divided over libraries in two ways."""
    chosen = data.draw(plans())
    order = data.draw(st.permutations(chosen))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        paths = write_objects(directory, chosen)
        for arrangement in (chosen, order):
            edit = link([paths[plan.number] for plan in arrangement], LinkOptions(pic=True))
            ns = bind(save(directory / "static", edit.output))
            assert meaning(ns, chosen) == said(chosen)
            cut = data.draw(st.integers(1, len(chosen) - 1))
            program = shared(directory, paths, list(arrangement), cut, data.draw(st.booleans()))
            assert meaning(bind(program), chosen) == said(chosen)


def shared(
    directory: Path, paths: dict[int, str], order: list[Plan], cut: int, interpose: bool
) -> str:
    """An executable of the first objects, a library of each other one; libraries need one another in a ring."""
    libraries = []
    for plan in order[cut:]:
        edit = link([paths[plan.number]], LinkOptions(shared=True, interpose=interpose))
        libraries.append(save(directory / f"lib{plan.number}", edit.output))
    edit = link([*[paths[plan.number] for plan in order[:cut]], *libraries], LinkOptions())
    return save(directory / "dynamic", edit.output)


@QUICK
@given(st.data())
def test_libraries_in_two_orders_give_the_same_image(data: st.DataObject) -> None:
    """With libraries linked for addresses of their own, not a byte depends on the order in which they are named."""
    chosen = data.draw(plans())
    images = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        paths = write_objects(directory, chosen)
        libraries = [
            save(
                directory / f"lib{plan.number}",
                link(
                    [paths[plan.number]], LinkOptions(shared=True, base=0x10000 * (plan.number + 1))
                ).output,
            )
            for plan in chosen[1:]
        ]
        for arrangement in (libraries, data.draw(st.permutations(libraries))):
            edit = link([paths[0], *arrangement], LinkOptions())
            ns = bind(save(directory / "prog", edit.output))
            images.append(
                {at: content for module in ns.modules for at, content in memory_of(module)}
            )
    assert images[0] == images[1]
