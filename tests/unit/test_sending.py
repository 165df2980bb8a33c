"""What is queued for a switch asks again, when its turn comes, whether it may still be said: a stale master must not write."""

import pytest
from frameworks import FRAMEWORKS, said_by

PROGRAM = """
listener = socket.create_server(("127.0.0.1", 0))
far = socket.create_connection(listener.getsockname())
near, address = listener.accept()
switch = Datapath(near, address)
near.setblocking(False)
filled = 0
try:
    while True:
        filled += near.fd.send(b"f" * 65536)
except BlockingIOError:
    pass

master = [True]
switch.send(b"A" * 8, permitted=lambda: master[0])
switch.send(b"B" * 8)
master[0] = False
eventlet.spawn(switch._send_loop)
arrived = b""
far.settimeout(5)
while len(arrived) < filled + 8:
    arrived += far.recv(1 << 20)
far.settimeout(0.2)
try:
    arrived += far.recv(1 << 20)
except TimeoutError:
    pass
print(arrived[filled:].decode())
"""


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_the_kernel_did_not_take_is_dropped_when_it_may_not_be_said_any_more(framework: str) -> None:
    assert said_by(PROGRAM, framework) == "BBBBBBBB\n"
