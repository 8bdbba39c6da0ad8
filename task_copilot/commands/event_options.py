"""What `events`, `wait` and `watch` share: options, places to read, output, and ends."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

import click

from task_copilot.commands.asking import ca_file_option
from task_copilot.commands.changes import Change, Grouper
from task_copilot.commands.common import (
    database_of,
    file_of_database,
    print_json,
    refusals,
    say,
)
from task_copilot.commands.event_log import DatabaseLog, EventLog, Gap, HubLog, Page, Wanted
from task_copilot.commands.following import Place
from task_copilot.commands.sentences import sentence
from task_copilot.commands.source import DatabaseSource, HubSource, Source, named_hub
from task_copilot.settings import URL_VARIABLE, Settings

F = TypeVar("F", bound=Callable[..., Any])

TIMED_OUT, INTERRUPTED = 124, 130
"""Exit codes, as of timeout(1) and of shells."""

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Every event as a line of JSON, for programs."
)


def url_option(instead: str) -> Callable[[F], F]:
    """Where the hub is; `instead` says what is used without it."""
    url = click.option(
        "--url",
        envvar=URL_VARIABLE,
        show_envvar=True,
        metavar="URL",
        help=f"The hub, such as http://127.0.0.1:9090. Without it: {instead}.",
    )
    return lambda command: url(ca_file_option(command))


class Listed(click.ParamType[tuple[str, ...]]):
    """Texts between commas."""

    name = "list"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 - click's signature
        ctx: click.Context | None,  # noqa: ARG002
    ) -> tuple[str, ...]:
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


def _several(*names: str, metavar: str, about: str) -> Callable[[F], F]:
    return click.option(*names, type=Listed(), multiple=True, metavar=metavar, help=about)


def places(command: F) -> F:
    """Which workspaces."""
    for option in (
        click.option("--all-workspaces", is_flag=True, help="Those of all workspaces."),
        click.option(
            "--workspace",
            metavar="NAME",
            help="Name or folder of the workspace. Without it: the one of the current folder.",
        ),
    ):
        command = option(command)
    return command


def selection(command: F) -> F:
    """Which events; every list is separated by commas, and options may be given again."""
    for option in (
        _several("--not-actor", metavar="NAME,…", about="Not what these did themselves."),
        _several("--agent", metavar="NAME,…", about="Of tasks that are assigned to these."),
        _several("--stream", metavar="ID,…", about="Of these streams and the tasks in them."),
        _several(
            "--event-types", metavar="TYPE,…", about="Such as task.completed,stream.* (the start)."
        ),
        _several("--topics", metavar="TOPIC,…", about="Such as task:TASK-12,stream:*."),
    ):
        command = option(command)
    return command


def wanted_of(given: dict[str, Any], *, event_types: tuple[str, ...] = ()) -> Wanted:
    """What the options select; raises Refusal. `event_types` hold where nothing else says
    what is wanted."""

    def texts(name: str) -> tuple[str, ...]:
        return tuple(text for part in given[name] for text in part)

    wanted = Wanted(
        topics=texts("topics"),
        event_types=texts("event_types") or event_types,
        streams=texts("stream"),
        agents=texts("agent"),
        not_actors=texts("not_actor"),
    )
    with refusals():
        wanted.check()
    return wanted


def place_of(settings: Settings, given: dict[str, Any]) -> Place:
    """The workspace that the options name."""
    if given["workspace"] is not None and given["all_workspaces"]:
        raise click.UsageError("Give either --workspace or --all-workspaces.")
    wanted = given["workspace"] or settings.workspace
    return Place(wanted, everywhere=given["all_workspaces"])


@contextlib.contextmanager
def event_log(settings: Settings, url: str | None) -> Iterator[tuple[EventLog, Source]]:
    """The log and the state: of the hub at `url` if one is given, else of the database."""
    if url is not None:
        hub = named_hub(settings, url)
        yield HubLog(hub), HubSource(hub)
        return
    with database_of(settings) as database:
        yield DatabaseLog(database, file_of_database(settings)), DatabaseSource(database)


class Printer:
    """Prints pages: as JSON event by event, or a line for each change."""

    def __init__(self, *, as_json: bool, everywhere: bool) -> None:
        self._as_json = as_json
        self._everywhere = everywhere
        self._grouper = Grouper()

    def take(self, page: Page) -> None:
        """Prints a page. What may go on in the next one waits for it."""
        if page.gap is not None:
            self._gap(page.gap)
        for event in page.events:
            if self._as_json:
                print_json(event)
            else:
                self._line(self._grouper.add(event))
        if page.at_head:  # a change is committed as a whole
            self.end()

    def end(self) -> None:
        """Prints what is left."""
        self._line(self._grouper.end())

    def _line(self, change: Change | None) -> None:
        if change is not None:
            say(sentence(change, datetime.now(UTC), everywhere=self._everywhere))

    def _gap(self, gap: Gap) -> None:
        self.end()
        if self._as_json:
            print_json({"gap": {"from": gap.first, "to": gap.last, "reason": gap.reason}})
        say(f"task-copilot: {told(gap)}", err=True)


def told(gap: Gap) -> str:
    """A gap in words."""
    if gap.reason == "replaced":
        return f"The database is another one now, or was restored; it goes on after {gap.last}."
    return f"The events {gap.first} to {gap.last} are no longer kept."


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl+C ends with its own exit code."""
    try:
        yield
    except KeyboardInterrupt:
        leave(INTERRUPTED)


def leave(code: int) -> NoReturn:
    """Ends the command."""
    raise click.exceptions.Exit(code)
