"""What a framework alone does with packet-ins: an application with one handler.

python -m bench.handler PORT ryu|os-ken empty|parse|answer
"""

import os

os.environ["OSKEN_HUB_TYPE"] = "eventlet"

import eventlet

eventlet.monkey_patch()

import importlib  # noqa: E402 - the hub is patched before anything else is imported
import sys  # noqa: E402
from typing import Any  # noqa: E402

import eventlet.wsgi  # noqa: E402

# Ryu 4.34 imports a name that eventlet no longer has.
eventlet.wsgi.ALREADY_HANDLED = None

PORT, FRAMEWORK, WORK = int(sys.argv[1]), {"ryu": "ryu", "os-ken": "os_ken"}[sys.argv[2]], sys.argv[3]


def _module(name: str) -> Any:
    return importlib.import_module(f"{FRAMEWORK}.{name}")


app_manager, handler, ofp_event = (
    _module("base.app_manager"),
    _module("controller.handler"),
    _module("controller.ofp_event"),
)
packet, tcp = _module("lib.packet.packet"), _module("lib.packet.tcp")
ofproto = _module("ofproto.ofproto_v1_3")


class OneHandler(getattr(app_manager, "RyuApp" if FRAMEWORK == "ryu" else "OSKenApp")):  # type: ignore[misc]
    """Does its work with every packet-in."""

    OFP_VERSIONS = [ofproto.OFP_VERSION]

    @handler.set_ev_cls(ofp_event.EventOFPPacketIn, handler.MAIN_DISPATCHER)
    def on_packet_in(self, event: Any) -> None:
        """Nothing; or what the frame says; or that, and a flow entry and the frame back, as the tutorials' learning switch does."""
        if WORK == "empty":
            return
        message = event.msg
        segment = packet.Packet(message.data).get_protocol(tcp.tcp)
        if WORK == "parse":
            return
        switch, in_port = message.datapath, message.match["in_port"]
        parser = switch.ofproto_parser
        match = parser.OFPMatch(eth_type=0x0800, ip_proto=6, tcp_src=segment.src_port, tcp_dst=segment.dst_port)
        actions = [parser.OFPActionOutput(in_port)]
        instructions = [parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions)]
        switch.send_msg(parser.OFPFlowMod(datapath=switch, priority=1, match=match, instructions=instructions))
        out = parser.OFPPacketOut(switch, ofproto.OFP_NO_BUFFER, in_port, actions, message.data)
        switch.send_msg(out)


def main() -> None:
    """Serves until it is killed."""
    settings = _module("cfg").CONF
    settings([], project=FRAMEWORK, default_config_files=[])
    settings.set_override("ofp_listen_host", "127.0.0.1")
    settings.set_override("ofp_tcp_listen_port", PORT)
    manager = app_manager.AppManager.get_instance()
    manager.load_apps(["bench.handler", f"{FRAMEWORK}.controller.ofp_handler"])
    _module("lib.hub").joinall(manager.instantiate_apps(**manager.create_contexts()))


if __name__ == "__main__":
    main()
