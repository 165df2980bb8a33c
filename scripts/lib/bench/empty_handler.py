"""What the framework alone does: an application whose packet-in handler is empty.

python -m bench.empty_handler PORT
"""

import eventlet

eventlet.monkey_patch()

import sys  # noqa: E402 - the hub is patched before anything else is imported

import eventlet.wsgi  # noqa: E402

# Ryu 4.34 imports a name that eventlet no longer has.
eventlet.wsgi.ALREADY_HANDLED = None

from ryu.base.app_manager import AppManager, RyuApp  # noqa: E402
from ryu.cfg import CONF  # noqa: E402
from ryu.controller import ofp_event  # noqa: E402
from ryu.controller.handler import MAIN_DISPATCHER, set_ev_cls  # noqa: E402
from ryu.lib import hub  # noqa: E402
from ryu.ofproto import ofproto_v1_3  # noqa: E402


class Empty(RyuApp):
    """Does nothing with a packet-in."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def on_packet_in(self, event: object) -> None:
        """Nothing."""


def main() -> None:
    """Serves until it is killed."""
    CONF([], project="ryu", default_config_files=[])
    CONF.set_override("ofp_listen_host", "127.0.0.1")
    CONF.set_override("ofp_tcp_listen_port", int(sys.argv[1]))
    manager = AppManager.get_instance()
    manager.load_apps(["bench.empty_handler", "ryu.controller.ofp_handler"])
    hub.joinall(manager.instantiate_apps(**manager.create_contexts()))


if __name__ == "__main__":
    main()
