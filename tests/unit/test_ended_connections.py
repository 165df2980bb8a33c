"""Whoever connects to the OpenFlow port and is turned away leaves nothing behind: thousands a second may come."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import eventlet
import eventlet.wsgi
eventlet.monkey_patch()
eventlet.wsgi.ALREADY_HANDLED = None
import gc
import socket
from apps.openflow import Application, Datapath, app_manager
app_manager.SERVICE_BRICKS["ofp_event"] = Application()

listener = socket.create_server(("127.0.0.1", 0))
for _ in range(20):
    far = socket.create_connection(listener.getsockname())
    near, address = listener.accept()
    serving = eventlet.spawn(Datapath(near, address).serve)
    far.sendall(bytes((9, 0, 0, 16)) + bytes(12))
    serving.wait()
    far.close()
del near, serving
eventlet.sleep(0.1)
gc.collect()
print(sum(isinstance(thing, Datapath) for thing in gc.get_objects()))
"""


@pytest.mark.parametrize("framework", ["ryu", "os-ken"])
def test_a_connection_that_has_ended_is_forgotten(framework: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"RESETLB_FRAMEWORK": framework, "OSKEN_HUB_TYPE": "eventlet"},
    )
    assert done.stdout == "0\n", done.stdout + done.stderr
