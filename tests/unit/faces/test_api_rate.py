"""How much one caller may ask: 429 says when to come back, guesses at tokens are slow, others are not touched."""

from collections.abc import Callable
from itertools import count

import pytest
from api_memory_service import MemoryService
from flask.testing import FlaskClient

from controller.api.app import create_app
from controller.api.rate import MAX_CALLERS, WRONG_TOKENS_AT_ONCE, RateLimit, caller_of
from controller.store import Role, Store

PER_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limited(service: MemoryService, store: Store, clock: Clock) -> FlaskClient:
    return create_app(service, store, clock=clock, limit=RateLimit(PER_S)).test_client()


def until_refused(ask: Callable[[], int]) -> int:
    return next(number for number in count() if ask() == 429)


def test_too_many_are_refused_until_the_time_it_says(limited: FlaskClient, clock: Clock) -> None:
    assert until_refused(lambda: limited.get("/v1/health").status_code) == 2 * PER_S
    refused = limited.put("/v1/automation", json={"mode": "frozen"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert refused.content_type == "application/problem+json"
    assert refused.json["detail"] == "request: too many from this caller; try again in 1 s"
    assert limited.get("/v1/health", environ_base={"REMOTE_ADDR": "127.0.0.2"}).status_code == 200
    clock.now += 1
    assert until_refused(lambda: limited.get("/v1/health").status_code) == PER_S


def test_a_clock_that_is_set_back_locks_nobody_out(limited: FlaskClient, clock: Clock) -> None:
    until_refused(lambda: limited.get("/v1/health").status_code)
    clock.now -= 10_000
    assert limited.get("/v1/health").status_code == 429
    clock.now += 1
    assert limited.get("/v1/health").status_code == 200


def test_tokens_count_by_themselves_whatever_the_address(limited: FlaskClient, store: Store) -> None:
    one, other = (
        {"Authorization": f"Bearer {store.tokens.create(name, Role.READ, 1.0)[1]}"} for name in ("one", "other")
    )
    until_refused(lambda: limited.get("/v1/vips", headers=one).status_code)
    assert limited.get("/v1/vips", headers=one, environ_base={"REMOTE_ADDR": "10.1.1.1"}).status_code == 429
    assert limited.get("/v1/vips", headers=other).status_code == 200


def test_guesses_at_tokens_are_slow_and_stop_only_those_who_guess(
    service: MemoryService, store: Store, clock: Clock
) -> None:
    right = {"Authorization": f"Bearer {store.tokens.create('ops', Role.READ, 1.0)[1]}"}
    client = create_app(service, store, clock=clock).test_client()
    guesses = until_refused(lambda: client.get("/v1/vips", headers={"Authorization": "Bearer guess"}).status_code)
    assert guesses == WRONG_TOKENS_AT_ONCE
    refused = client.get("/v1/vips", headers=right)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert client.get("/v1/vips", headers=right, environ_base={"REMOTE_ADDR": "10.1.1.1"}).status_code == 200
    clock.now += 1
    assert client.get("/v1/vips", headers=right).status_code == 200


def test_who_shows_no_token_is_told_so_however_often(service: MemoryService, store: Store, clock: Clock) -> None:
    store.tokens.create("ops", Role.READ, 1.0)
    client = create_app(service, store, clock=clock).test_client()
    assert {client.get("/v1/vips").status_code for _ in range(100)} == {401}


def test_callers_without_number_take_bounded_memory() -> None:
    limit = RateLimit(PER_S)
    for number in range(100_000):
        limit.check(f"caller {number}", 0.0)
    assert len(limit._requests._buckets) == MAX_CALLERS  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        (None, "local"),
        ("", "local"),
    ],
)
def test_an_ipv6_host_is_its_network(address: str | None, caller: str) -> None:
    assert caller_of(address) == caller
