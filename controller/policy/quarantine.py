"""The part of the policy that says how clients are kept out, and who never is."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from controller.policy.values import HostAddress, Prefix, Range, StrictInt, wrong

QuarantineAction = Literal["drop", "limit", "isolate"]


class QuarantineSettings(BaseModel):
    """How quarantine works; entries themselves come and go at run time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_list: Annotated[tuple[Prefix, ...], Field(max_length=1000)] = ()
    remediation: Annotated[tuple[HostAddress, ...], Field(max_length=16)] = ()
    limit_pps: Annotated[StrictInt, Range(1, 10_000_000)] = 10
    automatic_action: QuarantineAction = "drop"
    max_entries: Annotated[StrictInt, Range(1, 10_000)] = 1000

    @model_validator(mode="after")
    def _isolation_leads_somewhere(self) -> Self:
        if self.automatic_action == "isolate" and not self.remediation:
            raise wrong("automatic_action isolate needs a remediation address")
        return self
