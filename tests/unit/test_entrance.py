"""Who has to go where there are too many connections."""

from typing import Any

import pytest

from task_copilot.entrance import Crowd, machine_of


class Visitor:
    """A connection of a machine; it is its own transport."""

    def __init__(self, crowd: Crowd, machine: str = "127.0.0.1") -> None:
        self.crowd, self.machine = crowd, machine
        self.cut_off = False
        self.transport: Any = self

    def get_extra_info(self, _name: str) -> tuple[str, int]:
        return self.machine, 50_000

    def abort(self) -> None:
        self.cut_off = True


def crowded(crowd: Crowd, machines: list[str], *, served: bool = False) -> list[Visitor]:
    there: list[Visitor] = []
    for machine in machines:
        visitor = Visitor(crowd, machine)
        there.append(visitor)
        crowd.enters(visitor, sum(not each.cut_off for each in there))
        if served and not visitor.cut_off:
            crowd.is_served(visitor)
    return there


def test_the_oldest_without_a_whole_request_goes_then_the_longest_idle_then_the_newcomer() -> None:
    crowd = Crowd(3)
    first, second, third = crowded(crowd, ["127.0.0.1"] * 3)
    crowd.idles(first)
    crowd.is_served(third)
    for cut in (second, first):
        newcomer = Visitor(crowd)
        crowd.enters(newcomer, 4)
        crowd.is_served(newcomer)
        assert cut.cut_off
        assert not newcomer.cut_off
    last = Visitor(crowd)
    crowd.enters(last, 4)
    assert last.cut_off


def test_another_machine_has_half_of_the_places_and_takes_them_from_nobody_else() -> None:
    crowd = Crowd(10)
    ours = crowded(crowd, ["127.0.0.1"] * 4)
    theirs = crowded(crowd, ["192.0.2.2"] * 20, served=True)
    assert sum(not each.cut_off for each in theirs) == 5
    assert not any(each.cut_off for each in ours)
    for each in theirs:
        crowd.ends(each)
    again = crowded(crowd, ["192.0.2.2"] * 5, served=True)
    assert not any(each.cut_off for each in again)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.2", "192.0.2.2", True),
        ("192.0.2.2", "192.0.2.3", False),
        ("127.0.0.1", "::1", True),
        ("127.0.0.2", "::ffff:127.0.0.1", True),
    ],
)
def test_addresses_that_a_machine_can_choose_between_are_one(
    one: str, other: str, same: bool
) -> None:
    assert (machine_of(one) == machine_of(other)) is same
    assert (machine_of(one) is None) is one.startswith("127.")
