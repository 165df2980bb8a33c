"""A strict reader of YAML: a plain document (mappings, lists, scalars) and the line of each of its parts."""

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.composer import Composer

from controller.policy.problems import Location, show

MAX_NODES = 500_000
_MERGE = "tag:yaml.org,2002:merge"
_STR = "tag:yaml.org,2002:str"


class YamlRefused(Exception):  # noqa: N818 (it is a refusal)
    """The text is not YAML, or not a kind that is accepted here."""

    def __init__(self, message: str, line: int | None = None, location: Location = ()) -> None:
        """Say what, on which line (from 1), and where in the document."""
        super().__init__(message)
        self.message, self.line, self.location = message, line, location


# libyaml's parser is several times as fast as Python's: ten thousand rules count. Its composer would overflow the stack on a
# document that is nested deeply enough; Python's, which stands before it here, raises RecursionError.
_Parser: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class _CoreSchemaLoader(Composer, _Parser):  # type: ignore[misc]
    """PyYAML's parser with the scalars of YAML 1.2's core schema."""

    def __init__(self, stream: str) -> None:
        _Parser.__init__(self, stream)
        Composer.__init__(self)


_CoreSchemaLoader.yaml_implicit_resolvers = {}


for _tag, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z",
        list("-+0123456789."),
    ),
    ("merge", r"<<\Z", ["<"]),
):
    _CoreSchemaLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def read_yaml(content: bytes) -> tuple[object, dict[Location, int]]:
    """Parse YAML into a plain document and the line (from 1) of every location in it.

    Raises:
        YamlRefused: not YAML, duplicate keys, tags, or too much in it.
    """
    try:
        node = yaml.compose(content.decode("utf-8-sig"), Loader=_CoreSchemaLoader)
        reader = _Reader()
        return (None if node is None else reader.value(node, ())), reader.lines
    except UnicodeDecodeError as error:
        raise YamlRefused("the file is not UTF-8 text", content.count(b"\n", 0, error.start) + 1) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlRefused(f"not YAML: {error.problem or error.context}", mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise YamlRefused(f"not YAML: {error}".splitlines()[0]) from None
    except RecursionError:
        raise YamlRefused("is nested too deeply") from None


class _Reader:
    """Turns the nodes of one document into values, counting what aliases unfold to."""

    def __init__(self) -> None:
        self.lines: dict[Location, int] = {}
        self._nodes = 0

    def value(self, node: yaml.Node, location: Location) -> object:
        # An alias is the same node again: counting visits bounds "billion laughs" and stops cycles.
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise YamlRefused(f"holds more than {MAX_NODES} values once its aliases are unfolded", _line(node))
        self.lines[location] = _line(node)
        if isinstance(node, yaml.MappingNode) and node.tag.endswith(":map"):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode) and node.tag.endswith(":seq"):
            return [self.value(item, (*location, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node, location)
        raise YamlRefused(f"the tag {show(node.tag)} is not accepted", _line(node), location)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, object]:
        merged: dict[str, object] = {}
        own: dict[str, object] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                for source in self._merge_sources(value_node, location):
                    merged = {**source, **merged}  # the first of several sources wins
                continue
            key = self._key(key_node, location)
            if key in own:
                raise YamlRefused("is there twice", _line(key_node), (*location, key))
            own[key] = self.value(value_node, (*location, key))
        return {**merged, **own}

    def _merge_sources(self, node: yaml.Node, location: Location) -> Iterator[dict[str, object]]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in nodes:
            value = self.value(source, location)
            if not isinstance(value, dict):
                raise YamlRefused("only mappings can be merged with <<", _line(node), location)
            yield value

    def _key(self, node: yaml.Node, location: Location) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise YamlRefused("a list or mapping cannot be a name", _line(node), location)
        if node.tag != _STR:
            raise YamlRefused(f"the name {show(node.value)} is not text; quote it", _line(node), location)
        return str(node.value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _scalar(node: yaml.ScalarNode, location: Location) -> str | int | float | bool | None:
    text = str(node.value)
    match node.tag.rpartition(":")[2]:
        case "str":
            return text
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return _integer(text, node, location)
        case "float":
            return _float(text, node, location)
    raise YamlRefused(f"the tag {show(node.tag)} is not accepted", _line(node), location)


def _integer(text: str, node: yaml.Node, location: Location) -> int:
    try:
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text, 10)
    except ValueError:  # !!int on something else, or thousands of digits
        raise YamlRefused(f"{show(text)} is not an integer", _line(node), location) from None


def _float(text: str, node: yaml.Node, location: Location) -> float:
    try:
        number = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        raise YamlRefused(f"{show(text)} is not a number", _line(node), location) from None
    if not math.isfinite(number):
        raise YamlRefused(f"{show(text)} is not a finite number", _line(node), location)
    return number
