"""The posterior is a probability, whatever is asked of it, and does not depend on the order in which things came."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_resets import Maker

from controller.causes import Cause
from controller.diagnosis.evidence import Evidence
from controller.diagnosis.features import Feature, client_features, member_features, port_features
from controller.diagnosis.model import Model
from controller.health import Outcome, ProbeResult
from controller.resets import ResetRecord

MODEL = Model()
VALUES = sorted((name, value) for name, values in MODEL.counts.items() for value in values)
FEW = settings(max_examples=100, deadline=None)


@st.composite
def features(draw: st.DrawFn) -> list[Feature]:
    """At most one value of each feature, and some the table does not know."""
    names = draw(st.sets(st.sampled_from(sorted(MODEL.counts))))
    known = [Feature(name, draw(st.sampled_from(sorted(MODEL.counts[name]))), "text") for name in sorted(names)]
    unknown = draw(
        st.lists(
            st.builds(Feature, st.sampled_from(["weather", "moon"]), st.text(max_size=3), st.just("text")), max_size=2
        )
    )
    return draw(st.permutations(known + unknown))


@FEW
@given(features())
def test_a_posterior_is_a_probability(given_features: list[Feature]) -> None:
    diagnosis = MODEL.diagnose(given_features)
    assert set(diagnosis.posterior) == set(Cause)
    assert sum(diagnosis.posterior.values()) == pytest.approx(1.0)
    assert all(0.0 < probability < 1.0 for probability in diagnosis.posterior.values())
    assert diagnosis.posterior[diagnosis.cause] == max(diagnosis.posterior.values()) == diagnosis.confidence
    weights = [abs(spoken.weight) for spoken in diagnosis.evidence]
    assert weights == sorted(weights, reverse=True), "what spoke loudest comes first"
    known = [feature for feature in given_features if feature.name in MODEL.counts]
    assert {spoken.feature for spoken in diagnosis.evidence} == set(known)


@FEW
@given(features(), st.randoms(use_true_random=False))
def test_the_order_of_features_does_not_matter(given_features: list[Feature], chance: random.Random) -> None:
    shuffled = given_features.copy()
    chance.shuffle(shuffled)
    assert MODEL.diagnose(shuffled) == MODEL.diagnose(given_features)


@FEW
@given(features())
def test_what_the_table_does_not_know_changes_nothing(given_features: list[Feature]) -> None:
    known = [feature for feature in given_features if feature.name in MODEL.counts]
    assert MODEL.diagnose(known) == MODEL.diagnose(given_features)


@FEW
@given(features(), st.sampled_from(list(Cause)))
def test_a_label_makes_its_cause_likelier_and_never_less(given_features: list[Feature], cause: Cause) -> None:
    model = Model()
    before = model.diagnose(given_features).posterior[cause]
    model.label([(feature.name, feature.value) for feature in given_features], cause)
    after = model.diagnose(given_features).posterior
    assert after[cause] >= before - 1e-9
    assert sum(after.values()) == pytest.approx(1.0)


# --- events in any order -------------------------------------------------------------------------------------------------------

MEMBERS, CLIENTS = (1, 2, 3), (0x0A000101, 0x0A000102, 0x0A000103)
KINDS = ("refused", "not_accepted", "aborted_early", "lost", "aborted_by_client", "gave_up", "after_fin")


@st.composite
def moments(draw: st.DrawFn) -> list[ResetRecord]:
    """Resets of different connections at one moment."""
    make = Maker()
    wanted = draw(
        st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(MEMBERS), st.sampled_from(CLIENTS)), max_size=12)
    )
    records = [getattr(make, kind)(member=member, client=client) for kind, member, client in wanted]
    ports = draw(st.lists(st.tuples(st.sampled_from(CLIENTS), st.integers(1, 3)), max_size=4))
    return records + [make.injected(claimed=claimed, entry=(1, port)) for claimed, port in ports]


def seen(records: list[ResetRecord], now: float = 1.0) -> dict[object, object]:
    """The diagnosis of everybody, after these resets and one good probe of each member."""
    evidence = Evidence()
    for member in MEMBERS:
        evidence.member(member).on_probe(ProbeResult(("web", str(member)), Outcome.SUCCEEDED, 1.0, "", 64), now)
    for record in records:
        evidence.add(record, now)
    found: dict[object, object] = {}
    for member in MEMBERS:
        peers = [other for other in MEMBERS if other != member]
        found["member", member] = MODEL.diagnose(member_features(member, evidence, peers, None, now)).posterior
    for client in CLIENTS:
        found["client", client] = MODEL.diagnose(
            client_features(evidence.client(client), evidence, None, now)
        ).posterior
    for port in (1, 2, 3):
        found["port", port] = MODEL.diagnose(port_features(evidence.port((1, port)), now)).posterior
    return found


@FEW
@given(moments(), st.randoms(use_true_random=False))
def test_the_order_of_resets_at_one_moment_does_not_matter(records: list[ResetRecord], chance: random.Random) -> None:
    shuffled = records.copy()
    chance.shuffle(shuffled)
    assert seen(shuffled) == seen(records)
