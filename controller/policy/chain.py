"""The function chain of a policy: which of firewall, balancer and router are on, and the policy as it is with the others off."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

from controller.policy.values import wrong

if TYPE_CHECKING:
    from controller.policy.model import Policy


class Function(StrEnum):
    """A network function, in the only order the pipeline has: what is refused is not balanced, what is balanced is then routed."""

    FIREWALL = "firewall"
    BALANCER = "balancer"
    ROUTER = "router"


ALL = tuple(Function)


def in_pipeline_order(chain: tuple[Function, ...]) -> tuple[Function, ...]:
    """The chain, when the pipeline can do it; raise when it cannot."""
    for function in chain:
        if chain.count(function) > 1:
            raise wrong(f"{function.value} stands in it twice")
    if chain != tuple(function for function in ALL if function in chain):
        raise wrong(
            f"{_words(chain)}: the pipeline has these functions in the order {_words(ALL)}, any of them may be left out"
        )
    return chain


def _words(chain: Iterable[Function]) -> str:
    return ", ".join(function.value for function in chain)


def in_force(policy: Policy) -> Policy:
    """The policy without what belongs to functions that are off: their part is kept, and nobody acts on it.

    Pools stay: their members are nobody's without a VIP.
    """
    off = {
        Function.FIREWALL: ("firewall", "zones", "tags"),
        Function.BALANCER: ("vips", "probe_address"),
        Function.ROUTER: ("subnets",),
    }
    fields = [name for function in ALL if function not in policy.chain for name in off[function]]
    if not fields:
        return policy
    defaults = type(policy).model_fields
    return policy.model_copy(update={name: defaults[name].get_default(call_default_factory=True) for name in fields})


def tracks(policy: Policy) -> bool:
    """Whether anything in the chain needs to know connections; a router alone does not."""
    return Function.FIREWALL in policy.chain or Function.BALANCER in policy.chain
