"""A real Open vSwitch with interfaces that exist only in its memory: frames are handed in and read out by the test.

`ovs-vswitchd --enable-dummy` runs the same translation, userspace datapath and connection tracker as in production, without any
network. Database, sockets and processes are the test's own; nothing else on the machine is touched.
"""

import json
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from controller import addresses
from controller.flows import (
    IN_PORT,
    Action,
    Ct,
    DecTtl,
    FlowEntry,
    GroupEntry,
    Learn,
    MaskedValue,
    Move,
    Output,
    Resubmit,
    SetField,
    ToGroup,
)

PORTS = (1, 2, 3)
_PROGRAMS = ("unshare", "ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl")
_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_SBIN = os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))
_PATH = f"{os.environ.get('PATH', '')}{os.pathsep}{_SBIN}"
_NAMES = {"ipv4_src": "nw_src", "ipv4_dst": "nw_dst", "icmpv4_type": "icmp_type", "icmpv4_code": "icmp_code",
          "ipv6_nd_target": "nd_target", "ipv6_nd_sll": "nd_sll", "ipv6_nd_tll": "nd_tll"}  # fmt: skip
_IPV4_ADDRESSES = {"ipv4_src", "ipv4_dst", "ct_nw_src", "ct_nw_dst", "arp_spa", "arp_tpa"}
_IPV6_ADDRESSES = {"ipv6_src", "ipv6_dst", "ct_ipv6_src", "ct_ipv6_dst", "ipv6_nd_target"}
_MACS = {"eth_src", "eth_dst", "arp_sha", "arp_tha", "ipv6_nd_sll", "ipv6_nd_tll"}
_FIRST_OF_A_MATCH = ("eth_type", "ip_proto", "icmpv6_type", "ct_state")
_WAIT_S = 5.0
_QUIET_S = 0.1


def missing() -> list[str]:
    """What this machine lacks; empty when nothing."""
    lacks = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    return lacks if lacks or _SCHEMA.exists() else [str(_SCHEMA)]


class RefusedError(RuntimeError):
    """The switch, or ovs-ofctl before it, refused an entry."""


class DummyOpenVSwitch:
    """One bridge with the ports of `PORTS`, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._control = socket.socket(socket.AF_UNIX)
        self._control.connect(str(folder / "vswitchd.ctl"))
        self._unread = ""
        self._read_so_far = dict.fromkeys(PORTS, 24)  # Behind the header of the capture file.

    def install(self, entry: FlowEntry) -> None:
        """Adds a flow entry.

        Raises:
            RefusedError: the message names the OpenFlow error, or is ovs-ofctl's.
        """
        self._ofctl("add-flow", _entry(entry))

    def set_group(self, group: GroupEntry) -> None:
        """Adds a group.

        Raises:
            RefusedError: see `install`.
        """
        kind = {"select": "select", "fast-failover": "ff"}[group.kind]
        buckets = []
        for bucket in group.buckets:
            weight = f"weight:{bucket.weight}," if group.kind == "select" else ""
            watch = "" if bucket.watch_port is None else f"watch_port:{bucket.watch_port},"
            buckets.append(f"bucket={weight}{watch}actions={','.join(map(_action, bucket.actions))}")
        self._ofctl("add-group", ",".join((f"group_id={group.group_id},type={kind}", *buckets)))

    def clear(self) -> None:
        """Removes entries and groups; connections stay (use another zone)."""
        self._ofctl("del-flows")
        self._ofctl("del-groups")

    def revalidate(self) -> None:
        """Waits until the datapath's flows say what the tables say: by itself that takes up to half a second."""
        self._call("revalidator/wait")

    def receive(self, frame: bytes, in_port: int, expected: int) -> list[tuple[int, bytes]]:
        """Hands a frame in; returns (port, frame) of what comes out, having waited for as many as are expected."""
        self._call("netdev-dummy/receive", f"p{in_port}", frame.hex())
        sent: list[tuple[int, bytes]] = []
        deadline = time.monotonic() + (_WAIT_S if expected else _QUIET_S)
        while time.monotonic() < deadline and (len(sent) < expected or not expected):
            sent += [(port, frame) for port in PORTS for frame in self._captured(port)]
            time.sleep(0.0005)
        return sent

    def _captured(self, port: int) -> Iterator[bytes]:
        path = self._folder / f"p{port}.pcap"
        if path.stat().st_size < self._read_so_far[port] + 16:
            return
        content = path.read_bytes()
        while len(content) >= self._read_so_far[port] + 16:
            start = self._read_so_far[port] + 16
            (size,) = struct.unpack_from("=I", content, start - 8)
            if len(content) < start + size:
                return
            self._read_so_far[port] = start + size
            yield content[start : start + size]

    def _call(self, method: str, *params: str) -> Any:
        self._control.sendall(json.dumps({"method": method, "params": params, "id": 0}).encode())
        while True:
            with suppress(json.JSONDecodeError):
                answer, end = json.JSONDecoder().raw_decode(self._unread)
                self._unread = self._unread[end:].lstrip()
                if answer["error"]:
                    raise RefusedError(answer["error"])
                return answer["result"]
            self._unread += self._control.recv(65536).decode()

    def _ofctl(self, command: str, *arguments: str) -> None:
        target = f"unix:{self._folder}/br0.mgmt"
        _run(self._folder, "ovs-ofctl", "-O", "OpenFlow13", command, target, *arguments)


@contextmanager
def started(folder: Path) -> Iterator[DummyOpenVSwitch]:
    """A switch that runs while the context lasts."""
    _run(folder, "ovsdb-tool", "create", f"{folder}/conf.db", str(_SCHEMA))
    processes = []
    try:
        processes.append(_start(folder, "ovsdb-server", f"{folder}/conf.db", f"--remote=punix:{folder}/db.sock"))
        _await(folder / "db.sock")
        _vsctl(folder, "--no-wait", "init")
        database = f"unix:{folder}/db.sock"
        control = f"--unixctl={folder}/vswitchd.ctl"
        processes.append(_start(folder, "ovs-vswitchd", database, "--enable-dummy", "--disable-system", control))
        _await(folder / "vswitchd.ctl")
        _vsctl(folder, *_bridge(folder))
        _await(folder / "br0.mgmt")
        yield DummyOpenVSwitch(folder)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(_WAIT_S)


def _bridge(folder: Path) -> list[str]:
    command = ["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy", "fail_mode=secure"]
    command.append("protocols=OpenFlow13")
    for port in PORTS:
        command += ["--", "add-port", "br0", f"p{port}", "--", "set", "interface", f"p{port}", "type=dummy"]
        command += [f"ofport_request={port}", f"options:tx_pcap={folder}/p{port}.pcap"]
    return command


def _environment(folder: Path) -> dict[str, str]:
    folders = dict.fromkeys(("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"), str(folder))
    return {**os.environ, **folders, "PATH": _PATH}


def _start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    # A network namespace of its own: what vswitchd looks up about the host's interfaces, it finds nothing of.
    alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    log = (folder / f"{command[0]}.log").open("wb")
    quiet = ["--pidfile", "--no-chdir", "--verbose=syslog:off"]
    return subprocess.Popen([*alone, *command, *quiet], env=_environment(folder), stdout=log, stderr=log)


def _run(folder: Path, *command: str) -> None:
    ended = subprocess.run(command, env=_environment(folder), capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RefusedError(f"{' '.join(command)}: {ended.stderr}{ended.stdout}")


def _vsctl(folder: Path, *arguments: str) -> None:
    _run(folder, "ovs-vsctl", f"--db=unix:{folder}/db.sock", "--timeout=20", *arguments)


def _await(path: Path) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def _value(name: str, value: int) -> str:
    if name in _IPV4_ADDRESSES | _IPV6_ADDRESSES:
        return addresses.text(value)
    if name in _MACS:
        return ":".join(f"{octet:02x}" for octet in value.to_bytes(6, "big"))
    return str(value) if name == "in_port" else hex(value)


def _field(name: str) -> str:
    return _NAMES.get(name, name)


def _matched(name: str, value: int | MaskedValue) -> str:
    if isinstance(value, tuple):
        return f"{_field(name)}={_value(name, value[0])}/{_value(name, value[1])}"
    return f"{_field(name)}={_value(name, value)}"


def _entry(entry: FlowEntry) -> str:
    fields = sorted(entry.match.fields, key=lambda field: (field[0] not in _FIRST_OF_A_MATCH, field[0]))
    match = "".join("," + _matched(*field) for field in fields)
    timeouts = f",idle_timeout={entry.idle_timeout_s},hard_timeout={entry.hard_timeout_s}"
    goto = [] if entry.goto is None else [f"goto_table:{entry.goto}"]
    actions = ",".join([*map(_action, entry.actions), *goto]) or "drop"
    key = f"table={entry.table_id},priority={entry.priority},cookie={entry.cookie:#x}"
    return f"{key}{timeouts}{match} actions={actions}"


def _action(action: Action) -> str:
    match action:
        case Output(port):
            return "in_port" if port == IN_PORT else f"output:{port}"
        case SetField(name, value):
            return f"set_field:{_value(name, value)}->{_field(name)}"
        case Move(source, target, bits):
            return f"move:{_field(source)}[0..{bits - 1}]->{_field(target)}[0..{bits - 1}]"
        case ToGroup(group_id):
            return f"group:{group_id}"
        case Resubmit(table):
            return f"resubmit(,{table})"
        case DecTtl():
            return "dec_ttl"
        case Ct():
            return _ct(action)
        case Learn():
            return _learn(action)
    raise NotImplementedError(action)


def _ct(action: Ct) -> str:
    parts = [f"zone={action.zone}"]
    if action.commit:
        parts.append("commit")
    if action.table is not None:
        parts.append(f"table={action.table}")
    if action.nat is not None and action.nat.kind == "known":
        parts.append("nat")
    elif action.nat is not None:
        ports = "" if action.nat.ports is None else f":{action.nat.ports[0]}-{action.nat.ports[1]}"
        address = addresses.text(action.nat.address)
        shown = f"[{address}]" if addresses.is_ipv6(action.nat.address) else address
        parts.append(f"nat({action.nat.kind}={shown}{ports})")
    if action.mark is not None:
        parts.append(f"exec(set_field:{action.mark[0]:#x}/{action.mark[1]:#x}->ct_mark)")
    return f"ct({','.join(parts)})"


def _learn(action: Learn) -> str:
    constants = [f"{_field(name)}={_value(name, value)}" for name, value in action.constants]
    copied = [_field(name) for name in action.fields]
    load = f"load:{action.load[1]:#x}->{_field(action.load[0])}[]"
    key = f"table={action.table},priority={action.priority},cookie={action.cookie:#x}"
    return f"learn({key},idle_timeout={action.idle_timeout_s},{','.join([*constants, *copied, load])})"
