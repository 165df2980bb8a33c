"""The policy file: YAML read strictly, so that what an operator wrote is what is understood.

Scalars follow the YAML 1.2 core schema (``no``, ``18:00`` and ``2026-01-01`` are text, unlike in YAML 1.1, where
a dpid such as ``1000000000000001:3`` would be a number in base 60). Duplicate keys, tags and documents that unfold
to more than they show are refused.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

from controller.policy.model import Policy
from controller.policy.parse import parse_policy
from controller.policy.problems import Location, PolicyError, Problem
from controller.policy.yaml_document import YamlRefused, read_yaml

MAX_FILE_BYTES = 8 << 20


def load_policy_file(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: it is not a policy; each problem names its line.
        OSError: it cannot be read.
    """
    return parse_policy_text(read_policy_file(path))


def read_policy_file(path: Path) -> bytes:
    """Return the content of a file, cut beyond what ``parse_policy_text`` accepts; raises OSError."""
    with path.open("rb") as stream:
        return stream.read(MAX_FILE_BYTES + 1)


def content_hash(content: bytes) -> str:
    """Return the digest by which a file's content is recognised."""
    return hashlib.sha256(content).hexdigest()


def parse_policy_text(content: bytes) -> Policy:
    """Parse the content of a policy file; raises PolicyError with line numbers."""
    if len(content) > MAX_FILE_BYTES:
        raise PolicyError([Problem((), f"the file is larger than {MAX_FILE_BYTES} bytes")])
    try:
        document, lines = read_yaml(content)
    except YamlRefused as error:
        raise PolicyError([Problem(error.location, error.message, error.line)]) from None
    try:
        return parse_policy(document)
    except PolicyError as error:
        raise PolicyError(replace(found, line=_line(found.location, lines)) for found in error.problems) from None


def _line(location: Location, lines: dict[Location, int]) -> int | None:
    """The line of what is named, or of the nearest thing around it (a missing field has no line of its own)."""
    while location and location not in lines:
        location = location[:-1]
    return lines.get(location)
