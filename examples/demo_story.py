"""The story of the demo: who plans, does, blocks and hands over what, all of it over MCP."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Call = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Calls a tool with arguments and returns its answer as an object."""

LOOK_AGAIN_SECONDS = 0.05
"""Pause of an agent between two looks at what the others have done."""


@dataclass(frozen=True)
class Plan:
    """A stream and the titles of its tasks."""

    stream: str
    name: str
    phase: str
    needs: tuple[str, ...]
    tasks: tuple[str, ...]


TABLES = "Tables for products and orders"
PRICES = "Prices, taxes and discounts"
LAYOUT = "Layout, colours and type"
PRODUCTS = "List and search products"
PAYMENT = "Pay by card"
CART = "Cart"
MAIL = "Confirmation by mail"
PRODUCT_PAGE = "Product page"
CART_PAGE = "Cart page"
CHECKOUT_PAGE = "Checkout page"
PURCHASE = "Buy a product from end to end"
SPEED = "Speed on a slow phone"
NOTES = "Release notes"

FOUNDATION = Plan("Stream-A", "foundation", "foundation", (), (TABLES, PRICES, LAYOUT))
ORDERS = Plan("Stream-B", "orders", "parallel", ("Stream-A",), (PRODUCTS, PAYMENT, CART, MAIL))
PAGES = Plan(
    "Stream-C", "pages", "parallel", ("Stream-A",), (PRODUCT_PAGE, CART_PAGE, CHECKOUT_PAGE)
)
RELEASE = Plan(
    "Stream-D", "release", "integration", ("Stream-B", "Stream-C"), (PURCHASE, SPEED, NOTES)
)


class Team:
    """What the agents share: the connection, the ids of the planned tasks, and their pace."""

    def __init__(self, call: Call, pace: float) -> None:
        self.call = call
        self.pace = pace
        self.ids: dict[str, str] = {}


class Agent:
    """One agent: each method is a call or two of the kind that a coding agent makes."""

    def __init__(self, name: str, team: Team) -> None:
        self.name = name
        self._team = team

    async def pause(self, seconds: float) -> None:
        """Stands for the time that the work itself takes."""
        await asyncio.sleep(seconds * self._team.pace)

    async def plan(self, plan: Plan) -> None:
        """Records a stream's tasks; the first one that names the stream makes it."""
        stream = {
            "streamId": plan.stream,
            "streamName": plan.name,
            "streamPhase": plan.phase,
            "streamDependencies": list(plan.needs),
        }
        for title in plan.tasks:
            made = await self._call("task_create", title=title, **stream)
            self._team.ids[title] = made["id"]
            await self.pause(0.15)

    async def start(self, title: str) -> None:
        """Takes a task."""
        await self._update(title, status="in_progress", assignedAgent=self.name)

    async def complete(self, title: str) -> None:
        """Finishes a task."""
        await self._update(title, status="completed", notes=f"Done and tested by {self.name}.")

    async def work(self, title: str, seconds: float) -> None:
        """Does a task from start to end."""
        await self.start(title)
        await self.pause(seconds)
        await self.complete(title)

    async def block(self, title: str, reason: str, draft: str) -> None:
        """Saves where a task stands, so that anybody can go on, and says what it lacks."""
        await self._call(
            "checkpoint_create",
            taskId=self._team.ids[title],
            executionPhase="implementation",
            executionStep=2,
            draftContent=draft,
            draftType="code",
            pauseMetadata={"pauseReason": reason, "pausedBy": self.name},
        )
        await self._update(title, status="blocked", blockedReason=reason)

    async def resume(self, task: str) -> None:
        """Goes on from a task's checkpoint, whoever made it."""
        await self._call("checkpoint_resume", taskId=task)
        await self._call("task_update", id=task, status="in_progress", assignedAgent=self.name)

    async def until_free(self, plan: Plan) -> None:
        """Waits until the streams that `plan` needs are complete."""
        while True:
            found = await self._team.call("stream_list", {"format": "json"})
            waits = {row["streamId"]: row["waitsFor"] for row in found["streams"]}
            if not waits[plan.stream]:
                return
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def until_completed(self, title: str) -> None:
        """Waits for a task of somebody else."""
        while True:
            task = await self._team.call("task_get", {"id": self._team.ids[title]})
            if task["status"] == "completed":
                return
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def first_blocked(self, plan: Plan) -> str:
        """The id of a task of `plan` that somebody had to leave, as soon as there is one."""
        wanted = {"streamId": plan.stream, "status": "blocked", "format": "json"}
        while True:
            found = await self._team.call("task_list", wanted)
            if found["tasks"]:
                return str(found["tasks"][0]["id"])
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _update(self, title: str, **changes: Any) -> None:
        await self._call("task_update", id=self._team.ids[title], **changes)

    async def _call(self, tool: str, **arguments: Any) -> Any:
        return await self._team.call(tool, {**arguments, "agent": self.name})


async def play(call: Call, pace: float) -> None:
    """Lets ada, ben and cleo plan the shop and build it; `pace` 0 is without pauses."""
    team = Team(call, pace)
    ada, ben, cleo = (Agent(name, team) for name in ("ada", "ben", "cleo"))
    async with asyncio.TaskGroup() as planning:
        planning.create_task(_plan_frame(ada))
        planning.create_task(ben.plan(ORDERS))
        planning.create_task(cleo.plan(PAGES))
    async with asyncio.TaskGroup() as building:
        building.create_task(_ada(ada))
        building.create_task(_ben(ben))
        building.create_task(_cleo(cleo))


async def _plan_frame(ada: Agent) -> None:
    await ada.plan(FOUNDATION)
    await ada.plan(RELEASE)


async def _ada(ada: Agent) -> None:
    """Lays the tables, takes over what another agent had to leave, and tests the whole."""
    await ada.work(TABLES, 1.6)
    left = await ada.first_blocked(ORDERS)
    await ada.pause(1.4)
    await ada.resume(left)
    await ada.pause(1.8)
    await ada.complete(PAYMENT)
    await ada.until_free(RELEASE)
    await ada.work(PURCHASE, 1.8)


async def _ben(ben: Agent) -> None:
    """Writes the server's side; has to leave the payment to somebody else."""
    await ben.work(PRICES, 2.2)
    await ben.until_free(ORDERS)
    await ben.work(PRODUCTS, 1.2)
    await ben.start(PAYMENT)
    await ben.pause(1.0)
    await ben.block(PAYMENT, "no test key for the payment provider", "def pay(order): ...")
    await ben.work(CART, 2.0)
    await ben.work(MAIL, 1.2)
    await ben.until_free(RELEASE)
    await ben.work(NOTES, 1.0)


async def _cleo(cleo: Agent) -> None:
    """Makes the pages; one of them has to wait for ben's part."""
    await cleo.work(LAYOUT, 1.2)
    await cleo.until_free(PAGES)
    await cleo.work(PRODUCT_PAGE, 1.6)
    await cleo.start(CART_PAGE)
    await cleo.pause(0.8)
    await cleo.block(CART_PAGE, f"needs the {CART.lower()} of Stream-B", "<ul id='cart'></ul>")
    await cleo.work(CHECKOUT_PAGE, 1.0)
    await cleo.until_completed(CART)
    left = await cleo.first_blocked(PAGES)
    await cleo.resume(left)
    await cleo.pause(1.0)
    await cleo.complete(CART_PAGE)
    await cleo.until_free(RELEASE)
    await cleo.work(SPEED, 1.4)
