"""Rules get priorities in their order, and keep them while others come and go."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.ranking import rank

FIRST, LAST = 10, 41
names = st.lists(st.integers(0, 40).map(str), unique=True, max_size=LAST - FIRST + 1)


def in_order(order: list[str], numbers: dict[str, int]) -> bool:
    placed = [numbers[name] for name in order]
    return all(FIRST <= number <= LAST for number in placed) and placed == sorted(set(placed), reverse=True)


@settings(max_examples=300, deadline=None)
@given(st.lists(names, min_size=1, max_size=8))
def test_whatever_comes_and_goes_the_numbers_fall_along_the_list(orders: list[list[str]]) -> None:
    numbers: dict[str, int] = {}
    for order in orders:
        numbers = rank(order, numbers, FIRST, LAST)
        assert list(numbers.keys() ^ set(order)) == [] and in_order(order, numbers)


@settings(max_examples=200, deadline=None)
@given(names, st.dictionaries(st.integers(0, 40).map(str), st.integers(-5, 60)))
def test_numbers_from_anywhere_do_no_harm(order: list[str], known: dict[str, int]) -> None:
    assert in_order(order, rank(order, known, FIRST, LAST))


@settings(max_examples=200, deadline=None)
@given(names, st.data())
def test_who_leaves_moves_nobody(order: list[str], data: st.DataObject) -> None:
    numbers = rank(order, {}, FIRST, LAST)
    rest = [name for name in order if data.draw(st.booleans())]
    assert rank(rest, numbers, FIRST, LAST) == {name: numbers[name] for name in rest}


def test_who_comes_between_ten_thousand_moves_hardly_anybody() -> None:
    order = [str(number) for number in range(10_000)]
    numbers = rank(order, {}, 1_000, 60_000)
    moved = 0
    for step in range(200):
        order.insert(5_000 + step % 7, f"new-{step}")
        after = rank(order, numbers, 1_000, 60_000)
        moved += sum(1 for name, number in numbers.items() if after[name] != number)
        numbers = after
    assert moved < 200 * 20, "all of them at one place, and on average less than twenty of ten thousand move"


def test_an_entry_that_changes_places_is_the_only_one_that_moves() -> None:
    order = [str(number) for number in range(100)]
    numbers = rank(order, {}, 1_000, 60_000)
    order.insert(90, order.pop(3))
    after = rank(order, numbers, 1_000, 60_000)
    assert [name for name in order if numbers[name] != after[name]] == ["3"]


def test_more_than_there_are_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="33 entries for 32 numbers"):
        rank([str(number) for number in range(33)], {}, FIRST, LAST)
