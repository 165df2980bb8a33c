"""The demo's stage, in a sandbox: fabric, controller, servers, clients, and the hand that breaks and mends them.

    python -m topologies.demo.inside FRAMEWORK

Descriptor 3 is the API's socket. Orders come on the standard input, one JSON object a line; each is answered on the
standard output by {"stage": "done"} with what it measured, while clients write their own lines there
(`topologies.load`). {"stage": "step"} says what is being built, {"stage": "ready"} that orders may come, {"stage":
"failed"} that it is over. It ends with its input.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.resources import as_file, files
from typing import Any

from topologies.demo import script
from topologies.demo.controller import Controller
from topologies.fabric import Fabric
from topologies.leaf_spine import LeafSpineTopo
from topologies.sandbox_init import FIRST_PASSED_FD
from topologies.servers import Nginx, SwitchableServer

RESETTING_PORT = 8081
_REDIRECT = "ip demo"


def tell(stage: str, **fields: Any) -> None:
    """Says something to whoever gives the orders: one write, so that lines of clients and threads do not mix."""
    os.write(sys.stdout.fileno(), json.dumps({"stage": stage, **fields}).encode() + b"\n")


class Cast:
    """Servers and clients on a started fabric, and what can be done to them. Members are named as in the policy."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._nginx = {member: Nginx(fabric, host, script.MEMBER_PORT) for member, host in script.MEMBERS.items()}
        self._resetting = SwitchableServer(fabric, script.MEMBERS[script.RESETTING], RESETTING_PORT)
        self._clients: list[subprocess.Popen[Any]] = []

    def start(self) -> None:
        """Starts the servers; raises RuntimeError with the log of one that does not."""
        for server in self._nginx.values():
            server.start()
        self._resetting.start().behave("reset-on-accept")

    def load(self, rate: float, kept: int) -> dict[str, Any]:
        """Starts the clients, each with `rate` new connections per second and `kept` that must last."""
        address, port = script.VIP
        for client in script.CLIENTS:
            argv = [sys.executable, "-m", "topologies.load", client, address, str(port)]
            argv += ["--rate", str(rate), "--kept", str(kept)]
            self._clients.append(self._fabric.popen(client, *argv))
        return {}

    def stop_load(self) -> dict[str, Any]:
        """Lets the clients finish what is under way."""
        for client in self._clients:
            client.terminate()
        for client in self._clients:
            client.wait()
        self._clients.clear()
        return {}

    def kill(self, member: str) -> dict[str, Any]:
        """Kills a member's process. Measured: when that began and when the process was gone (s, CLOCK_MONOTONIC)."""
        began = time.monotonic()
        self._nginx[member].stop()
        return {"member": member, "began": began, "gone": time.monotonic()}

    def revive(self, member: str) -> dict[str, Any]:
        """Starts a killed member's process again."""
        self._nginx[member].start()
        return {}

    def reset_on_accept(self, member: str) -> dict[str, Any]:
        """From now on new connections to a member's port meet a server that accepts and resets them.

        Connections that nginx has stay with it: only a SYN is redirected (nft(8), statement `redirect`).
        """
        syn = f"tcp dport {script.MEMBER_PORT} tcp flags & (syn | ack) == syn redirect to :{RESETTING_PORT}"
        chain = f"add chain {_REDIRECT} in {{ type nat hook prerouting priority dstnat; }}"
        self._nft(member, f"add table {_REDIRECT}\n{chain}\nadd rule {_REDIRECT} in {syn}\n")
        return {}

    def accept(self, member: str) -> dict[str, Any]:
        """Undoes `reset_on_accept`."""
        self._nft(member, f"delete table {_REDIRECT}\n")
        return {}

    def _nft(self, member: str, rules: str) -> None:
        argv = self._fabric.in_host(script.MEMBERS[member], ["nft", "-f", "-"])
        subprocess.run(argv, input=rules, text=True, check=True, capture_output=True)


def _obey(cast: Cast) -> None:
    """Carries out orders until there are no more."""
    deeds = {
        "load": cast.load,
        "stop-load": cast.stop_load,
        "kill": cast.kill,
        "revive": cast.revive,
        "reset-on-accept": cast.reset_on_accept,
        "accept": cast.accept,
    }
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        deed = order.pop("do")
        tell("done", **deeds[deed](**order))


def _watch(controller: Controller) -> None:
    status = controller.process.wait()
    how = f"with status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
    tell("failed", text=f"the controller has ended, {how}; its last lines:", log=controller.log_tail())


def main() -> int:
    """Builds everything, then takes orders; returns 1 if something could not be built."""
    tell("step", text="starting the controller: resetlb run")
    with as_file(files("topologies.demo") / "policy.yaml") as policy:
        controller = Controller(policy, sys.argv[1], FIRST_PASSED_FD)
    os.close(FIRST_PASSED_FD)  # only the controller serves it: when it is gone, connections are refused
    threading.Thread(target=_watch, args=(controller,), daemon=True).start()
    try:
        tell("step", text="wiring the fabric: 2 spines, 3 leaves, 6 hosts")
        # Not stopped at the end: the sandbox goes with this process, and the kernel is quicker than Mininet.
        fabric = Fabric(LeafSpineTopo(spines=2, leaves=3, hosts=2)).start()
        tell("step", text="starting 3 nginx")
        cast = Cast(fabric)
        cast.start()
        tell("ready")
        _obey(cast)
    except subprocess.CalledProcessError as error:
        tell("failed", text=f"{' '.join(error.cmd)}: {error.stderr}", log=controller.log_tail())
        return 1
    except RuntimeError as error:
        tell("failed", text=str(error), log=controller.log_tail())
        return 1
    return 0


if __name__ == "__main__":
    # The terminal's Ctrl-C is for the process outside, which ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
