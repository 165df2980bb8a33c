"""A weight in a closed loop: what was a wrong step is not repeated soon, in either direction, and forgotten with the load."""

from controller.steering import CEILING_S, DOWN_S, FULL, UP_S, Steered


def _taken_back(now: float) -> Steered:
    steered = Steered(least=1)
    steered.lower(now)
    steered.take_back(now + 1)
    return steered


def test_a_step_that_was_taken_back_is_held_both_ways_and_longer_each_time() -> None:
    steered = _taken_back(0.0)
    assert steered.weight == FULL and steered.learned
    assert steered.may_fall == steered.may_grow == 1 + CEILING_S
    steered.lower(700.0)
    steered.take_back(701.0)
    assert steered.may_fall == steered.may_grow == 701 + 2 * CEILING_S


def test_what_was_learned_of_a_load_goes_with_it() -> None:
    steered = _taken_back(0.0)
    steered.forget(60.0)
    assert not steered.learned
    assert (steered.may_fall, steered.may_grow) == (60 + DOWN_S, 60 + UP_S)
    steered.forget(61.0)
    assert steered.may_fall == 60 + DOWN_S, "to forget again puts nothing off"
