"""The part of a policy that divides the fabric into zones: which ports, hosts and addresses belong together, and what holds there."""

import hashlib
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from controller.policy.chain import Function, in_pipeline_order
from controller.policy.frozen import Frozen
from controller.policy.values import Mac, Name, Prefix, SwitchPort, wrong

MAX_PLACES = 1024


class FirewallDefault(StrEnum):
    """What happens to traffic that no rule matches."""

    ALLOW = "allow"
    DROP = "drop"
    REJECT = "reject"


def zone_number(name: str) -> int:
    """A zone's number in the registers: from its name alone, so other zones that come and go change no entry of its own."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest()) | 1


class Tag(Frozen):
    """A name for hosts wherever they are plugged in and whatever addresses they have: by their MAC addresses."""

    name: Name
    hosts: Annotated[tuple[Mac, ...], Field(min_length=1, max_length=MAX_PLACES)]


class Zone(Frozen):
    """A part of the fabric that firewall rules may name: hosts at these ports or with these tags, and addresses in these prefixes.

    A port says more than a tag, a tag more than a prefix, and a longer prefix more than a shorter one.
    """

    name: Name
    ports: Annotated[tuple[SwitchPort, ...], Field(max_length=MAX_PLACES)] = ()
    tags: Annotated[tuple[Name, ...], Field(max_length=MAX_PLACES)] = ()
    prefixes: Annotated[tuple[Prefix, ...], Field(max_length=MAX_PLACES)] = ()
    default_from: FirewallDefault | None = None
    default_to: FirewallDefault | None = None
    chain: Annotated[tuple[Function, ...], AfterValidator(in_pipeline_order)] | None = None
    fail_mode: Literal["open", "closed"] = "open"

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if not self.ports and not self.tags and not self.prefixes:
            raise wrong("a zone has ports, tags or prefixes")
        return self

    @property
    def says_defaults(self) -> bool:
        """Whether it has defaults of its own."""
        return self.default_from is not None or self.default_to is not None
