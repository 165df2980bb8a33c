"""The scenarios, as data."""

from __future__ import annotations

from collections.abc import Mapping

from controller.causes import Cause
from topologies.faulty_server import Fault as Treatment
from topologies.lab.acts import Act
from topologies.lab.acts.clients import CheckHealth, CloseWithReset, LeaveDownloads, SendGarbage, SpeakPlainHttp
from topologies.lab.acts.filters import RejectInFirewall, RejectOnMember, RejectOnRouter
from topologies.lab.acts.hostile import FloodResets, ForgeResets, Scan
from topologies.lab.acts.links import SaturateAccessLink, SaturateUplink
from topologies.lab.acts.members import KillServer, MapToWrongService, Treat
from topologies.lab.acts.overload import (
    OverflowAcceptQueue,
    SlowBehindHaproxy,
    SlowDown,
    SurgeToLimit,
    SurgeToMaxclients,
)
from topologies.lab.parameters import Between, OneOf, WholeBetween
from topologies.lab.scenario import Action, Expected, Fault, Scenario

_REFUSED = ("refused",)
_BY_MEMBER = ("aborted-by-member", "unknown-connection", "not-accepted")
_BY_CLIENT = ("aborted-by-client", "unknown-connection")
_FORGED = ("injected", "out-of-window")
_CLOSING = (*_REFUSED, *_BY_MEMBER)
"""The first that a closing listener disowns may have it out before anybody is refused."""

_CLOSED = Expected(Cause.MISCONFIGURATION, Action.EJECT)
_OVERLOADED = Expected(Cause.OVERLOAD, Action.CUT_WEIGHT)
_CONGESTED = Expected(Cause.CONGESTION, Action.MOVE_PATH)
_FORBIDDEN = Expected(Cause.POLICY, Action.REPORT)
_VIOLATING = Expected(Cause.PROTOCOL_VIOLATION, Action.QUARANTINE)
_SCANNING = Expected(Cause.HOSTILE, Action.QUARANTINE)
_FORGING = Expected(Cause.HOSTILE, Action.DROP_FORGED)
_HARMLESS = Expected(Cause.BENIGN, Action.NONE)

_QUEUE = {"workers": WholeBetween(4, 8), "backlog": WholeBetween(2, 6), "capacity": Between(0.2, 0.6)}
_BURSTS = {"burst": WholeBetween(12, 24), "rate": Between(100, 200), "members": WholeBetween(2, 3)}
_LINK = {"topology": OneOf(("leafspine",)), "link_mbit": Between(12, 50), "bulk": Between(1.3, 2.5)}
_IMPATIENT = {"timeout_s": Between(0.5, 0.95)}
_SURGE = {
    "rate": Between(40, 80),
    "surge": Between(2.5, 4.0),
    "headroom": Between(1.5, 1.9),
    "pause_s": Between(0.4, 0.8),
}
_TWO_REQUESTS = {"requests": 2, "pause_s": "pause_s"}
_THREE_REQUESTS = {"requests": 3, "pause_s": "pause_s"}
_SLOW = {"delay_s": Between(1.0, 3.0), **_IMPATIENT}

_SCENARIOS = (
    Scenario("quiet", "nothing happens", (Fault(Act(), _HARMLESS, ()),)),
    Scenario(
        "port-closed",
        "a member's listener closes, its host answers SYNs with RST",
        (Fault(Treat(treatment=Treatment.REFUSE), _CLOSED, _CLOSING),),
    ),
    Scenario(
        "process-killed",
        "a member's process is killed while connections are open",
        (Fault(KillServer(), _CLOSED, _CLOSING),),
        parameters={"pause_s": Between(0.2, 0.8)},
        load=_TWO_REQUESTS,
    ),
    Scenario(
        "wrong-service-tls",
        "a member's port leads to a TLS service, clients speak plain HTTP",
        (Fault(MapToWrongService(service="tls"), _CLOSED, _BY_MEMBER),),
    ),
    Scenario(
        "wrong-service-ssh",
        "a member's port leads to SSH, clients speak HTTP",
        (Fault(MapToWrongService(service="ssh"), _CLOSED, _BY_MEMBER),),
    ),
    Scenario(
        "abort-on-accept",
        "a member closes every connection with RST as soon as it is accepted (SO_LINGER 0)",
        (Fault(Treat(treatment=Treatment.RESET_ON_ACCEPT), _CLOSED, _BY_MEMBER),),
    ),
    Scenario(
        "abort-on-request",
        "a member closes every connection with RST when it is asked something (SO_LINGER 0)",
        (Fault(Treat(treatment=Treatment.RESET_ON_REQUEST), _CLOSED, _BY_MEMBER),),
    ),
    Scenario(
        "member-rejects-all",
        "a packet filter on a member rejects everybody",
        (Fault(RejectOnMember(), Expected(Cause.MISCONFIGURATION, Action.EJECT, (Cause.POLICY,)), _REFUSED),),
    ),
    Scenario(
        "accept-queue-reset",
        "a member's accept queue overflows, its kernel answers with RST (tcp_abort_on_overflow=1)",
        (Fault(OverflowAcceptQueue(abort=1), _OVERLOADED, ("not-accepted", *_BY_CLIENT)),),
        parameters={**_QUEUE, **_BURSTS},
        load={"burst": "burst"},
    ),
    Scenario(
        "accept-queue-drop",
        "a member's accept queue overflows, its kernel drops (tcp_abort_on_overflow=0), clients time out",
        (Fault(OverflowAcceptQueue(abort=0), _OVERLOADED, _BY_CLIENT),),
        parameters={**_QUEUE, **_BURSTS, **_IMPATIENT},
        load={"burst": "burst"},
    ),
    Scenario(
        "slow-server",
        "a member answers later than clients wait, they close with RST",
        (Fault(SlowDown(), _OVERLOADED, _BY_CLIENT),),
        parameters=_SLOW,
    ),
    Scenario(
        "connection-limit",
        "more connections come than a member allows, it closes those above its limit with RST (SO_LINGER 0)",
        (Fault(SurgeToLimit(), _OVERLOADED, _BY_MEMBER),),
        parameters=_SURGE,
        load=_THREE_REQUESTS,
    ),
    Scenario(
        "haproxy-maxconn",
        "the application behind a member's HAProxy is slow, HAProxy reaches maxconn",
        (Fault(SlowBehindHaproxy(), _OVERLOADED, (*_BY_CLIENT, *_BY_MEMBER)),),
        parameters={
            **_SLOW,
            **_BURSTS,
            "maxconn": WholeBetween(8, 20),
            "backlog": WholeBetween(24, 40),  # takes the bursts of ordinary load
            "abort": OneOf((0, 1)),
        },
        load={"burst": "burst"},
    ),
    Scenario(
        "redis-maxclients",
        "more connections come than a Redis member allows",
        (Fault(SurgeToMaxclients(), _OVERLOADED, (*_BY_MEMBER, "after-fin")),),
        parameters=_SURGE,
        service="redis",
        load=_THREE_REQUESTS,
    ),
    Scenario(
        "link-saturated",
        "a stream saturates one link between leaf and spine, clients time out and reset",
        (Fault(SaturateUplink(), _CONGESTED, _BY_CLIENT),),
        parameters={**_LINK, **_IMPATIENT},
    ),
    Scenario(
        "access-link-saturated",
        "a stream saturates a member's own link, clients time out and reset",
        (Fault(SaturateAccessLink(), _CONGESTED, _BY_CLIENT),),
        parameters={
            "access_mbit": Between(8, 30),
            "bulk": Between(1.3, 2.5),
            "link_mbit": Between(150, 300),
            **_IMPATIENT,
        },
    ),
    Scenario(
        "member-rejects-some",
        "a packet filter on a member rejects some clients",
        (Fault(RejectOnMember(everybody=False), _FORBIDDEN, _REFUSED),),
        parameters={"forbidden": WholeBetween(1, 2)},
    ),
    Scenario(
        "router-rejects-syn",
        "a router before a member rejects some clients' new connections",
        (Fault(RejectOnRouter(stage="syn"), _FORBIDDEN, _REFUSED),),
        parameters={"forbidden": WholeBetween(1, 2)},
    ),
    Scenario(
        "router-rejects-data",
        "a router before a member resets some clients' connections when they send data",
        (Fault(RejectOnRouter(stage="data"), _FORBIDDEN, _BY_MEMBER),),
        parameters={"forbidden": WholeBetween(1, 2), "pause_s": Between(0.2, 0.8)},
        load=_TWO_REQUESTS,
    ),
    Scenario(
        "firewall-rejects",
        "our own firewall gets a rule that rejects some clients",
        (Fault(RejectInFirewall(), _FORBIDDEN, ()),),
        parameters={"forbidden": WholeBetween(1, 2)},
    ),
    Scenario(
        "garbage",
        "a client sends garbage to a strict service (Redis inside TLS), which closes with RST",
        (Fault(SendGarbage(), _VIOLATING, _BY_MEMBER),),
        parameters={"offences": Between(5, 60), "rate": Between(40, 120)},
        service="rediss",
    ),
    Scenario(
        "http-to-tls",
        "a client speaks plain HTTP to a TLS service",
        (Fault(SpeakPlainHttp(), _VIOLATING, _BY_MEMBER),),
        parameters={"offences": Between(5, 60), "rate": Between(40, 120)},
        service="tls",
    ),
    Scenario(
        "syn-scan",
        "a host scans ports with SYNs alone",
        (Fault(Scan(kind="syn-scan"), _SCANNING, _REFUSED),),
        parameters={"scan_rate": Between(50, 500)},
    ),
    Scenario(
        "connect-scan",
        "a host scans ports with full connections",
        (Fault(Scan(kind="connect-scan"), _SCANNING, _REFUSED),),
        parameters={"scan_rate": Between(20, 120)},
    ),
    Scenario(
        "blind-resets",
        "a host forges resets at guessed connections of members and clients",
        (Fault(ForgeResets(), _FORGING, _FORGED),),
        parameters={"forged_rate": Between(50, 1000)},
    ),
    Scenario(
        "spoofed-reset-flood",
        "a host floods the service with resets from addresses by chance",
        (Fault(FloodResets(), _FORGING, _FORGED),),
        parameters={"flood_rate": Between(1000, 5000)},
    ),
    Scenario(
        "browser-aborts",
        "clients close with RST what was served in full",
        (Fault(CloseWithReset(), _HARMLESS, ("aborted-by-client", "after-fin")),),
        parameters={"added": Between(0.3, 1.0), "aborts": Between(0.2, 0.9)},
    ),
    Scenario(
        "download-aborts",
        "clients leave large downloads half-way",
        (Fault(LeaveDownloads(), _HARMLESS, (*_BY_CLIENT, "after-fin")),),
        parameters={"downloads": Between(4, 12), "aborts": Between(0.3, 0.8)},
    ),
    Scenario(
        "checker-resets",
        "a monitor checks the members and closes with RST after the handshake",
        (Fault(CheckHealth(), _HARMLESS, ("aborted-by-client",)),),
        parameters={"checks": Between(1, 10)},
    ),
    Scenario(
        "vip-checker-resets",
        "a monitor checks the virtual service and closes with RST after the handshake",
        (Fault(CheckHealth(through_vip=True), _HARMLESS, ("aborted-by-client",)),),
        parameters={"checks": Between(2, 20)},
    ),
    Scenario(
        "two-members",
        "one member's port is closed while another is slow",
        (
            Fault(Treat(treatment=Treatment.REFUSE), _CLOSED, _CLOSING),
            Fault(SlowDown(index=1), _OVERLOADED, _BY_CLIENT),
        ),
        parameters={**_SLOW, "members": WholeBetween(3, 4)},
    ),
    Scenario(
        "link-and-member",
        "a link is saturated while another member's accept queue overflows",
        (
            Fault(SaturateUplink(), _CONGESTED, _BY_CLIENT),
            Fault(OverflowAcceptQueue(index=1, abort=1), _OVERLOADED, ("not-accepted", *_BY_CLIENT)),
        ),
        parameters={
            **_LINK,
            **_IMPATIENT,
            **_QUEUE,
            "link_mbit": Between(25, 60),
            "burst": WholeBetween(4, 10),
            "rate": Between(40, 120),
            "members": OneOf((3,)),  # a leaf each: the overloaded one is not behind the saturated link
        },
        load={"burst": "burst"},
    ),
)

SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _SCENARIOS}
