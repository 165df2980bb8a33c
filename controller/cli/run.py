"""``resetlb run``: the controller."""

import re
import socket
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli import INVALID, CommandError
from controller.cli.options import StateDir, default_state_dir

if TYPE_CHECKING:
    from controller.cluster.address import ClusterOptions

PORT_MAX = 65_535


class Framework(StrEnum):
    """The OpenFlow framework."""

    RYU = "ryu"
    OS_KEN = "os-ken"


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


def run(
    ryu_apps: Annotated[
        list[str] | None, typer.Argument(metavar="[RYU_APP]…", help="Ryu applications to load after ours.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Policy file; taken when its content is not the one last taken.")
    ] = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where switches connect.")] = "127.0.0.1:6653",
    api: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the API listens.")] = "127.0.0.1:8080",
    state_dir: StateDir = None,
    framework: Annotated[Framework, typer.Option(help="OpenFlow framework.")] = Framework.RYU,
    ofp_tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TLS for switches: the controller's certificate (PEM).")
    ] = None,
    ofp_tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key.")] = None,
    ofp_tls_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Authorities that sign the switches' certificates.")
    ] = None,
    allow_dpid: Annotated[
        list[str] | None,
        typer.Option(metavar="DPID", help="A switch that may connect; may be repeated. None: any may."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="RESETLB_CLUSTER",
            show_envvar=True,
            help="Act together with other controllers: etcd://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…][/NAME]; etcds:// is TLS.",
        ),
    ] = None,
    cluster_node: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="This controller's name in the cluster.", show_default="the host's"),
    ] = None,
    cluster_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Authorities that sign etcd's certificate.")
    ] = None,
    cluster_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Show this certificate to etcd (PEM).")
    ] = None,
    cluster_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its private key, when it is not in the same file.")
    ] = None,
    log_level: Annotated[LogLevel, typer.Option(help="How much is logged.")] = LogLevel.INFO,
    log_format: Annotated[LogFormat, typer.Option(help="How log lines look.")] = LogFormat.TEXT,
    api_tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Serve the API over TLS with this certificate chain (PEM).")
    ] = None,
    api_tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its private key, when it is not in the same file.")
    ] = None,
    api_rate: Annotated[
        float, typer.Option(metavar="N", min=0, max=100_000, help="Requests per second of one caller; 0: no limit.")
    ] = 200,
    webhook: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="POST incidents and actions here, signed; may be repeated.")
    ] = None,
    webhook_secret_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The secret that signs them; else RESETLB_WEBHOOK_SECRET.")
    ] = None,
    syslog: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="Send incidents and actions here: udp://HOST:PORT, tcp://HOST:PORT or unix:///dev/log."
        ),
    ] = None,
) -> None:
    """Run the controller.

    It runs until SIGTERM or Ctrl-C; flows stay on the switches.
    """
    from apps.main import run as run_controller

    if api_tls_key is not None and api_tls_cert is None:
        raise CommandError("--api-tls-key: needs --api-tls-cert", INVALID)
    code = run_controller(
        policy=policy,
        listen=address(listen, "--listen"),
        api=address(api, "--api"),
        state_dir=state_dir or default_state_dir(),
        framework=framework.value,
        ryu_apps=tuple(ryu_apps or ()),
        log_level=log_level.value,
        log_format=log_format.value,
        ofp_certificates=certificates(ofp_tls_cert, ofp_tls_key, ofp_tls_ca),
        dpids=frozenset(map(dpid, allow_dpid)) if allow_dpid else None,
        api_tls=None if api_tls_cert is None else (api_tls_cert, api_tls_key),
        api_rate=api_rate,
        webhooks=tuple(webhook or ()),
        webhook_secret_file=webhook_secret_file,
        syslog=tuple(syslog or ()),
        cluster=cluster_options(cluster, cluster_node, (cluster_ca, cluster_cert, cluster_key)),
    )
    raise typer.Exit(code)


def certificates(cert: Path | None, key: Path | None, authorities: Path | None) -> tuple[Path, Path, Path] | None:
    """Return the three files of the OpenFlow channel's TLS, None for none; raises CommandError for some of them only."""
    if cert and key and authorities:
        return cert, key, authorities
    given = {"--ofp-tls-cert": cert, "--ofp-tls-key": key, "--ofp-tls-ca": authorities}
    missing = [option for option, file in given.items() if file is None]
    if len(missing) < len(given):
        raise CommandError(f"{missing[0]}: missing; TLS for switches needs all of {', '.join(given)}", INVALID)
    return None


def cluster_options(
    url: str | None, node: str | None, files: tuple[Path | None, Path | None, Path | None]
) -> "ClusterOptions | None":
    """Return what is said of the cluster, None for none; raises CommandError."""
    given = dict(zip(("--cluster-ca", "--cluster-cert", "--cluster-key"), files, strict=True))
    named = [option for option, file in given.items() if file is not None]
    if url is None:
        if named or node is not None:
            raise CommandError(f"{(named or ['--cluster-node'])[0]}: needs --cluster", INVALID)
        return None
    from controller.cluster.address import ClusterAddressError, ClusterOptions, parse_cluster_address

    try:
        place = parse_cluster_address(url)
    except ClusterAddressError as error:
        raise CommandError(f"--cluster: {error}", INVALID) from None
    if named and not place.tls:
        raise CommandError(f"{named[0]}: needs TLS, --cluster etcds://…", INVALID)
    if files[2] is not None and files[1] is None:
        raise CommandError("--cluster-key: needs --cluster-cert", INVALID)
    name = node or socket.gethostname()
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise CommandError("--cluster-node: up to 64 letters, digits, '.', '_' or '-'", INVALID)
    return ClusterOptions(place, name, *files)


def dpid(text: str) -> int:
    """Read a dpid of 16 hex digits; raises CommandError."""
    if not re.fullmatch("[0-9a-fA-F]{16}", text):
        raise CommandError(f"--allow-dpid: {text} is not 16 hex digits, as 0000000000000011", INVALID)
    return int(text, 16)


def address(text: str, option: str) -> tuple[str, int]:
    """Split ``host:port`` (an IPv6 address in brackets); raises CommandError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= PORT_MAX):
        raise CommandError(f"{option}: {text} is not HOST:PORT", INVALID)
    return host, int(port)
