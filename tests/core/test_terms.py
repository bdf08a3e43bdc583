"""Formulas are values: printed as written, equal as sums, the same over integers and arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtld.core.terms import TP, WORD, ZERO, A, B, Expr, P, S, T, Z

LETTERS = {"S": S, "A": A, "P": P, "B": B, "Z": Z, "T": T, "TP": TP}


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (S + A - P, "S + A - P"),
        (A - TP - T, "A - TP - T"),
        (-P + S, "-P + S"),
        (T + A - 0x8000, "T + A - 0x8000"),
        (8 + S, "S + 8"),
        (8 - S, "-S + 8"),
        (ZERO, "0"),
        (ZERO - 1, "-1"),
        (S, "S"),
        (-S, "-S"),
    ],
)
def test_a_formula_prints_as_it_is_written(formula: Expr, text: str) -> None:
    assert str(formula) == text


def test_sums_are_equal_in_any_order() -> None:
    assert S + A == A + S
    assert hash(S + A) == hash(A + S)
    assert S + A != S - A
    assert S + A != S + A + 1
    assert S != "S"


def test_membership_asks_for_a_term() -> None:
    assert S in S + A
    assert P not in S + A
    assert (S + A).names == ("S", "A")


def test_a_formula_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        S.terms = ()
    with pytest.raises(AttributeError):
        S.constant = 1


words = st.integers(0, WORD)
formulas = st.lists(st.tuples(st.sampled_from(sorted(LETTERS)), st.sampled_from((1, -1)))).map(
    lambda terms: Expr(tuple(terms))
)


@given(formulas, st.integers(-(1 << 40), 1 << 40), st.data())
def test_arrays_and_integers_agree(formula: Expr, constant: int, data: st.DataObject) -> None:
    formula = formula + constant
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(LETTERS, words)), min_size=1))
    columns = {name: np.array([row[name] for row in rows], np.uint64) for name in LETTERS}
    result = np.broadcast_to(formula(columns), len(rows))
    assert [int(value) for value in result] == [formula.evaluate(row) for row in rows]


def test_signed_columns_and_negative_integers_wrap() -> None:
    env = {"S": np.array([16, 0], np.int64), "A": np.array([-8, -1], np.int32), "P": -1}
    assert [int(value) for value in (S + A - P)(env)] == [9, 0]
    assert int((S + A)({"S": np.array([1], np.uint32), "A": -2})[0]) == WORD


def test_text_evaluates_to_the_same_value() -> None:
    values = {"S": 0x1000, "A": -4, "P": 0x2000}
    assert (S + A - P).evaluate(values) == eval(str(S + A - P), {}, values) & WORD
