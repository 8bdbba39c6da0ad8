"""Calls that wait for a server that is away."""

import time

import pytest

from task_copilot.database import outage
from task_copilot.database.outage import Outages
from task_copilot.errors import StorageUnreachable


class Away:
    """A step that finds the server away so many times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.tried = 0

    def __call__(self) -> str:
        self.tried += 1
        if self.tried <= self.times:
            raise StorageUnreachable("away")
        return "done"


def test_it_is_tried_again_until_the_server_is_back() -> None:
    step = Away(3)
    outages = Outages()
    assert outages.through(step, outages.deadline()) == "done"
    assert step.tried == 4


def test_whoever_has_waited_in_a_queue_does_not_find_out_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outage, "WAIT_SECONDS", 0.0)
    outages, waited = Outages(), time.monotonic() - 1
    first, second = Away(1), Away(0)
    with pytest.raises(StorageUnreachable, match="away"):
        outages.through(first, outages.deadline())
    with pytest.raises(StorageUnreachable, match="away"):
        outages.through(second, waited)
    assert second.tried == 0
    assert outages.through(second, time.monotonic() + 1) == "done"  # who comes now tries
    assert outages.through(Away(0), waited) == "done"
