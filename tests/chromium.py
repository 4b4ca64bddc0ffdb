"""A real Chromium before the console of a server: what goes wrong in it is collected, and fails the test."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright, expect

from harness import ROOT

CHROMIUM = Path(os.environ.get("QAQPA_CHROMIUM", "/usr/bin/chromium"))
AXE = ROOT / "build/axe/node_modules/axe-core/axe.min.js"
SCREENS = ROOT / "build/screens"
MISSING = [
    text
    for path, text in (
        (CHROMIUM, "the console in a real browser: install chromium, or name one in QAQPA_CHROMIUM"),
        (AXE, "accessibility of the console: run `make axe`, which takes npm"),
    )
    if not path.exists()
]
"""What cannot be tested on this machine."""
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
_RULES = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser, with a profile of its own."""
    expect.set_options(timeout=20_000)  # of a machine that does much else meanwhile
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Window:
    """One person's browser: its cookies, and what went wrong in any of its pages."""

    context: BrowserContext
    url: str
    wrong: list[str] = field(default_factory=list)
    refused: int = 0
    """So many refusals are meant: pages answered with 4xx, which Chromium reports in its console."""
    others: frozenset[str] = frozenset()
    """Hosts beside the console's that pages may lead to: the OpenID provider's."""

    def watch(self) -> None:
        """Listen to every page from now on."""
        self.context.on("console", self._said)
        self.context.on("weberror", lambda error: self.wrong.append(f"error in a page: {error.error}"))
        self.context.on("request", self._asked)
        self.context.on("requestfailed", self._failed)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"} or urlsplit(message.location["url"]).netloc in self.others:
            return
        if self.refused and "the server responded with a status of 4" in message.text:
            self.refused -= 1
            return
        self.wrong.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        host = urlsplit(request.url).netloc
        if host not in {urlsplit(self.url).netloc, *self.others}:
            self.wrong.append(f"asked another host: {request.url[:100]}")

    def _failed(self, request: Request) -> None:
        # A download begins as a page, which Chromium then gives up.
        if request.failure != "net::ERR_ABORTED":
            self.wrong.append(f"failed: {request.url}: {request.failure}")

    async def page(self) -> Page:
        """A new one."""
        page = await self.context.new_page()
        page.set_default_timeout(15_000)
        return page

    async def speak(self, language: str) -> None:
        """As its person chose the language."""
        await self.context.add_cookies(
            [{"name": "qaqpa_language", "value": language, "url": f"{self.url}/console", "httpOnly": True}]
        )


@asynccontextmanager
async def window(browser: Browser, url: str, **options: Any) -> AsyncIterator[Window]:
    """A browser of somebody; at the end nothing may have gone wrong in it."""
    others = options.pop("others", frozenset())
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB", **options)
    made = Window(context, url, others=others)
    made.watch()
    try:
        yield made
    except BaseException:
        for number, page in enumerate(context.pages):
            await pictured(page, f"failed-{number}")
        raise
    finally:
        await context.close()
    assert not made.wrong, made.wrong


async def accessible(page: Page) -> list[dict[str, Any]]:
    """What axe-core finds wrong. It runs in a world of its own, as extensions do: the page's policy stays as it is."""
    session = await page.context.new_cdp_session(page)
    tree = await session.send("Page.getFrameTree")
    world = await session.send(
        "Page.createIsolatedWorld", {"frameId": tree["frameTree"]["frame"]["id"], "worldName": "axe"}
    )
    where = {"contextId": world["executionContextId"]}
    await session.send("Runtime.evaluate", {"expression": AXE.read_text(), **where})
    asked = f"axe.run(document, {json.dumps(_RULES)}).then((found) => JSON.stringify(found.violations))"
    answer = await session.send("Runtime.evaluate", {"expression": asked, "awaitPromise": True, **where})
    await session.detach()
    assert "exceptionDetails" not in answer, answer["exceptionDetails"]
    found: list[dict[str, Any]] = json.loads(answer["result"]["value"])
    return found


async def overflows(page: Page) -> bool:
    """Whether the page is wider than its window, so that it scrolls sideways."""
    session = await page.context.new_cdp_session(page)
    said = await session.send("Page.getLayoutMetrics")
    await session.detach()
    return bool(said["cssContentSize"]["width"] > said["cssLayoutViewport"]["clientWidth"])


async def pictured(page: Page, name: str) -> None:
    """Keep how it looks."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENS / f"{name}.png", full_page=True)
