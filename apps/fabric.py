"""The Ryu application: switches and ports come and go. Packets take the short way (`openflow.Datapath`)."""

from __future__ import annotations

import logging
from typing import Any

from apps import about, codec
from apps.about import About
from apps.codec import OUR_XID
from apps.openflow import (
    DEAD_DISPATCHER,
    LOCAL_PORT,
    MAIN_DISPATCHER,
    OFP_VERSIONS,
    Application,
    ofp_event,
    set_ev_cls,
)
from apps.runtime import Runtime
from controller.events import Port, PortChanged, SwitchConnected, SwitchDisconnected, SwitchRead

log = logging.getLogger("resetlb")

_FLOWS, _GROUPS, _METERS = OUR_XID | 0x00F00000, OUR_XID | 0x00F00001, OUR_XID | 0x00F00002


class Handshake:
    """Asks a switch what it has, once it is connected and whenever the core wants it; the core hears when all replies are in."""

    def __init__(self, datapath: Any, runtime: Runtime, settled: bool = False) -> None:
        self.datapath = datapath
        self.runtime = runtime
        self.settled = settled
        self.missing: set[int] = set()
        self.told = False
        self.about = About()
        datapath.send(about.request())
        self.read()

    def read(self) -> None:
        """Ask; nothing happens while answers are still missing."""
        if self.missing:
            return
        self.flows: set[tuple[int, int]] = set()
        self.groups: set[int] = set()
        self.meters: set[int] = set()
        self.missing = {_FLOWS, _GROUPS, _METERS}
        self.datapath.send(
            codec.request_flows(xid=_FLOWS) + codec.request_groups(_GROUPS) + codec.request_meters(_METERS)
        )

    def on_reply(self, message: bytes) -> None:
        """A part of one of the replies."""
        xid, body = int.from_bytes(message[4:8]), message[16:]
        if xid in about.XIDS:
            self.about.take(xid, message)
            return
        if xid == _FLOWS:
            self.flows.update((table_id, cookie) for table_id, cookie, _, _ in codec.decode_flow_counters(body))
        elif xid == _GROUPS:
            self.groups.update(group_id for group_id, _, _ in codec.decode_groups(body))
        elif xid == _METERS:
            self.meters.update(codec.decode_meters(body))
        if codec.more_follows(message):
            return
        self.missing.discard(xid)
        # Not when the switch has become another controller's meanwhile.
        current = getattr(self.datapath, "handshake", self) is self
        if not self.missing and current and self.datapath.state != DEAD_DISPATCHER:
            self._tell()

    def _tell(self) -> None:
        dpid, datapaths = self.datapath.id, self.runtime.datapaths
        has = frozenset(self.flows), frozenset(self.groups), frozenset(self.meters)
        if self.told:
            # Not when the switch has come back on a new connection meanwhile.
            if datapaths.get(dpid) is self.datapath:
                self.runtime.submit(SwitchRead(dpid, *has))
            return
        self.told = True
        # Only now: what the core decides before it knows what the switch has must not reach it.
        datapaths[dpid] = self.datapath
        ports = tuple(_port(port) for port in self.datapath.ports.values() if port.port_no != LOCAL_PORT)
        self.runtime.submit(SwitchConnected(dpid, ports, *has, self.settled))


class Fabric(Application):  # type: ignore[misc]
    """Translates, then stops."""

    OFP_VERSIONS = OFP_VERSIONS

    def __init__(self, *args: object, runtime: Runtime, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.runtime = runtime

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def on_state(self, event: Any) -> None:
        """A switch finished its handshake, or its connection ended."""
        datapath = event.datapath
        if datapath.id is None:
            return
        cluster = self.runtime.cluster
        if event.state == MAIN_DISPATCHER:
            if cluster is None:
                datapath.handshake = Handshake(datapath, self.runtime)
            else:
                cluster.on_connected(datapath)
            return
        if cluster is not None:
            cluster.on_disconnected(datapath)
        if self.runtime.datapaths.get(datapath.id) is datapath:
            # Not when an old connection ends after the switch has already come back on a new one.
            del self.runtime.datapaths[datapath.id]
            self.runtime.forget_replies(datapath.id)
            self.runtime.submit(SwitchDisconnected(datapath.id))

    @set_ev_cls(ofp_event.EventOFPPortStatus, MAIN_DISPATCHER)
    def on_port(self, event: Any) -> None:
        """A port changed."""
        message = event.msg
        ours = self.runtime.cluster is None or self.runtime.datapaths.get(message.datapath.id) is message.datapath
        if ours and message.desc.port_no != LOCAL_PORT:
            removed = message.reason == message.datapath.ofproto.OFPPR_DELETE
            self.runtime.submit(PortChanged(message.datapath.id, _port(message.desc), removed))


def _port(port: Any) -> Port:
    """`OFPPort` (OpenFlow 1.3.5 §7.2.1): up is neither configured down nor without a link; `curr_speed` is in kbit/s."""
    up = not port.config & 1 and not port.state & 1
    name = port.name.decode("ascii", "replace") if isinstance(port.name, bytes) else str(port.name)
    return Port(port.port_no, name.rstrip("\0"), int(port.hw_addr.replace(":", ""), 16), up, port.curr_speed * 1000)
