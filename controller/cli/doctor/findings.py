"""What was looked at, what was found, and what to do."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How it is."""

    GOOD = "good"
    WRONG = "wrong"
    UNKNOWN = "unknown"


MARKS = {Verdict.GOOD: "✓", Verdict.WRONG: "✗", Verdict.UNKNOWN: "?"}
STYLES = {Verdict.GOOD: "green", Verdict.WRONG: "red", Verdict.UNKNOWN: "yellow"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; ``advice`` says what to do about it."""

    check: str
    verdict: Verdict
    text: str
    advice: str | None = None


def good(check: str, text: str) -> Finding:
    """Make the finding that all is well."""
    return Finding(check, Verdict.GOOD, text)


def wrong(check: str, text: str, advice: str) -> Finding:
    """Make the finding that something must be done."""
    return Finding(check, Verdict.WRONG, text, advice)


def unknown(check: str, text: str, advice: str | None = None) -> Finding:
    """Make the finding that it could not be seen."""
    return Finding(check, Verdict.UNKNOWN, text, advice)


def version_of(text: str | None) -> tuple[int, ...] | None:
    """Read the numbers a version begins with; None when it begins with none."""
    numbers: list[int] = []
    for part in (text or "").split("."):
        if not (part.isascii() and part.isdigit()):
            break
        numbers.append(int(part))
    return tuple(numbers) or None
