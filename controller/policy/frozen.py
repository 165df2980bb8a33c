"""What all models of the policy have in common."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A model that is never mutated and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
