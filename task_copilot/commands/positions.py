"""Named positions in the log, each in a small file beside those of the database's hubs."""

import hashlib
import json
import re

from task_copilot.client.cursor_file import CursorFile
from task_copilot.commands.common import Refusal, places_of_database, refusals
from task_copilot.commands.event_log import Position
from task_copilot.commands.files import replace
from task_copilot.commands.following import Place
from task_copilot.places import NAME_BYTES
from task_copilot.private import private_folder
from task_copilot.settings import Settings, data_directory

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class NamedPosition:
    """How far the reader of this name has come in one place of one database (or of what is at
    `url`): two projects may use the same name."""

    def __init__(self, settings: Settings, url: str | None, place: Place, name: str) -> None:
        if _NAME.fullmatch(name) is None:
            raise Refusal(f"--cursor: {name!a} is no name of 1 to 64 of A-Z a-z 0-9 . _ -")
        ending = f"{_digest(place.key)}.cursor-{name}.json"
        if url is None:
            with refusals():
                places = places_of_database(settings)
            self.path = places.runtime.with_name(f"{places.name}.{ending}")
        else:
            self.path = data_directory() / f"url-{_digest(url.rstrip('/'))}.{ending}"

    def read(self) -> Position | None:
        """What it remembers; None for a new name. Raises Refusal where that cannot be read."""
        try:
            mark = CursorFile(self.path).read()
        except ValueError:
            raise Refusal(f"{self.path} is no cursor; remove it to begin anew.") from None
        except OSError as error:
            raise Refusal(f"{self.path} cannot be read: {error.strerror}.") from None
        return None if mark is None else Position(mark.position, mark.epoch)

    def write(self, position: Position) -> None:
        """Remembers `position`: after a crash the old one or the new one is there. Raises
        Refusal."""
        try:
            private_folder(self.path.parent)
        except OSError as error:
            raise Refusal(f"{error.filename}: {error.strerror}.") from None
        content = json.dumps({"epoch": position.epoch, "position": position.seq})
        replace(self.path, f"{content}\n".encode(), private=True)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=NAME_BYTES).hexdigest()
