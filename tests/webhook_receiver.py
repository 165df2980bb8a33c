"""A receiver of webhooks on the loopback, and what it checks: written from the specification, not with our own code."""

import base64
import hashlib
import hmac
import http.server
import os
import threading
import time

KEY = os.urandom(32)
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Receiver:
    """An HTTP server that answers as told and keeps what it got."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        """Status codes of the next answers; then 204."""
        self.got: list[tuple[float, dict[str, str], bytes]] = []
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((time.time(), {name.lower(): value for name, value in self.headers.items()}, content))
                outer.hold.wait(60)
                self.send_response(outer.answers.pop(0) if outer.answers else 204)
                self.send_header("Location", outer.url + "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


def verify(headers: dict[str, str], content: bytes) -> None:
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
