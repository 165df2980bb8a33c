"""Small numbers for names, the same ones for as long as the store lives."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.decisions import Persist
from controller.numbering import Numbering, NumbersExhaustedError


def test_a_name_keeps_its_number_and_is_recorded_once() -> None:
    numbering = Numbering("members", 9)
    assert numbering.number("a") == (1, [Persist("members", "a", 1)])
    assert numbering.number("b")[0] == 2
    assert numbering.number("a") == (1, [])
    assert numbering.name(2) == "b" and numbering.name(3) is None


def test_a_number_that_was_given_back_is_the_last_to_be_used_again() -> None:
    numbering = Numbering("members", 3)
    for name in "abc":
        numbering.number(name)
    assert numbering.release_all_but({"a", "c"}) == [Persist("members", "b", None)]
    assert numbering.number("d")[0] == 2, "the only one there is"
    fresh = Numbering("members", 9)
    for name in "abc":
        fresh.number(name)
    fresh.release_all_but({"a", "c"})
    assert fresh.number("d")[0] == 4, "connections of b may still be marked with 2"


def test_when_all_are_taken_it_says_so_and_goes_on() -> None:
    numbering = Numbering("vips", 2)
    numbering.number("a")
    numbering.number("b")
    with pytest.raises(NumbersExhaustedError, match="all 2 vips"):
        numbering.number("c")
    assert numbering.number("a")[0] == 1
    numbering.release_all_but({"a"})
    assert numbering.number("c")[0] == 2


def test_what_the_store_held_is_taken_back_and_nonsense_is_not() -> None:
    numbering = Numbering("members", 9)
    numbering.restore({"a": 3, "b": 0, "c": 10, "d": "7", "e": None})
    assert numbering.number("a")[0] == 3
    assert numbering.number("new")[0] == 4


def test_two_names_the_store_gave_one_number_do_not_share_it() -> None:
    numbering = Numbering("members", 9)
    numbering.restore({"a": 3, "b": 3})
    assert numbering.number("a")[0] != numbering.number("b")[0]


NAMES = st.sampled_from("abcdefgh")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("number"), NAMES), st.tuples(st.just("keep"), st.sets(NAMES)), st.just(("restart", None))
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_no_two_names_ever_have_the_same_number(steps: list[tuple[str, object]]) -> None:
    numbering, stored = Numbering("members", 10), {}
    given_out: dict[str, int] = {}
    for what, argument in steps:
        records: list[Persist] = []
        if what == "number":
            number, records = numbering.number(argument)
            assert given_out.setdefault(argument, number) == number
        elif what == "keep":
            records = numbering.release_all_but(argument)
            given_out = {name: number for name, number in given_out.items() if name in argument}
        else:
            numbering = Numbering("members", 10)
            numbering.restore(dict(stored))
        for record in records:
            stored.pop(record.key, None) if record.value is None else stored.update({record.key: record.value})
        assert stored == given_out
        assert len(set(given_out.values())) == len(given_out)
        assert all(numbering.name(number) == name for name, number in given_out.items())
