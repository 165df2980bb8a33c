"""What is wrong with a policy, in words: the path always first, then the value and the rule it breaks."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import ErrorDetails

Location = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_SHOWN_CHARS = 60
_SHOWN_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a document.

    Attributes:
        location: keys and list indexes from the root of the document.
        message: what is wrong, without the path.
        line: line of the file it stands on (from 1), when it came from a file.
        collision: two things claim what only one may have (a name, an address with port).
    """

    location: Location
    message: str
    line: int | None = None
    collision: bool = False

    @property
    def path(self) -> str:
        """The location as text, ``pools.web.members[2].port``; the root is ``policy``."""
        return format_path(self.location)

    def __str__(self) -> str:
        """The problem on one line, path first."""
        where = f" (line {self.line})" if self.line is not None else ""
        return f"{self.path}: {self.message}{where}"


class PolicyError(Exception):
    """A document is not a policy; ``problems`` says where and why, and is never empty."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Keep every problem found."""
        self.problems = list(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        """The problems joined, the first ones when there are many."""
        shown = "; ".join(str(problem) for problem in self.problems[:_SHOWN_PROBLEMS])
        hidden = len(self.problems) - _SHOWN_PROBLEMS
        return f"{shown}; and {hidden} more" if hidden > 0 else shown


def format_path(location: Location, root: str = "policy") -> str:
    """Write a location as ``pools.web.members[2].port``; keys with other characters are quoted, nothing is ``root``."""
    text = ""
    for key in location:
        if isinstance(key, int):
            text += f"[{key}]"
        elif _PLAIN_KEY.match(key):
            text += f".{key}" if text else key
        else:
            text += f"[{show(key)}]"
    return text or root


def show(value: object) -> str:
    """Write a value of a document as JSON would, shortened: it may be hostile and long."""
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple | set | frozenset):
        return "a list" if value else "an empty list"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return "a huge number"  # str() of such an integer raises beyond 4,300 digits
    text = json.dumps(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


# pydantic's error types that mean "another kind of value was expected here".
_EXPECTED = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "float_type": "a number",
    "datetime_from_date_parsing": "a time such as 2026-01-31T12:00:00Z",
    "datetime_parsing": "a time such as 2026-01-31T12:00:00Z",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "int_parsing": "an integer",
    "int_type": "an integer",
    "timezone_aware": "a time with its zone (Z)",
    "list_type": "a list",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "string_type": "text",
    "string_unicode": "valid Unicode text",
    "tuple_type": "a list",
}
_FIXED = {
    "invalid_key": "its name is not text; quote it",
    "missing": "is required",
    "string_too_long": "is longer than {max_length} characters",
    "too_long": "has more than {max_length} entries",
}


def from_pydantic(error: ErrorDetails, known_fields: Iterable[str]) -> Problem:
    """Translate one of pydantic's errors.

    Args:
        error: an entry of ``ValidationError.errors()``.
        known_fields: the fields allowed where an unknown one was found, to suggest the one meant.
    """
    location: Location = error["loc"]
    if location and location[-1] == "[key]":
        return Problem(location[:-1], f"the name {_message(error)}")
    if error["type"] == "extra_forbidden":
        return Problem(location, _unknown_field(str(location[-1]), known_fields))
    return Problem(location, _message(error))


def _message(error: ErrorDetails) -> str:
    kind, value = error["type"], error["input"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind in _EXPECTED:
        return f"{show(value)} is not {_EXPECTED[kind]}"
    if kind in ("enum", "literal_error"):
        choices = str(context["expected"]).replace("'", "").replace(" or ", ", ")
        return f"{show(value)} is not one of {choices}"
    return _FIXED[kind].format_map(context) if kind in _FIXED else error["msg"]


def _unknown_field(name: str, known_fields: Iterable[str]) -> str:
    close = difflib.get_close_matches(name[:_SHOWN_CHARS], list(known_fields), n=1)
    return "is not a known field" + (f"; did you mean {close[0]}?" if close else "")
