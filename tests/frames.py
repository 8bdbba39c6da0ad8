"""WebSocket frames of a server as a client's library reads them."""

from websockets.frames import Frame
from websockets.streams import StreamReader


def parsed(data: bytes) -> list[Frame]:
    """The frames of `data` as the library reads them from a server."""
    reader, found = StreamReader(), []
    reader.feed_data(data)
    reader.feed_eof()
    while True:
        parsing = Frame.parse(reader.read_exact, mask=False)
        try:
            while True:
                next(parsing)
        except StopIteration as end:
            found.append(end.value)
        except EOFError:
            return found
