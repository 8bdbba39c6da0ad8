"""One project is one workspace, whoever wrote to it first."""

from support import World, table
from task_copilot import workspaces
from task_copilot.location import Location

NAMED = Location(name="web-shop", path=None)
FOLDER = Location(name="web-shop", path="/work/web-shop")
ANOTHER = Location(name="web-shop", path="/home/bob/web-shop")


def test_a_workspace_that_was_only_named_is_that_of_the_first_folder_of_its_name(
    world: World,
) -> None:
    database = world.database
    named = database.write_now(lambda tx: workspaces.ensure(tx, NAMED))
    assert database.read_now(lambda c: workspaces.find(c, FOLDER)) == named
    assert database.write_now(lambda tx: workspaces.ensure(tx, FOLDER)) == named
    rows = [row for row in table(database, "workspaces") if row["name"] == "web-shop"]
    assert [row["path"] for row in rows] == ["/work/web-shop"]
    assert database.write_now(lambda tx: workspaces.ensure(tx, NAMED)) == named


def test_a_second_folder_of_the_same_name_is_another_workspace_also_after_that(
    world: World,
) -> None:
    database = world.database
    named = database.write_now(lambda tx: workspaces.ensure(tx, NAMED))
    database.write_now(lambda tx: workspaces.ensure(tx, FOLDER))
    assert database.read_now(lambda c: workspaces.find(c, ANOTHER)) is None
    other = database.write_now(lambda tx: workspaces.ensure(tx, ANOTHER))
    assert other.id != named.id
    assert other.name.startswith("web-shop-")
    assert database.write_now(lambda tx: workspaces.ensure(tx, ANOTHER)) == other
