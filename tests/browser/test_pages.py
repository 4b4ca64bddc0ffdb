"""Every page in three languages, in a real browser: nothing forbidden, nothing that a screen reader stumbles over."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import Page

from chromium import AXE, CHROMIUM, Window, accessible, overflows, pictured, window
from qaqpa.console.pages import PAGES
from scene import Scene
from stage import Stage

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not CHROMIUM.exists() or not AXE.exists(), reason="no Chromium, or no axe-core"),
    pytest.mark.timeout(300),
]
AT_ONCE = 3
_SOME = {"intent", "refusal-deny", "outcome-rejected", "recall", "control-suspend"}
LOOKS = {"en": {}, "ru": {"color_scheme": "dark"}, "kk": {}}
"""The colours by night are looked at too."""


def addresses(scene: Scene, language: str) -> Iterator[tuple[str, str]]:
    """A name and an address of each page that shows something; entries of every kind in one language."""
    for page in PAGES:
        if page.method != "GET" or re.search(
            r"/(proof|export|entries|manifest|signature|checkpoint|.*\.\S+)$", page.path
        ):
            continue
        if page.path == "/entries/{index}":
            for kind, index in scene.entries.items():
                if language == "en" or kind in _SOME:
                    yield f"entry-{kind}", f"/entries/{index}"
            continue
        path = re.sub(r"{(\w+)(:path)?}", lambda place: scene.ids[place[1]], page.path)
        yield re.sub(r"\W+", "-", page.path).strip("-") or "overview", path
    yield "person-erased", f"/people/{scene.ids['erased']}"
    yield "nothing-here", "/entries/999999"


async def _seen(made: Window, page: Page, name: str, path: str, language: str) -> list[str]:
    """What is wrong with one page."""
    answer = await page.goto(f"{made.url}/console{path}")
    assert answer is not None
    await pictured(page, f"{name}-{language}")
    expected = 404 if name == "nothing-here" else 200
    wrong = [f"{name} in {language}: status {answer.status}"] if answer.status != expected else []
    if await overflows(page):
        wrong.append(f"{name} in {language}: scrolls sideways")
    return wrong + [f"{name} in {language}: {_told(each)}" for each in await accessible(page)]


def _told(violation: dict[str, Any]) -> str:
    where = "; ".join(f"{each['target']} {each['html'][:120]}" for each in violation["nodes"][:3])
    return f"{violation['impact']} {violation['id']}: {violation['help']}: {where}"


@pytest.mark.parametrize("language", list(LOOKS))
async def test_every_page_is_accessible_and_breaks_no_rule(stage: Stage, language: str) -> None:
    todo, wrong = list(addresses(stage.scene, language)), list[str]()
    async with window(stage.browser, stage.url, **LOOKS[language]) as made:
        first = await made.page()
        await first.goto(stage.links[f"Looker {language}"])
        await first.get_by_role("button").click()
        await made.speak(language)
        made.refused = 1

        async def work(page: Page) -> None:
            while todo:
                wrong.extend(await _seen(made, page, *todo.pop(), language))

        await asyncio.gather(*[work(await made.page()) for _ in range(AT_ONCE)])
    assert not wrong, "\n".join(wrong)
