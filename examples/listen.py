"""Prints the progress of every stream as it changes."""

import json
import sys
from contextlib import suppress

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect

url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9090/ws"

try:
    with suppress(KeyboardInterrupt), connect(url, proxy=None) as events:
        events.send(json.dumps({"type": "subscribe", "payload": {"topics": ["stream:*"]}}))
        for text in events:
            message = json.loads(text)
            if message["type"] == "event":
                stream = message["payload"]["data"]
                print(stream["streamName"], stream["progressPercentage"], "%", stream["status"])
except ConnectionClosed as end:
    sys.exit(f"The server ended the connection: {end}")
except InvalidStatus as refusal:
    sys.exit(f"{url} refuses: {refusal.response.body.decode()}")
except (OSError, WebSocketException) as error:
    sys.exit(f"Nobody serves events at {url}: {error}. Is an agent's session running?")
