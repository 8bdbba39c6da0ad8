"""A program that holds a port and takes what clients send there."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from task_copilot.credentials import CHALLENGE_HEADER, PROOF_HEADER

Answer = Callable[[str], str | None]
"""The proof that a stranger shows for a challenge."""


class Stranger:
    """Says that it is Task Copilot, and asks for a token where `status` is 401."""

    def __init__(self, status: int, prove: Answer, epoch: str = "e1") -> None:
        self.epoch = epoch
        self.heads: list[str] = []
        """The first line and the headers of each request."""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, status, prove))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def seen(self) -> str:
        """All that was sent to it."""
        return "\n".join(self.heads)


def _handler(stranger: Stranger, status: int, prove: Answer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            stranger.heads.append(f"{self.requestline}\n{self.headers}")
            health = self.path.startswith("/health")
            body: dict[str, Any] = {
                "service": "task-copilot",
                "epoch": stranger.epoch,
                "version": "1",
            }
            body |= {"seq": 0, "next": 0, "gap": None, "events": []}
            refused = status if not health else 200
            text = json.dumps(body if refused == 200 else {"error": "Give me a token."}).encode()
            self.send_response(refused)
            self.send_header("Content-Length", str(len(text)))
            proof = prove(self.headers.get(CHALLENGE_HEADER, "")) if health else None
            if proof is not None:
                self.send_header(PROOF_HEADER, proof)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None: ...

    return Handler


@contextmanager
def stranger(
    status: int = 401, prove: Answer = lambda _: "00" * 32, epoch: str = "e1"
) -> Iterator[Stranger]:
    """One that serves."""
    found = Stranger(status, prove, epoch)
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        found.server.server_close()
        thread.join()
