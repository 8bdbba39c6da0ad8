"""A picture as lines that fit a terminal: what is blocked first, and nothing by colour alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from task_copilot import clock
from task_copilot.commands.board import Picture, Stream, Task
from task_copilot.commands.common import count
from task_copilot.commands.sentences import moment, sentence, span
from task_copilot.commands.stream_lines import Signs, cut, group, stream_section
from task_copilot.text import plain, spaced

SHARES = {"BLOCKED": 3, "STREAMS": 3, "AGENTS": 5, "CHANGES": 5}
"""The part of the screen (one line in so many) that each section may take from the others."""

IN_NEED = ("STREAMS", "BLOCKED", "AGENTS", "CHANGES")
"""Who gets what is left, in this order."""

TITLE_SHARE = 3
"""A blocked task's title takes at most one in so many columns, to leave room for its reason."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the screen: how many lines it could fill, and what it shows in fewer."""

    title: str
    style: str
    need: int
    lines: Callable[[int], list[Text]]


def draw(picture: Picture, width: int, height: int, now: datetime, signs: Signs) -> list[Text]:
    """Exactly `height` lines of at most `width` columns."""
    lines = _header(picture, width, now, signs)
    if picture.address:  # else nothing is known yet
        sections = [
            _blocked(picture, width, now, signs),
            stream_section_of(picture, width, signs),
            _agents(picture, width, now, signs),
            _changes(picture, width, now, signs),
        ]
        shown = [section for section in sections if section.need]
        if not picture.board.streams and not picture.board.tasks:
            lines.append(Text("No streams, and no task in work or blocked."))
        rooms = _rooms(shown, height - len(lines) - len(shown))
        for section, room in zip(shown, rooms, strict=True):
            if room:
                lines.append(_rule(section, width, signs))
                lines += section.lines(room)
    lines = lines[:height] + [Text()] * (height - len(lines))
    return [cut(_harmless(line), width, signs) for line in lines]


def _harmless(line: Text) -> Text:
    line.plain = spaced(line.plain)  # sign by sign, so that styles stay where they are
    return line


def _rooms(sections: Sequence[Section], room: int) -> list[int]:
    """How many lines each section gets: its share first, and then of what is left."""
    found = [min(each.need, max(1, room // SHARES[each.title])) for each in sections]
    left = room - sum(found)
    for place in sorted(range(len(found)), key=lambda place: IN_NEED.index(sections[place].title)):
        more = max(0, min(left, sections[place].need - found[place]))
        found[place] += more
        left -= more
    for place in range(len(found) - 1, -1, -1):  # on a small screen the last ones give way
        found[place] -= min(found[place], max(0, sum(found) - max(0, room)))
    return found


def _rule(section: Section, width: int, signs: Signs) -> Text:
    title = f"{section.title} "
    line = Text(title, style=section.style)
    return line.append(signs.rule * max(0, width - cell_len(title)), style="dim")


def _header(picture: Picture, width: int, now: datetime, signs: Signs) -> list[Text]:
    styles = {"live": "green", "behind": "yellow", "offline": "bold reverse", "connecting": "dim"}
    words = {"behind": f"behind by {picture.behind:,} events", "offline": "OFFLINE"}
    state = Text(words.get(picture.link, picture.link), style=styles[picture.link])
    address = state.copy().append(f"  {plain(picture.address)}", style="dim")
    name = Text("Task Copilot  ", style="bold").append(plain(picture.title))
    lines = [_spread(name, (address, state), width, signs)]
    if picture.address:
        seq = Text(f"event {picture.seq}", style="dim")
        lines.append(_spread(Text(_counts(picture)), (seq, Text()), width, signs))
    if picture.link == "offline":
        lines += _offline(picture, now)
    return lines


def _offline(picture: Picture, now: datetime) -> list[Text]:
    since = moment(picture.since, now)
    lines = [Text(plain(f"Offline since {since}, trying again: {picture.reason}"))]
    if picture.address:
        lines.append(Text("What follows is the state of then.", style="bold"))
    return lines


def _counts(picture: Picture) -> str:
    streams, tasks = picture.board.streams.values(), picture.board.tasks.values()
    done, total = sum(s.completed for s in streams), sum(s.total for s in streams)
    statuses = [task.status for task in tasks]
    outside = sum(task.stream_id is None for task in tasks)
    return (
        f"{count(len(streams), 'stream')}: {done:,} of {count(total, 'task')} completed; "
        f"{statuses.count('in_progress'):,} in progress, {statuses.count('blocked'):,} blocked"
        + (f" ({outside:,} in no stream)" if outside else "")
    )


def _spread(left: Text, rights: tuple[Text, Text], width: int, signs: Signs) -> Text:
    """`left` at the left, and at the right the long text, or the short one where that fits not."""
    right, short = rights
    if left.cell_len + 1 + right.cell_len > width:
        right = short
        left = cut(left, max(0, width - right.cell_len - 1), signs) if right else left
    return left.append(" " * (width - left.cell_len - right.cell_len)).append_text(right)


def _blocked(picture: Picture, width: int, now: datetime, signs: Signs) -> Section:
    tasks = [task for task in picture.board.tasks.values() if task.status == "blocked"]
    tasks.sort(key=lambda task: (task.changed, task.id), reverse=True)

    def lines_of(task: Task) -> list[Text]:
        title = cut(Text(plain(task.title)), width // TITLE_SHARE, signs).plain
        known = (_place(task, picture), task.agent, span(_age(task, now)))
        about = ", ".join(part for part in known if part)
        head = Text(f"! {task.id} ", style="bold red").append(f"{title} ({plain(about)})")
        reason = Text(plain(task.reason or "no reason given"), style="bold")
        if head.cell_len + len(": ") + reason.cell_len <= width:
            return [head.append(": ").append_text(reason)]
        return [head, Text("  ").append_text(reason)]

    need = sum(len(lines_of(task)) for task in tasks)
    return Section("BLOCKED", "bold red", need, lambda room: _listed(tasks, room, lines_of))


def _agents(picture: Picture, width: int, now: datetime, signs: Signs) -> Section:
    of_each: dict[str, list[Task]] = {}
    tasks = [task for task in picture.board.tasks.values() if task.status == "in_progress"]
    for task in sorted(tasks, key=lambda task: (task.changed, task.id), reverse=True):
        of_each.setdefault(task.agent or "(no agent)", []).append(task)
    wide = min(max((cell_len(plain(name)) for name in of_each), default=0), width // TITLE_SHARE)

    def lines_of(found: tuple[str, list[Task]]) -> list[Text]:
        name, (newest, *others) = found
        text = Text(set_cell_size(cut(Text(plain(name)), wide, signs).plain, wide), style="cyan")
        text.append(f" {span(_age(newest, now)):>7} ago  ", style="dim")
        place = f" ({_place(newest, picture)})" if _place(newest, picture) else ""
        more = f", and {len(others)} more" if others else ""
        return [text.append(plain(f"{newest.id} {newest.title}{place}{more}"))]

    agents = list(of_each.items())
    return Section("AGENTS", "bold", len(agents), lambda room: _listed(agents, room, lines_of))


def _changes(picture: Picture, width: int, now: datetime, signs: Signs) -> Section:
    newest = picture.recent[::-1]

    def lines(room: int) -> list[Text]:
        return [
            cut(Text(sentence(change, now, everywhere=picture.everywhere)), width, signs)
            for change in newest[:room]
        ]

    return Section("CHANGES", "bold", len(newest), lines)


def stream_section_of(picture: Picture, width: int, signs: Signs) -> Section:
    """The streams, of which the most telling are shown where there is no room for all."""
    streams = sorted(picture.board.streams.values(), key=_in_order)
    need = len(streams) + len(set(map(group, streams)))

    def lines(room: int) -> list[Text]:
        return stream_section(picture, streams, room, width, signs)

    return Section("STREAMS", "bold", need, lines)


_PHASES = ("foundation", "parallel", "integration")


def _in_order(stream: Stream) -> tuple[str, int, str]:
    phase = _PHASES.index(stream.phase) if stream.phase in _PHASES else len(_PHASES)
    return stream.workspace, phase, stream.id


def _listed(items: Sequence[T], room: int, lines_of: Callable[[T], list[Text]]) -> list[Text]:
    """The lines of all of them; where there is no room, the last says how many are not shown."""
    parts = [lines_of(item) for item in items]
    if sum(map(len, parts)) <= room:
        return [line for part in parts for line in part]
    shown: list[Text] = []
    hidden = len(parts)
    for part in parts:
        if len(shown) + len(part) >= room:
            break
        shown += part
        hidden -= 1
    if len(parts) == 1:
        return parts[0][:room]
    return [*shown, Text(f"{'and ' if shown else ''}{hidden} more", style="bold")][:room]


def _place(task: Task, picture: Picture) -> str:
    if task.stream_id is None:
        return task.workspace if picture.everywhere else ""
    return f"{task.workspace} {task.stream_id}" if picture.everywhere else task.stream_id


def _age(task: Task, now: datetime) -> float:
    return (now - clock.parse(task.changed)).total_seconds()
