"""Signing in at a real OpenID Connect provider, and what does not pass for it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from desk import Desk, at_desk
from harness import PEOPLE, House, grown
from openid_provider import Provider, provider
from qaqpa.alerts.findings import Rule, Severity
from qaqpa.config.models import ConsoleRole
from qaqpa.console.sessions import form_token, make_link
from qaqpa.errors import NotAllowed
from qaqpa.gateway.shell import system_user
from visitor import URL as ORIGIN
from visitor import link_for, said, signed_in, visiting

FORM = {"content-type": "application/x-www-form-urlencoded"}


async def test_people_sign_in_with_the_roles_of_their_groups(signing: Desk, openid: Provider) -> None:
    async with visiting(signing) as browser:
        out = await browser.get("/console/signin/openid")
        assert out.headers["location"].startswith(openid.issuer)
        answer = await browser.get(await openid.sign_in(out.headers["location"], "anna"))
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/")
        page = await browser.get("/console/recipients")
        assert "Anna R. (reviewer)" in page.text
        assert (await browser.get("/console/sessions")).status_code == 403


@pytest.mark.parametrize("sub", ["visitor", "nobody"])
async def test_whoever_is_in_no_group_with_a_role_stays_out(signing: Desk, openid: Provider, sub: str) -> None:
    async with visiting(signing) as browser:
        out = await browser.get("/console/signin/openid")
        answer = await browser.get(await openid.sign_in(out.headers["location"], sub))
        assert answer.status_code == 401
        assert "no group" in answer.text


async def test_a_role_that_was_taken_away_is_gone_with_the_next_page(
    house: House, tokens: dict[str, str], openid: Provider
) -> None:
    async with at_desk(house, tokens) as desk, visiting(desk) as browser:
        out = await browser.get("/console/signin/openid")
        await browser.get(await openid.sign_in(out.headers["location"], "boris"))
        assert (await browser.get("/console/recipients")).status_code == 200
        cookie = browser.cookies["qaqpa_console"]
    house.edit("gateway.toml", ('approver = ["qaqpa-approvers"]', 'approver = ["nobody-any-more"]'))
    async with at_desk(house, tokens) as desk, visiting(desk) as browser:
        answer = await browser.get("/console/recipients", headers={"cookie": f"qaqpa_console={cookie}"})
        assert answer.headers["location"] == "/console/signin"


async def test_an_answer_is_good_for_the_browser_that_asked_and_once(signing: Desk, openid: Provider) -> None:
    async with visiting(signing) as browser, visiting(signing) as other:
        out = await browser.get("/console/signin/openid")
        back = await openid.sign_in(out.headers["location"], "anna")
        assert (await other.get(back)).status_code == 401, "it did not ask (login CSRF)"
        assert (await browser.get(back)).status_code == 303
        assert (await browser.get(back)).status_code == 401, "the code is used up, and the cookie is gone"


@pytest.mark.parametrize("query", ["?error=access_denied", "?state=x&code=y", "", "?code=y"])
async def test_a_made_up_answer_signs_nobody_in(signing: Desk, query: str) -> None:
    async with visiting(signing) as browser:
        await browser.get("/console/signin/openid")
        assert (await browser.get(f"/console/signin/openid/back{query}")).status_code == 401


async def test_an_id_token_of_another_sign_in_is_refused(signing: Desk, openid: Provider) -> None:
    """The nonce binds the token to the browser's own cookie (OpenID Connect Core §3.1.2.1)."""
    async with visiting(signing) as browser:
        out = await browser.get("/console/signin/openid")
        back = await openid.sign_in(out.headers["location"], "anna")
        flight = browser.cookies["qaqpa_signin"].split(".")
        flight[1] = "another-nonce"
        browser.cookies.clear()
        answer = await browser.get(back, headers={"cookie": f"qaqpa_signin={'.'.join(flight)}"})
        assert answer.status_code == 401
        assert "another sign-in" in answer.text


async def test_without_a_provider_there_is_no_such_way_in(desk: Desk) -> None:
    async with visiting(desk) as browser:
        assert (await browser.get("/console/signin/openid")).status_code == 401


@pytest.mark.parametrize("sub", ["numbered", "broken"])
async def test_a_name_that_cannot_stand_in_the_ledger_signs_nobody_in(
    signing: Desk, openid: Provider, sub: str, house: House
) -> None:
    """Looks are entered under the name that the provider says: an IIN in it would stay there for ever."""
    async with visiting(signing) as browser:
        out = await browser.get("/console/signin/openid")
        answer = await browser.get(await openid.sign_in(out.headers["location"], sub))
        assert answer.status_code == 400
        assert "qaqpa_console" not in answer.cookies
        assert house.entries(signing.gateway, "review") == []


async def test_links_let_nobody_in_beside_the_provider(signing: Desk, house: House) -> None:
    with pytest.raises(NotAllowed, match="OpenID provider"):
        await make_link(signing.gateway, [ConsoleRole.APPROVER], caller="compliance", person="A", reason="a link")
    ran = await house.cli(
        "console", "login", "--person", "A", "--role", "approver", "--caller", "compliance", "--reason", "a link"
    )
    assert ran.code != 0 and "break_glass" in ran.err
    assert house.entries(signing.gateway, "control") == []
    async with visiting(signing) as browser:
        assert "qaqpa console login" not in (await browser.get("/console/signin")).text


async def test_a_link_of_before_lets_nobody_in_once_there_is_a_provider(
    house: House, tokens: dict[str, str], tmp_path: Path
) -> None:
    async with at_desk(house, tokens) as desk, visiting(desk) as browser:
        unused = await link_for(desk, "A", ConsoleRole.APPROVER)
        assert (await browser.post(await link_for(desk, "B"), headers=FORM)).status_code == 303
        cookie = browser.cookies["qaqpa_console"]
    async with provider(tmp_path) as made:
        made.configure(house)
        async with at_desk(house, tokens) as desk, visiting(desk) as browser:
            assert (await browser.post(unused, headers=FORM)).status_code == 401
            page = await browser.get("/console/recipients", headers={"cookie": f"qaqpa_console={cookie}"})
            assert page.headers["location"] == "/console/signin"


async def test_breaking_the_glass_is_told_in_the_entry_and_by_an_alert(
    house: House, tokens: dict[str, str], openid: Provider
) -> None:
    house.edit("gateway.toml", ("[console.openid]\n", "[console.openid]\nbreak_glass = true\n"))
    async with at_desk(house, tokens) as desk, signed_in(desk, "A. Approver", ConsoleRole.REVIEWER) as visitor:
        [entry] = house.entries(desk.gateway, "control")
        assert entry["act"] == "break_glass_link"
        assert (entry["person"], entry["signs_in"], entry["roles"]) == (system_user(), "A. Approver", "reviewer")
        [alert] = await desk.gateway.alerts.listed("compliance")
        assert (alert.rule, alert.severity) == (Rule.BREAK_GLASS, Severity.URGENT)
        pages = [said((await visitor.get(f"/entries/{number}")).text) for number in range(2)]
        [page] = [each for each in pages if "A sign-in link was made beside the OpenID provider" in each]
        assert f"Who {system_user()} (Compliance)" in page
        assert "Who is let in A. Approver" in page and "Roles reviewer" in page


async def test_what_somebody_does_is_entered_with_their_account(signing: Desk, openid: Provider, house: House) -> None:
    await grown(house, signing.gateway)
    subject = await signing.gateway.ledger.subjects.find(PEOPLE[0].iin)
    assert subject is not None
    account = hashlib.sha256(f"{openid.issuer}\0boris".encode()).hexdigest()[:16]
    async with visiting(signing) as browser:
        out = await browser.get("/console/signin/openid")
        await browser.get(await openid.sign_in(out.headers["location"], "boris"))
        await browser.get("/console/ledger/entries")
        form = {
            "token": form_token(browser.cookies["qaqpa_console"]),
            "subject": str(subject.id),
            "reason": "by letter",
        }
        answer = await browser.post("/console/approvals/ask/erase", data=form, headers={"origin": ORIGIN})
        assert answer.status_code == 303
        every = house.entries(signing.gateway)
        numbers = [number for number, each in enumerate(every) if each["kind"] in {"control", "review"}]
        entries = [every[number] for number in numbers]
        assert {(each["person"], each["account"]) for each in entries} == {("Boris A.", account)}
        assert {each["kind"] for each in entries} == {"control", "review"}
        for number in numbers:
            assert f"Account {account}" in said((await browser.get(f"/console/entries/{number}")).text)
