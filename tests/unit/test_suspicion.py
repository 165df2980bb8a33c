"""One reset is a reason to look at a member."""

import pytest

from controller.segments import Kind
from controller.suspicion import Suspicions

MEMBER, CLIENT = ("web", "web-1"), 0x0A000101


@pytest.mark.parametrize("kind", [Kind.REFUSED, Kind.NOT_ACCEPTED, Kind.ABORTED_BY_MEMBER, Kind.UNKNOWN_CONNECTION])
def test_the_first_reset_of_any_kind_that_speaks_against_a_member_is_worth_a_probe(kind: Kind) -> None:
    """Otherwise it would only silence those that follow, and a failing member stays in for longer."""
    assert Suspicions().note(MEMBER, CLIENT, kind, now=10.0) > 0


def test_a_burst_of_resets_is_looked_into_once_in_a_while() -> None:
    suspicions = Suspicions()
    probes = [suspicions.note(MEMBER, CLIENT, Kind.REFUSED, now=number / 64) for number in range(15)]
    assert [number for number, sent in enumerate(probes) if sent] == [0, 7, 14]
