"""Whoever connects to the OpenFlow port and is turned away leaves nothing behind: thousands a second may come."""

import pytest
from frameworks import FRAMEWORKS, said_by

PROGRAM = """
import gc

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


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_connection_that_has_ended_is_forgotten(framework: str) -> None:
    assert said_by(PROGRAM, framework) == "0\n"
