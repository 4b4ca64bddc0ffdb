"""What people come to the console for, done in a real browser."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Page, expect

from chromium import CHROMIUM, Window, window
from harness import PEOPLE
from scene import HOSTILE
from stage import Stage

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium"),
    pytest.mark.timeout(180),
]


@asynccontextmanager
async def signed_in(stage: Stage, person: str, **options: Any) -> AsyncIterator[tuple[Page, Window]]:
    """Somebody signed in by their link, at the overview."""
    async with window(stage.browser, stage.url, **options) as made:
        page = await made.page()
        await page.goto(stage.links[person])
        await page.get_by_role("button", name="Sign in").click()
        await expect(page).to_have_url(f"{stage.url}/console/")
        yield page, made


async def test_from_a_figure_to_the_proof_of_one_entry(stage: Stage) -> None:
    async with signed_in(stage, "Anna") as (page, made):
        await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
        figure = page.locator("a.figure[href*='result=not_sent']")
        count = int(await figure.inner_text())
        await figure.click()
        rows = page.locator("tbody tr")
        await expect(rows).to_have_count(count)
        await rows.last.get_by_role("link").first.click()
        await expect(page.get_by_role("heading", name="What was checked")).to_be_visible()
        await expect(page.get_by_text(HOSTILE[:30]).first).to_be_visible()
        async with page.expect_download() as downloading:
            await page.get_by_role("link", name="Proof of inclusion").click()
        proof = (await (await downloading.value).path()).read_text()
        assert proof.startswith("c2sp.org/tlog-proof@v1\n")
        # The same link signs nobody in again.
        other = await made.page()
        await other.goto(stage.links["Anna"])
        made.refused = 1
        await other.get_by_role("button", name="Sign in").click()
        await expect(other.get_by_role("alert")).to_contain_text("used before")


async def test_a_persons_report_and_who_it_is(stage: Stage) -> None:
    iin = PEOPLE[0].iin
    async with signed_in(stage, "Everybody") as (page, _):
        await page.get_by_role("link", name="People").click()
        await page.get_by_label("IIN").fill(iin)
        await page.get_by_role("button", name="Find").click()
        await expect(page).to_have_url(re.compile(f"/people/{stage.scene.ids['subject']}$"))
        assert iin not in await page.content()
        async with page.expect_download() as downloading:
            await page.get_by_role("link", name="As PDF").click()
        assert (await (await downloading.value).path()).read_bytes().startswith(b"%PDF-")
        await page.get_by_label("Why it must be known").fill("the person asks at the desk")
        await page.get_by_role("button", name="Show the IIN").click()
        await expect(page.get_by_role("status")).to_contain_text(iin)
        await page.get_by_role("link", name="Disclosures in the list").click()
        assert iin not in page.url + await page.content()


async def test_a_recipient_is_suspended_and_resumed(stage: Stage) -> None:
    async with signed_in(stage, "Root") as (page, _):
        await page.get_by_role("link", name="Recipients").click()
        await page.get_by_role("row").filter(has_text="pension-center").get_by_role("link").click()
        await page.get_by_role("textbox", name="Reason").fill(HOSTILE)
        await page.get_by_role("button", name="Send it nothing from now on").click()
        await expect(page.locator(".note.bad")).to_contain_text(HOSTILE)
        await page.get_by_role("textbox", name="Reason").fill("mended")
        await page.get_by_role("button", name="Send to it again").click()
        await expect(page.locator(".note.bad")).to_have_count(0)


async def test_two_persons_erase_somebody_and_one_cannot(stage: Stage) -> None:
    async with signed_in(stage, "Boris") as (one, _), signed_in(stage, "Vera") as (two, _second):
        await one.get_by_role("link", name="People").click()
        await one.get_by_label("IIN").fill(PEOPLE[5].iin)
        await one.get_by_role("button", name="Find").click()
        await one.get_by_label("Reason; every duty").fill("asked by letter")
        await one.get_by_role("button", name="Ask for erasure", exact=True).click()
        mine = one.locator("section.card").first
        await expect(mine).to_contain_text("waits for another person")
        await expect(mine).to_contain_text("another person has to agree")
        await expect(mine.get_by_role("button", name="Agree")).to_have_count(0)

        await two.get_by_role("link", name="Two persons").click()
        asked = two.locator("section.card").first
        await expect(asked).to_contain_text("Boris")
        await asked.get_by_label("Why I agree").fill("seen the letter")
        await asked.get_by_role("button", name="Agree, and do it").click()
        await expect(two.locator("section.card").first.locator(".mark")).to_have_text("done")

        await one.get_by_role("link", name="People").click()
        await one.get_by_label("IIN").fill(PEOPLE[5].iin)
        await one.get_by_role("button", name="Find").click()
        await expect(one.get_by_role("heading", level=1)).to_have_text("Nobody known")


async def test_a_name_from_the_provider_is_only_a_text(stage: Stage) -> None:
    # The provider's own page asks another host for its looks.
    others = frozenset({stage.openid.issuer.removeprefix("https://"), "cdn.jsdelivr.net"})
    async with window(stage.browser, stage.url, others=others, ignore_https_errors=True) as made:
        await made.context.route("https://cdn.jsdelivr.net/**", lambda route: route.fulfill(body=""))
        page = await made.page()
        await page.goto(f"{stage.url}/console/signin")
        await page.get_by_role("link", name="Sign in").click()
        await page.locator("input[name=sub]").fill("hostile")
        await page.locator("button").first.click()
        await expect(page).to_have_url(f"{stage.url}/console/")
        await expect(page.locator("header")).to_contain_text("Eve <script>alert(6)</script>'\"")


@pytest.mark.parametrize("script", [True, False], ids=["with scripts", "without scripts"])
async def test_the_language_is_changed(stage: Stage, script: bool) -> None:
    person = "Polyglot" if script else "Nobody's script"
    async with signed_in(stage, person, java_script_enabled=script) as (page, _):
        await page.get_by_role("link", name="Recipients").click()
        for code, name in (("kk", "Қазақша"), ("ru", "Русский"), ("en", "English")):
            await page.locator("select[name=language]").select_option(label=name)
            if not script:
                await page.locator("form[action='/console/language'] button").click()
            await expect(page.locator("html")).to_have_attribute("lang", code)
            assert page.url == f"{stage.url}/console/recipients"
        if not script:  # every step of a search works as well
            await page.get_by_role("link", name="Disclosures", exact=True).click()
            await page.get_by_label("Result").select_option("deny")
            await page.get_by_role("button", name="Search").click()
            await expect(page.locator("tbody .mark").first).to_have_text("refused")
            await page.get_by_role("button", name="Sign out").click()
            await expect(page).to_have_url(f"{stage.url}/console/signin")


async def test_by_keyboard_alone(stage: Stage) -> None:
    async with window(stage.browser, stage.url) as made:
        page = await made.page()
        await page.goto(stage.links["Keys"])
        await expect(page.get_by_role("button", name="Sign in")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(f"{stage.url}/console/")
        await page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the content")
        await expect(skip).to_be_focused()
        await expect(skip).to_be_in_viewport()
        await page.keyboard.press("Enter")
        await expect(page.locator("main")).to_be_focused()
        await page.keyboard.press("Tab")
        await expect(page.locator("main input").first).to_be_focused()

        await page.goto(f"{stage.url}/console/people")
        await page.keyboard.press("/")
        field = page.get_by_label("IIN")
        await expect(field).to_be_focused()
        await page.keyboard.type(f"{PEOPLE[0].iin}")
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(re.compile("/people/[0-9a-f]+$"))
        # The order of the header is that of the page: name, language, sign out, then the sections.
        await page.keyboard.press("Tab")
        seen = []
        for _ in range(5):
            await page.keyboard.press("Tab")
            seen.append(await page.locator(":focus").get_attribute("name") or await page.locator(":focus").inner_text())
        assert seen == ["Qaqpa", "language", "Sign out", "Overview", "Disclosures"]
