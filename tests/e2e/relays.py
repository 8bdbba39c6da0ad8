"""A relay before a hub that counts what goes through it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

REQUEST_LINE = re.compile(rb"^[A-Z]+ (\S+) HTTP/1\.1\r\n", re.MULTILINE)
UPGRADE = re.compile(rb"^upgrade: *websocket\r\n", re.MULTILINE | re.IGNORECASE)
CHUNK_BYTES = 65_536


class Relay:
    """`requests` are the targets of the HTTP requests, and `websockets` those of handshakes."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.requests: list[str] = []
        self.websockets: list[str] = []
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Relay"]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            self._passed_on(reader, there_writer, counted=True),
            self._passed_on(there_reader, writer, counted=False),
        )

    async def _passed_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        with suppress(ConnectionError):
            while found := await reader.read(CHUNK_BYTES):
                if counted:
                    counted = self._counted(found)
                writer.write(found)
                await writer.drain()
        writer.close()

    def _counted(self, found: bytes) -> bool:
        """Counts what a client sends; False where the rest of its connection is a WebSocket."""
        targets = [target.decode() for target in REQUEST_LINE.findall(found)]
        if UPGRADE.search(found):
            self.websockets += targets
            return False
        self.requests += targets
        return True
