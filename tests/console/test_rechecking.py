"""What the OpenID provider says later: roles that were taken away there are gone within a bounded time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from desk import Desk
from harness import House
from openid_provider import Provider
from qaqpa.console.sessions import form_token
from visitor import URL as ORIGIN
from visitor import visiting

HALF, BOUND = timedelta(minutes=8), timedelta(minutes=15)


@pytest.fixture
async def boris(signing: Desk, openid: Provider) -> AsyncIterator[httpx.AsyncClient]:
    """An approver's browser, signed in."""
    async with visiting(signing) as browser:
        out = await browser.get("/console/signin/openid")
        assert "prompt" not in parse_qs(urlsplit(out.headers["location"]).query), "the first time somebody may be asked"
        await browser.get(await openid.sign_in(out.headers["location"], "boris"))
        assert (await browser.get("/console/approvals")).status_code == 200
        yield browser


async def ask_for_something(browser: httpx.AsyncClient) -> httpx.Response:
    """404 where it is heard: there is nobody of that id."""
    secret = browser.cookies["qaqpa_console"]
    form = {"token": form_token(secret), "subject": "s", "reason": "by letter"}
    return await browser.post("/console/approvals/ask/erase", data=form, headers={"origin": ORIGIN})


async def sent_away(browser: httpx.AsyncClient, openid: Provider, page: str) -> str:
    """To where a page sends the browser instead."""
    answer = await browser.get(page)
    out = answer.headers["location"]
    assert answer.status_code == 303 and out.startswith(openid.issuer)
    assert parse_qs(urlsplit(out).query)["prompt"] == ["none"]
    return out


@pytest.mark.parametrize("groups", [(), ("others",)])
async def test_groups_that_are_gone_end_the_session_in_passing(
    boris: httpx.AsyncClient, openid: Provider, house: House, groups: tuple[str, ...]
) -> None:
    cookie = boris.cookies["qaqpa_console"]
    await openid.put_in("boris", *groups)
    house.clock.offset += HALF
    out = await sent_away(boris, openid, "/console/approvals")
    assert (await boris.get(await openid.answer_in_passing(out, "boris"))).status_code == 401
    for browser_says in (None, f"qaqpa_console={cookie}"):
        headers = {} if browser_says is None else {"cookie": browser_says}
        assert (await boris.get("/console/approvals", headers=headers)).headers["location"] == "/console/signin"
    assert (await ask_for_something(boris)).headers["location"] == "/console/signin"


async def test_whoever_does_not_ask_again_is_out_after_the_bound(
    boris: httpx.AsyncClient, openid: Provider, house: House
) -> None:
    """A browser that never follows the way to the provider: nothing is shown or taken after the bound."""
    await openid.put_in("boris")
    house.clock.offset += BOUND - timedelta(seconds=5)
    assert (await ask_for_something(boris)).status_code == 404, "a form that was begun in time is taken"
    house.clock.offset += timedelta(seconds=5)
    assert (await ask_for_something(boris)).headers["location"] == "/console/signin"
    assert (await boris.get("/console/approvals")).headers["location"] == "/console/signin"


async def test_who_keeps_the_groups_goes_on_where_they_were(
    boris: httpx.AsyncClient, openid: Provider, house: House
) -> None:
    cookie = boris.cookies["qaqpa_console"]
    for _ in range(3):
        house.clock.offset += HALF
        out = await sent_away(boris, openid, "/console/recalls?state=sent")
        back = await boris.get(await openid.answer_in_passing(out, "boris"))
        assert (back.status_code, back.headers["location"]) == (303, "/console/recalls?state=sent")
        assert (await boris.get("/console/approvals")).status_code == 200
        assert boris.cookies["qaqpa_console"] == cookie, "forms of other tabs are still good"
    house.clock.offset += timedelta(hours=8)
    assert (await boris.get("/console/approvals")).headers["location"] == "/console/signin"


async def test_another_group_is_another_role(boris: httpx.AsyncClient, openid: Provider, house: House) -> None:
    await openid.put_in("boris", "qaqpa-reviewers")
    house.clock.offset += HALF
    out = await sent_away(boris, openid, "/console/approvals")
    assert (await boris.get(await openid.answer_in_passing(out, "boris"))).status_code == 303
    assert "(reviewer)" in (await boris.get("/console/approvals")).text
    assert (await ask_for_something(boris)).status_code == 403


async def test_a_provider_that_does_not_answer_for_somebody_ends_the_session(
    boris: httpx.AsyncClient, openid: Provider, house: House
) -> None:
    house.clock.offset += HALF
    out = await sent_away(boris, openid, "/console/approvals")
    error = "/console/signin/openid/back?error=login_required&state="
    assert (await boris.get(f"{error}made-up")).status_code == 401
    assert (await ask_for_something(boris)).status_code == 404, "anybody can write such an address"
    back = await openid.answer_in_passing(out, None)
    assert "error=login_required" in back
    assert (await boris.get(back)).status_code == 401
    assert (await ask_for_something(boris)).headers["location"] == "/console/signin"


async def test_another_person_at_the_same_browser_is_another_session(
    boris: httpx.AsyncClient, openid: Provider, house: House
) -> None:
    cookie = boris.cookies["qaqpa_console"]
    house.clock.offset += HALF
    out = await sent_away(boris, openid, "/console/approvals")
    assert (await boris.get(await openid.answer_in_passing(out, "anna"))).status_code == 303
    assert "Anna R. (reviewer)" in (await boris.get("/console/approvals")).text
    boris.cookies.clear()
    answer = await boris.get("/console/approvals", headers={"cookie": f"qaqpa_console={cookie}"})
    assert answer.headers["location"] == "/console/signin"
