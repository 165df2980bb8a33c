"""One switch, three members, a client, and whoever balances: our controller, a proxy on a host of its own, or nobody. Only in a sandbox."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from topologies.fabric import DEFAULT_CONTROLLERS, Fabric
from topologies.lab.controller import Controller
from topologies.peers.ovn import Ovn
from topologies.single import SingleTopo

CLIENT, ATTACKER, PROXY, MEMBERS = "h1", "h2", "h3", ("h4", "h5", "h6")
VIP, VIP_PORT, MEMBER_PORT, PROXY_PORT = "10.0.0.100", 80, 8080, 8081
READY_S = 60.0
Address = tuple[str, int]

_HAPROXY = """\
global
  maxconn 8000
defaults
  mode tcp
  timeout connect 2s
  timeout client 10s
  timeout server 10s
{defaults}
listen web
  bind :{port} backlog 4096
{servers}
"""

_NGINX = """\
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
user root root; daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 16384; }}
stream {{
  upstream web {{
{servers}
  }}
  server {{ listen {port} backlog=4096; proxy_connect_timeout 2s; proxy_pass web; }}
}}
"""


class Proxy:
    """How a peer is set up: what makes its configuration, and what starts it with that."""

    def __init__(self, program: str, template: str, server: str, defaults: str = "") -> None:
        """`server` is the line of one member, `defaults` what all have (HAProxy)."""
        self._program, self._template, self._server, self._defaults = program, template, server, defaults

    def start(self, fabric: Fabric) -> subprocess.Popen[bytes]:
        """Starts it on its host; returns when it listens. Raises RuntimeError."""
        folder = Path(tempfile.mkdtemp(prefix=f"{self._program}-"))
        lines = [self._server.format(name=name, address=fabric.address(name), port=MEMBER_PORT) for name in MEMBERS]
        config = folder / "config"
        config.write_text(
            self._template.format(port=PROXY_PORT, servers="\n".join(lines), defaults=self._defaults, folder=folder)
        )
        argv = {
            "haproxy": ["haproxy", "-db", "-f", str(config)],
            "nginx": ["nginx", "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(config)],
        }[self._program]
        log = folder / "log"
        with log.open("w") as output:
            process = fabric.popen(PROXY, *argv, stdout=output, stderr=output)
        deadline = time.monotonic() + READY_S
        while not fabric.run(PROXY, "ss", "-Hltn", f"sport = :{PROXY_PORT}").stdout:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._program} does not listen: {log.read_text()[-1000:]}")
            time.sleep(0.05)
        return process


PLAIN, RESETLB = "plain L2", "ResetLB"
HAPROXY, TUNED, NGINX, OVN = "HAProxy", "HAProxy tuned", "nginx stream", "OVN"
PROXIES = {
    HAPROXY: Proxy("haproxy", _HAPROXY, "  server {name} {address}:{port} check inter 2s"),
    # Of its documentation (configuration.txt, `observe`, `retries`, `option redispatch`), what helps a TCP balancer most.
    TUNED: Proxy(
        "haproxy",
        _HAPROXY,
        "  server {name} {address}:{port} check inter 500ms observe layer4 error-limit 3 on-error mark-down",
        "  retries 3\n  option redispatch 1",
    ),
    NGINX: Proxy("nginx", _NGINX, "    server {address}:{port} max_fails=1 fail_timeout=10s;"),
}


@contextlib.contextmanager
def balanced(variant: str) -> Iterator[tuple[Fabric, Address]]:
    """A started fabric, and the address that clients ask; members' servers are the caller's, and started by `ready`.

    Raises:
        RuntimeError: something does not start.
    """
    ours = variant == RESETLB
    with Fabric(SingleTopo(hosts=6), DEFAULT_CONTROLLERS if ours else ()) as fabric:
        if variant not in (RESETLB, OVN):
            fabric.add_flows("s1", ["actions=NORMAL"])
        yield fabric, _asked(fabric, variant)


def _asked(fabric: Fabric, variant: str) -> Address:
    if variant in (RESETLB, OVN):
        return VIP, VIP_PORT
    return (fabric.address(MEMBERS[0]), MEMBER_PORT) if variant == PLAIN else (fabric.address(PROXY), PROXY_PORT)


@contextlib.contextmanager
def balancing(variant: str, fabric: Fabric) -> Iterator[None]:
    """Whoever balances, running: the members' servers are up already. Raises RuntimeError."""
    if variant in PROXIES:
        process = PROXIES[variant].start(fabric)
        yield
        process.kill()
    elif variant == RESETLB:
        with Controller(Path(tempfile.mkdtemp(prefix="peers-")), _policy(fabric), "ryu", None) as controller:
            _wait_until_known(fabric, controller)
            yield
    elif variant == OVN:
        with Ovn(fabric, "s1").balancing(CLIENT, VIP, VIP_PORT, MEMBERS, MEMBER_PORT):
            yield
    else:
        yield


def _policy(fabric: Fabric) -> dict[str, object]:
    members = [{"name": name, "address": fabric.address(name), "port": MEMBER_PORT} for name in MEMBERS]
    check = {"type": "tcp", "interval_s": 2.0}
    return {
        "version": 1,
        "pools": {"web": {"members": members, "health_check": check}},
        "vips": {"web": {"address": VIP, "port": VIP_PORT, "pool": "web"}},
    }


def _wait_until_known(fabric: Fabric, controller: Controller) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        for name in fabric.host_names:
            fabric.run(name, "ping", "-c1", "-W0.05", "10.0.255.254")
        with contextlib.suppress(OSError):
            if all(member["health"] == "up" for member in controller.items("pools/web/members")):
                return
        if time.monotonic() > deadline or not controller.running:
            raise RuntimeError(f"members are not up: {controller.log.read_text()[-2000:]}")
        time.sleep(0.2)
