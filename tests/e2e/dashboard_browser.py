"""The dashboard in a real browser, and what the browser complains of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from playwright.async_api import Browser, ConsoleMessage, Page, Request

WITHIN_MS = 15_000

REMEMBER_SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...given) { super(...given); window.sockets.push(this); }
};
"""

SHOWN = """() => {
  const words = [];
  const walker = document.createTreeWalker(document.querySelector("main"),
    NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.nodeType === Node.TEXT_NODE ? node.parentElement : node;
    if (element.closest("[hidden], time, .chart, .travel, .banner, option")) continue;
    if (node === element) {
      const { status } = element.dataset;
      if (status) words.push(`(${status})`);
      if (element.matches("[aria-label]")) words.push(element.getAttribute("aria-label"));
    } else if (node.data.trim()) {
      words.push(node.data.trim());
    }
  }
  return words;
}"""
"""All words of the view that do not change with time, with the status of what they are of."""


class Dashboard:
    """A page of the dashboard, and what its browser complains of."""

    def __init__(self, page: Page, port: int) -> None:
        self.page, self.port = page, port
        self.origin = f"http://127.0.0.1:{port}"
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._see)

    def _hear(self, message: ConsoleMessage) -> None:
        # The browser itself notes answers like 404 and hubs that are gone.
        expected = ("Failed to load resource", "WebSocket connection to")
        if message.type in {"error", "warning"} and not message.text.startswith(expected):
            self.complaints.append(message.text)

    def _see(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", "data:")):
            self.elsewhere.append(request.url)

    async def open(self, place: str = "#/") -> None:
        """Loads the page at an address as one who was given it."""
        await self.page.goto("about:blank")
        await self.page.goto(f"{self.origin}/{place}")
        await self.is_live()

    async def go(self, place: str) -> None:
        """Goes to another view of the loaded page."""
        await self.page.evaluate("place => { location.hash = place; }", place)

    async def is_live(self, seq: int = 0) -> None:
        """Returns when the page says that it is live and has event `seq`."""
        condition = """seq => document.body.dataset.mode === "live"
            && Number(document.body.dataset.seq) >= seq"""
        await self.until(condition, seq)

    async def until(self, condition: str, given: Any = None) -> None:
        """Returns when a condition of JavaScript holds."""
        await self.page.wait_for_function(condition, arg=given, timeout=WITHIN_MS)

    async def says(self, selector: str, *words: str) -> None:
        """Returns when an element that can be seen holds all of `words`."""
        condition = """([selector, words]) => [...document.querySelectorAll(selector)].some(
            node => node.checkVisibility() && words.every(word => node.textContent.includes(word)))
        """
        try:
            await self.until(condition, [selector, list(words)])
        except Exception as error:
            found = await self.page.locator(selector).all_text_contents()
            raise AssertionError(f"{words} is not in {selector}: {found}") from error

    async def lacks(self, selector: str, *words: str) -> None:
        """Returns when no element that can be seen holds all of `words`."""
        condition = """([selector, words]) => ![...document.querySelectorAll(selector)].some(
            node => node.checkVisibility() && words.every(word => node.innerText.includes(word)))
        """
        await self.until(condition, [selector, list(words)])

    async def shown(self) -> list[str]:
        """What the view says, without what changes with time."""
        found: list[str] = await self.page.evaluate(SHOWN)
        return found

    async def text(self, selector: str) -> str:
        return " ".join((await self.page.locator(selector).first.inner_text()).split())

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)

    async def focused(self) -> str:
        """The text, or the accessible name, of what has the focus."""
        found: str = await self.page.evaluate(
            "() => document.activeElement.ariaLabel ?? document.activeElement.textContent"
        )
        return " ".join(found.split())

    def is_clean(self) -> None:
        """Fails where the browser complained, of the Content-Security-Policy for one, or asked
        anybody but the hub for anything."""
        assert self.complaints == []
        assert self.elsewhere == []


@asynccontextmanager
async def dashboard(
    browser: Browser,
    port: int,
    *,
    width: int = 1280,
    scheme: Literal["light", "dark"] = "light",
) -> AsyncIterator[Dashboard]:
    """A page in a context of its own, which is clean at the end."""
    context = await browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )
    await context.add_init_script(REMEMBER_SOCKETS)
    try:
        found = Dashboard(await context.new_page(), port)
        yield found
        found.is_clean()
    finally:
        await context.close()
