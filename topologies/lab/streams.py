"""A client connection's bytes, in clear or inside TLS, on an event loop that waits for nobody."""

from __future__ import annotations

import asyncio
import socket
import ssl


class Stream:
    """A connection's bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()

    async def send(self, octets: bytes) -> None:
        """Sends all of it."""
        await self._loop.sock_sendall(self._connection, octets)

    async def receive(self) -> bytes:
        """The next bytes, empty at the end."""
        return await self._loop.sock_recv(self._connection, 65536)


class TlsStream(Stream):
    """A connection's bytes inside TLS; the server's certificate is the lab's own, so nobody checks it."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)

    async def shake_hands(self) -> None:
        """Completes the handshake.

        Raises:
            ssl.SSLError: the other end does not speak TLS.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            else:
                return await self._flush()

    async def send(self, octets: bytes) -> None:
        """Encrypts and sends all of it."""
        self._tls.write(octets)
        await self._flush()

    async def receive(self) -> bytes:
        """The next bytes in clear, empty at the end."""
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLWantReadError:
                await self._feed()
            except ssl.SSLZeroReturnError:
                return b""

    async def _flush(self) -> None:
        if octets := self._outgoing.read():
            await super().send(octets)

    async def _feed(self) -> None:
        octets = await super().receive()
        if octets:
            self._incoming.write(octets)
        else:
            self._incoming.write_eof()
