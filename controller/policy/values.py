"""Value types of the policy: each checks one scalar, returns its canonical form and words its own error."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    Strict,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from controller.policy.problems import show

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
PORT_MAX = 65535
# OpenFlow 1.3 §A.2.1: port numbers above OFPP_MAX (0xffffff00) are reserved.
OFPP_MAX = 0xFFFFFF00

_ADDRESS_SCHEMA: dict[str, Any] = {
    "type": "string",
    "anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}],
}
_NAME = re.compile(NAME_PATTERN[:-1] + r"\Z")
_PORT_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})\Z")
_SWITCH_PORT = re.compile(r"([0-9A-Fa-f]{16}):([0-9]{1,10})\Z")
_MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]\Z")


def wrong(message: str) -> PydanticCustomError:
    """Make the error of a value; the braces of hostile input must not be read as a template."""
    return PydanticCustomError("policy_value", "{message}", {"message": message})


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, both included; worded as one range instead of two half ones."""

    low: float
    high: float

    def check(self, value: float) -> float:
        """Return the value; raise when it is outside (NaN is)."""
        if not self.low <= value <= self.high:
            raise wrong(f"{show(value)} is not in {self.low}–{self.high}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check after pydantic has made sure that it is a number."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Publish the bounds."""
        return {**handler(schema), "minimum": self.low, "maximum": self.high}


def _name(value: str) -> str:
    if not _NAME.match(value):
        raise wrong(f"{show(value)} is not 1–63 letters, digits, '.', '_', '-', starting with a letter or digit")
    return value


def _ip(value: str) -> IpAddress:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise wrong(f"{show(value)} is not an IP address") from None
    if isinstance(address, ipaddress.IPv6Address):
        _refuse_ambiguous(address, value)
    return address


def _refuse_ambiguous(address: ipaddress.IPv6Address, value: str) -> None:
    # Two spellings of one address would slip past every "same address" check.
    if address.ipv4_mapped is not None:
        raise wrong(f"{show(value)} is an IPv4-mapped address; write {address.ipv4_mapped}")
    if address.scope_id is not None:
        raise wrong(f"{show(value)} has a zone (%); a policy address has none")
    if 1 < int(address) < 1 << 32:
        raise wrong(f"{show(value)} is an IPv4-compatible address, which is deprecated (RFC 4291 §2.5.5.1)")


def _host_address(value: str) -> str:
    address = _ip(value)
    for kind in ("unspecified", "loopback", "multicast"):
        if getattr(address, f"is_{kind}"):
            raise wrong(f"{show(value)} is {'an' if kind[0] == 'u' else 'a'} {kind} address, not a host's")
    if address == ipaddress.IPv4Address("255.255.255.255"):
        raise wrong(f"{show(value)} is the broadcast address, not a host's")
    return str(address)


def _prefix(value: str) -> str:
    if "/" not in value:
        return str(_ip(value))
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise wrong(f"{show(value)} is not an IP address or prefix") from None
    if not re.search(r"/[0-9]{1,3}\Z", value):
        raise wrong(f"{show(value)} is not an address with a prefix length")
    if isinstance(network, ipaddress.IPv6Network):
        _refuse_ambiguous(network.network_address, value)
    if network.network_address != ipaddress.ip_address(value.split("/", maxsplit=1)[0]):
        raise wrong(f"{show(value)} has bits set outside its prefix; the prefix is {network}")
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _port_or_range(value: object) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool):
        return int(Range(1, PORT_MAX).check(value))
    found = _PORT_RANGE.match(value) if isinstance(value, str) else None
    if not found:
        raise wrong(f'{show(value)} is neither a port nor a range "lo-hi"')
    low, high = int(found[1]), int(found[2])
    if not 1 <= low <= high <= PORT_MAX:
        raise wrong(f"{show(value)} is not a range in 1–{PORT_MAX}")
    return low if low == high else f"{low}-{high}"


def port_bounds(spec: int | str) -> tuple[int, int]:
    """Return the first and last port of a canonical ``dst_ports`` entry."""
    if isinstance(spec, int):
        return spec, spec
    low, high = spec.split("-")
    return int(low), int(high)


def _switch_port(value: str) -> str:
    found = _SWITCH_PORT.match(value)
    if not found:
        raise wrong(f'{show(value)} is not "dpid:port" with a dpid of 16 hex digits')
    port_no = int(found[2])
    if not 1 <= port_no <= OFPP_MAX:
        raise wrong(f"port {port_no} of {show(value)} is not in 1–{OFPP_MAX}")
    return f"{found[1].lower()}:{port_no}"


def parse_switch_port(text: str) -> tuple[int, int]:
    """Split a canonical ``"0000000000000011:3"`` into (dpid, port_no)."""
    dpid, port_no = text.split(":")
    return int(dpid, 16), int(port_no)


def _mac(value: str) -> str:
    digits = value.lower().replace("-", ":")
    if not _MAC.match(digits):
        raise wrong(f"{show(value)} is not a MAC address like 02:00:5e:10:00:01")
    if int(digits[:2], 16) & 1:
        raise wrong(f"{show(value)} is a group's MAC address, not a station's")
    return digits


def parse_mac(text: str) -> int:
    """A canonical ``"02:00:5e:10:00:01"`` as an integer."""
    return int(text.replace(":", ""), 16)


def _time_of_day(value: str) -> str:
    if not _TIME_OF_DAY.match(value):
        raise wrong(f'{show(value)} is not a time "HH:MM" in 00:00–23:59')
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise wrong(f"{show(value)} is not a time zone of the IANA database") from None
    return value


def _http_path(value: str) -> str:
    # It goes into a request line as it is: a space or line break would be request splitting.
    if not re.match(r"/[\x21-\x7e]{0,1023}\Z", value):
        raise wrong(f"{show(value)} is not a path: '/' and then visible ASCII, up to 1024 characters")
    return value


def _version(value: int) -> int:
    if value != 1:
        raise wrong(f"{show(value)} is not a version known here; this is version 1")
    return value


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# JSON has one kind of number: 80.0 is 80. Text that looks like a number and booleans are neither.
StrictInt = Annotated[int, Strict(), BeforeValidator(_whole)]
StrictFloat = Annotated[float, Strict()]
StrictStr = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]
Version = Annotated[StrictInt, AfterValidator(_version), WithJsonSchema({"type": "integer", "const": 1})]
Percent = Annotated[StrictInt, Range(0, 100)]
TransportPort = Annotated[StrictInt, Range(1, PORT_MAX)]
Name = Annotated[
    StrictStr, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": NAME_PATTERN, "maxLength": 63})
]
HostAddress = Annotated[StrictStr, AfterValidator(_host_address), WithJsonSchema(_ADDRESS_SCHEMA)]
IpText = Annotated[
    StrictStr,
    AfterValidator(lambda value: str(_ip(value))),
    WithJsonSchema(_ADDRESS_SCHEMA),
]
Weight = Annotated[StrictInt, Range(0, 1000)]
Prefix = Annotated[
    StrictStr,
    AfterValidator(_prefix),
    WithJsonSchema({"type": "string", "pattern": "^[0-9A-Fa-f.:]{2,39}(/[0-9]{1,3})?$"}),
]
PortOrRange = Annotated[
    int | str,
    PlainValidator(_port_or_range),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": PORT_MAX},
                {"type": "string", "pattern": "^[0-9]{1,5}-[0-9]{1,5}$", "examples": ["8000-8099"]},
            ]
        }
    ),
]
SwitchPort = Annotated[
    StrictStr,
    AfterValidator(_switch_port),
    WithJsonSchema({"type": "string", "pattern": "^[0-9A-Fa-f]{16}:[0-9]{1,10}$", "examples": ["0000000000000011:3"]}),
]
Mac = Annotated[
    StrictStr,
    AfterValidator(_mac),
    WithJsonSchema(
        {"type": "string", "pattern": "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$", "examples": ["02:00:5e:10:00:01"]}
    ),
]
TimeOfDay = Annotated[
    StrictStr,
    AfterValidator(_time_of_day),
    WithJsonSchema({"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}),
]
TimeZone = Annotated[StrictStr, AfterValidator(_timezone), WithJsonSchema({"type": "string", "examples": ["UTC"]})]
HttpPath = Annotated[StrictStr, AfterValidator(_http_path), WithJsonSchema({"type": "string", "pattern": "^/"})]
