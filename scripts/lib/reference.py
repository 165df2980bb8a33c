"""Writes the parts of docs/ that repeat what the code says, or with --check says which of them do not any more."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from controller.cli.app import PASSED_ON, app
from controller.diagnosis.features import Feature
from controller.diagnosis.model import CAUSES, Model
from controller.flows import Purpose
from controller.pipeline import METER_RATES, RULES, Table
from controller.policy import model, network, values, zones

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FIELDS = Path(__file__).with_name("policy_fields.yaml")
MODELS = (
    model.Policy, model.Pool, model.Member, model.HealthCheck, model.Vip, model.Firewall, model.Rule, model.Schedule,
    zones.Tag, zones.Zone, network.Subnet, model.Links, model.LinkCapacity, model.Automation, model.QuarantineSettings,
)  # fmt: skip
PLAIN_WORDS: dict[object, str] = {
    values.Name: "name", values.HostAddress: "address", values.Prefix: "address or prefix", values.TimeOfDay: "time of day",
    values.TimeZone: "time zone", values.HttpPath: "path", values.SwitchPort: "switch port", values.PortOrRange: "port or range",
    values.Mac: "MAC address",
    values.Version: "`1`", str: "text", int: "integer", float: "number", bool: "`true` or `false`",
}  # fmt: skip


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    head = list(head)
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"


# --- policy --------------------------------------------------------------------------------------------------------------------


def type_words(kind: Any, metadata: Iterable[object] = ()) -> str:
    """What may stand in a field, for people."""
    known = next((words for plain, words in PLAIN_WORDS.items() if kind == plain), None)
    if known is not None:
        return known + bounds(metadata)
    if get_origin(kind) is Annotated:
        inner, *more = get_args(kind)
        return type_words(inner, [*more, *metadata])
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{value.value}`" for value in kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    return composite_words(get_origin(kind), get_args(kind))


def composite_words(origin: Any, parts: tuple[Any, ...]) -> str:
    """The same for what is made of other types."""
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(type_words(part) for part in parts if part is not type(None))
    if origin is tuple:
        return f"list of {type_words(parts[0])}"
    return f"mapping of {type_words(parts[0])} to {type_words(parts[1])}"


def bounds(metadata: Iterable[object]) -> str:
    """` 0–100` when a range is among them."""
    found = next((entry for entry in metadata if isinstance(entry, values.Range)), None)
    return f" {found.low:,}–{found.high:,}" if found else ""


def default_of(field: FieldInfo) -> str:
    """The default as it would be written."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None or default in ((), {}) or isinstance(default, BaseModel):
        return ""
    if isinstance(default, Enum):
        default = default.value
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`" if default != "" else ""


def policy_page() -> str:
    """docs/policy.md."""
    texts = yaml.safe_load(FIELDS.read_text(encoding="utf-8"))
    lines = [
        "# Policy reference",
        "",
        "Written by `scripts/reference` from the models in `controller/policy/model.py`. What a policy is and how it is changed is in",
        "[the API](api.md#the-policy); a first one is in [Start](start.md). Unknown fields are refused, with the name that may",
        "have been meant. `resetlb policy check FILE` says what is wrong with a file, with line numbers, and needs no controller.",
        "",
        "Names are 1–63 letters, digits, `.`, `_`, `-`, beginning with a letter or digit. Addresses are IPv4 or",
        "IPv6; the members of a pool and the VIPs before it are of one family. A number is never written as text.",
    ]
    for each in MODELS:
        said = texts.pop(each.__name__)
        lines += ["", f"## {each.__name__}", "", clean(each.__doc__ or ""), ""]
        kinds = get_type_hints(each, include_extras=True)
        rows = [
            (f"`{name}`", type_words(kinds[name]), default_of(field), said.pop(name))
            for name, field in each.model_fields.items()
        ]
        lines += table(("field", "value", "default", "meaning"), rows)
        if said:
            raise SystemExit(f"{FIELDS}: {each.__name__} has no {', '.join(said)}")
    if texts:
        raise SystemExit(f"{FIELDS}: the policy has no {', '.join(texts)}")
    return "\n".join(lines) + "\n"


def clean(docstring: str) -> str:
    """A docstring as one paragraph of Markdown."""
    return " ".join(docstring.replace("``", "`").split())


# --- command line --------------------------------------------------------------------------------------------------------------


def cli_page() -> str:
    """docs/cli.md."""
    root = typer.main.get_command(app)
    lines = [
        "# Command line",
        "",
        "Written by `scripts/reference` from the commands themselves; `resetlb COMMAND --help` says the same. Every command that answers",
        "with data takes `--json`. Exit status: 0 done, 1 failed, 2 usage or invalid input.",
        "",
        "`--url` and `--token` may stand in `RESETLB_URL` and `RESETLB_TOKEN` instead. A token that begins with `@` names a file, so",
        "that it is in no list of processes: `RESETLB_TOKEN=@/run/credentials/…`. An API with TLS of an authority of your own:",
        "`SSL_CERT_FILE=ca.pem`.",
        "",
        "Tables have colours on a terminal only. On one that is too narrow the columns that matter least are left out, and named below.",
        "",
        "`resetlb --install-completion` has bash, zsh or fish complete commands and options from the next shell on;",
        "`resetlb --show-completion` prints what it would install.",
    ]
    for words, command in commands(root, "resetlb"):
        if words.split()[-1] in PASSED_ON:
            lines += ["", f"## {words}", "", f"{clean(command.help or '')} `{words} --help` lists its options."]
            continue
        lines += ["", f"## {words}", "", clean(command.help or ""), "", "```", usage(words, command), "```"]
        kinds = get_type_hints(command.callback)
        rows = [option_row(parameter, kinds[parameter.name]) for parameter in command.params]
        if rows:
            lines += ["", *table(("", "", "default"), rows)]
    return "\n".join(lines) + "\n"


def commands(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    """Every command with its words, in order."""
    below = getattr(command, "commands", None)
    if below is None:
        yield words, command
        return
    for name, subcommand in below.items():
        yield from commands(subcommand, f"{words} {name}")


def is_argument(parameter: Any) -> bool:
    """Whether it has no name on the line."""
    return not parameter.opts[0].startswith("-")


def argument_name(argument: Any) -> str:
    """As the usage line shows it."""
    return str(argument.metavar or argument.name).upper().strip("[]…").rstrip("]") + (
        "…" if argument.nargs == -1 else ""
    )


def usage(words: str, command: Any) -> str:
    """The line that shows how a command is called."""
    arguments = [parameter for parameter in command.params if is_argument(parameter)]
    names = [argument_name(each) if each.required else f"[{argument_name(each)}]" for each in arguments]
    return " ".join([words, *(["[OPTIONS]"] if len(arguments) < len(command.params) else []), *names])


def option_row(parameter: Any, kind: Any) -> tuple[str, str, str]:
    """Name, meaning and default of an option or argument."""
    words = parameter.help or ""
    choices = next((one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, Enum)), None)
    if choices is not None:
        words += f" One of {', '.join(f'`{choice.value}`' for choice in choices)}."
    if is_argument(parameter):
        return f"`{argument_name(parameter)}`", words, ""
    default = getattr(parameter.default, "value", parameter.default)
    return (
        ", ".join(f"`{name}`" for name in parameter.opts),
        words,
        "" if default in (None, False, "") else f"`{default}`",
    )


# --- tables in pages written by hand -------------------------------------------------------------------------------------------


def pipeline_tables() -> Iterator[str]:
    """What each table may match, and where it may go."""
    rows = [
        (int(number), number.name.lower(), ", ".join(f"`{name}`" for name in sorted(RULES[number].fields)),
         ", ".join(str(int(goto)) for goto in sorted(RULES[number].goto)) or "–")
        for number in Table
    ]  # fmt: skip
    return table(("table", "name", "may match", "goes to"), rows)


def pipeline_meters() -> Iterator[str]:
    """Meters."""
    return table(
        ("meter", "for", "packets/s", "burst"),
        [(int(meter), meter.name.lower().replace("_", " "), *rate) for meter, rate in METER_RATES.items()],
    )


def pipeline_cookies() -> Iterator[str]:
    """The top byte of a cookie."""
    return table(
        ("top byte", "purpose"), [(f"`{int(each):02x}`", each.name.lower().replace("_", " ")) for each in Purpose]
    )


def likelihoods() -> Iterator[str]:
    """P(value | cause) in per cent, as the model has it."""
    known = Model()
    rows = []
    for name, answers in known.counts.items():
        for value in answers:
            feature = Feature(name, value, "")
            shares = [known.likelihood(feature, cause) or 0.0 for cause in CAUSES]
            rows.append(
                (name, value, *(f"{100 * share:.1f}" if share < 0.1 else f"{100 * share:.0f}" for share in shares))
            )
    yield from table(("feature", "value", *(cause.value for cause in CAUSES)), rows)
    yield ""
    prior = ", ".join(f"{cause.value} {known.prior[cause]:g}" for cause in CAUSES)
    yield f"Prior: {prior}. Temperature: {known.temperature:g}."


BLOCKS: dict[str, dict[str, Callable[[], Iterator[str]]]] = {
    "pipeline.md": {"tables": pipeline_tables, "meters": pipeline_meters, "cookies": pipeline_cookies},
    "causes.md": {"likelihoods": likelihoods},
}
PAGES: dict[str, Callable[[], str]] = {"policy.md": policy_page, "cli.md": cli_page}


def with_blocks(text: str, blocks: dict[str, Callable[[], Iterator[str]]]) -> str:
    """A page with what stands between `<!-- reference: NAME -->` and `<!-- end -->` written anew."""
    for name, lines in blocks.items():
        begin, end = f"<!-- reference: {name} -->\n", "<!-- end -->"
        before, found, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise SystemExit(f"there is no place for {name}")
        text = "".join([before, begin, *(f"{line}\n" for line in lines()), end, after])
    return text


def main(arguments: list[str]) -> int:
    """Write, or with --check compare."""
    wanted = {DOCS / name: page() for name, page in PAGES.items()}
    wanted |= {
        DOCS / name: with_blocks((DOCS / name).read_text(encoding="utf-8"), blocks) for name, blocks in BLOCKS.items()
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if arguments == ["--check"]:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not as the code says; run scripts/reference\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
        sys.stderr.write(f"{path.relative_to(ROOT)} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
