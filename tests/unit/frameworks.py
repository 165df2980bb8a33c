"""Programs that need a framework, each in a process of its own: a hub cannot be patched twice."""

import os
import subprocess
import sys

FRAMEWORKS = ("ryu", "os-ken")
_BEFORE = """
import eventlet
import eventlet.wsgi
eventlet.monkey_patch()
eventlet.wsgi.ALREADY_HANDLED = None
import socket
from apps.openflow import Application, Datapath, app_manager
app_manager.SERVICE_BRICKS["ofp_event"] = Application()
"""


def said_by(program: str, framework: str) -> str:
    """What it prints, run behind the imports above; with its errors when there are any that end it."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _BEFORE + program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"RESETLB_FRAMEWORK": framework, "OSKEN_HUB_TYPE": "eventlet"},
    )
    return done.stdout + (done.stderr if done.returncode else "")
