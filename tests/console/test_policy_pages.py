"""The policy pages: what they say is what decides, in three languages, and nothing in a stored text is markup."""

from __future__ import annotations

import html
import shutil
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from desk import Desk, at_desk, tokens_for
from harness import PEOPLE, House, give_consent, handover_document, request, request_document
from qaqpa.config.models import ConsoleRole
from qaqpa.console.names import TABLES
from qaqpa.model.vocabulary import VOCABULARY
from qaqpa.tables.headings import HEADINGS
from qaqpa.translation import translator
from visitor import SignIn, Visitor, said, signed_in

PAGES = (
    "/policy", "/policy/matrix", "/policy/fields", "/policy/fields/identity.iin", "/policy/fields/related.mobile",
    "/policy/conditions", "/policy/conditions/borrower_notified", "/policy/conditions/consent_covers",
    "/policy/clauses", "/policy/versions", "/policy/draft", "/policy/shadow",
)  # fmt: skip
COLLECTOR = "recipients/demo-collector.toml"


@pytest.mark.parametrize("language", ["en", "ru", "kk"])
async def test_each_page_stands_in_each_language(console: SignIn, language: str) -> None:
    browser = await console(language=language)
    for path in PAGES:
        answer = await browser.get(path)
        assert answer.status_code == 200, path
        assert f'<html lang="{language}">' in answer.text


@pytest.mark.parametrize("language", ["en", "ru", "kk"])
async def test_whoever_reads_the_policy_reads_every_route_with_all_that_it_asks(
    console: SignIn, desk: Desk, language: Any
) -> None:
    page = (await (await console(language=language)).get("/policy")).text
    words, policy = translator("console", language), desk.gateway.policy
    assert len(policy.routes) > 10
    for asked, route in policy.routes.items():
        name = f"{asked.caller}.{asked.recipient}.{asked.operation}.{asked.purpose}"
        card = said(page.partition(f'id="{name}"')[2].partition("</section>")[0])
        assert words.gettext(TABLES["GROUNDS"][route.ground]) in card, name
        for path in (*route.fields, *route.returns):
            assert HEADINGS[path].in_language(language) in card, (name, path)
        for guard in route.guards:
            assert guard.config.expect.in_language(language) in card, (name, guard.name)
        for clause in route.clauses:
            if clause != policy.purposes[route.purpose]:
                assert policy.clauses[clause].in_language(language) in card, (name, clause)
        for path in VOCABULARY:
            if path not in route.fields and path not in route.returns:
                assert f"/policy/fields/{path}&" not in card


async def test_a_purpose_without_a_route_is_said_to_let_nothing_out(console: SignIn, desk: Desk) -> None:
    page = (await (await console()).get("/policy")).text
    policy = desk.gateway.policy
    nothing = said(page.partition("Purposes for which nothing leaves</h2>")[2])
    used = {asked.purpose for asked in policy.routes}
    for purpose, clause in policy.purposes.items():
        assert (policy.clauses[clause].en in nothing) == (purpose not in used), purpose


async def test_fields_that_no_route_uses_are_seen(console: SignIn, desk: Desk) -> None:
    browser = await console()
    page = (await browser.get("/policy/fields")).text
    routes = desk.gateway.policy.routes.values()
    unused = [path for path in VOCABULARY if not any(path in route.fields or path in route.returns for route in routes)]
    assert "related.mobile" in unused
    assert page.count("no route uses it") == len(unused)
    assert "Nobody: no route passes it" in (await browser.get("/policy/fields/related.mobile")).text
    passed = said((await browser.get("/policy/fields/contact.mobile")).text)
    assert "Collections → Demonstration collection agency: debt file handed over" in passed
    assert "First credit bureau: credit report" not in passed


async def test_the_matrix_marks_a_cell_for_each_field_of_each_route(console: SignIn, desk: Desk) -> None:
    browser = await console()
    page = (await browser.get("/policy/matrix")).text
    routes = desk.gateway.policy.routes.values()
    rules = [rule for route in routes for rule in route.fields.values()]
    assert page.count('<span class="mark good">leaves</span>') == sum(rule.transform is None for rule in rules)
    assert page.count('<td><span class="mark">') == sum(rule.transform is not None for rule in rules)
    only = (await browser.get("/policy/matrix", recipient="pension-center")).text
    assert only.count('<span class="mark good">leaves</span>') == 1
    assert "No route fits." in (await browser.get("/policy/matrix", recipient="<script>")).text


async def test_a_condition_says_when_it_applies_and_who_asks_for_it(console: SignIn) -> None:
    browser = await console()
    over = said((await browser.get("/policy/conditions/moratorium_on_agencies")).text)
    assert "up to 1 May 2026, that day included over" in over
    assert "56-V art. 9-1" in over
    law = said((await browser.get("/policy/conditions/consent_covers")).text)
    assert "no configuration can take it away" in law
    assert "First credit bureau: credit report" in law
    assert "handover of a debtor's file" not in law


@pytest.mark.parametrize(
    "path", ["/policy/fields/identity.nobody", "/policy/conditions/<script>", "/policy/conditions/__class__"]
)
async def test_what_there_is_not_is_not_found(console: SignIn, path: str) -> None:
    answer = await (await console()).get(path)
    assert answer.status_code == 404
    assert "<script>alert" not in answer.text


async def test_versions_say_what_begins_and_ends_by_itself(console: SignIn) -> None:
    page = said((await (await console()).get("/policy/versions")).text)
    assert "1 January 2025 Version 2025-01 of the policy begins." in page
    assert "2 May 2026 Begins to be demanded: Payment is at least 24 months overdue" in page
    assert "Last day of the agreement with this recipient, after which nothing is sent: First credit bureau" in page


EARLIER = """
[[versions]]
id = "2024-06"
from = 2024-06-01
sha256 = "5e2e1291cb76625f047b7cff419ff88eb3a88782695c242eeb642106d0abd16e"
title = { ru = "Р", kk = "К", en = "<script>alert(1)</script>" }
"""


async def test_what_a_version_changed_is_told_where_the_one_before_was_kept(house: House) -> None:
    for folder in ("policy", "recipients"):
        shutil.copytree(house.config / folder, house.config / "kept" / folder)
    house.edit(f"kept/{COLLECTOR}", ('    "contact.mobile",\n', ""))
    house.edit("policy/policy.toml", ("version = 1\n", "version = 1\n" + EARLIER + 'kept = "kept"\n'))
    async with at_desk(house, await tokens_for(house)) as desk, reader(desk) as browser:
        page = (await browser.get("/policy/versions/2025-01")).text
        assert "Leaves in addition: Mobile phone lets more out" in said(page)
        assert "Against version 2024-06, in force from 1 June 2024" in said(page)
        assert "The agreement with this recipient begins" not in said(page)
        first = (await browser.get("/policy/versions/2024-06")).text
        assert "It is the first version." in first
        assert "<script>alert" not in first
        assert (await browser.get("/policy/versions/2026-01")).status_code == 404


@pytest.mark.parametrize(("kept", "told"), [("", "were not kept"), ('kept = "nowhere"', "cannot be read")])
async def test_what_was_not_kept_is_not_told(house: House, kept: str, told: str) -> None:
    house.edit("policy/policy.toml", ("version = 1\n", "version = 1\n" + EARLIER + kept + "\n"))
    async with at_desk(house, await tokens_for(house)) as desk, reader(desk) as browser:
        page = said((await browser.get("/policy/versions/2025-01")).text)
        assert told in page
        assert "Both say the same" not in page


# --- the draft ---------------------------------------------------------------------------------------


def draft_of(house: House) -> Path:
    """A draft that says the same as the policy in force."""
    for folder in ("policy", "recipients"):
        shutil.copytree(house.config / folder, house.config / "draft" / folder)
    path = house.config / "gateway.toml"
    path.write_text(path.read_text() + '\n[policy]\ndraft = "draft"\n')
    return house.config / "draft"


def reader(desk: Desk) -> AbstractAsyncContextManager[Visitor]:
    """Someone who reads pages of this desk."""
    return signed_in(desk, "A", ConsoleRole.REVIEWER, language="en")


async def test_a_draft_is_told_in_words_and_so_is_what_it_would_have_decided(house: House) -> None:
    draft_of(house)
    house.edit(f"draft/{COLLECTOR}", ('    "contact.mobile",\n', ""), ('    "no_suit_pending",\n', ""))
    async with at_desk(house, await tokens_for(house)) as desk, reader(desk) as browser:
        page = said((await browser.get("/policy/draft")).text)
        assert "Does not leave any more: Mobile phone lets less out" in page
        assert "No longer asked: No suit or notary's writ on the debt is pending. no_suit_pending lets more out" in page
        await desk.gateway.disclose("collections", request(handover_document(PEOPLE[0])))
        await give_consent(house, desk.gateway, PEOPLE[1])
        await desk.gateway.disclose("loan-scoring", request(request_document(PEOPLE[1])))
        shadow = said((await browser.get("/policy/shadow")).text)
        assert "2 decisions; on 1 of them a draft differed" in shadow
        assert "permitted permitted Would stay: Mobile phone" in shadow
        looks = [entry for entry in house.entries(desk.gateway, "review") if entry["act"] == "shadows"]
        assert [look["person"] for look in looks] == ["A"]


async def test_a_draft_with_problems_says_them_and_nothing_in_it_is_markup(house: House) -> None:
    draft_of(house)
    house.edit("draft/policy/guards.toml", ("contract.days_overdue > 0", "contract.<script>alert(1)</script> > 0"))
    async with at_desk(house, await tokens_for(house)) as desk, reader(desk) as browser:
        page = (await browser.get("/policy/draft")).text
        assert "The draft has problems" in page
        assert "policy/guards.toml" in page
        assert "<script>alert" not in page


async def test_texts_of_the_configuration_are_no_markup(house: House) -> None:
    bad = "<script>alert(1)</script> 100% %(name)s {{ 7 * 7 }}"
    house.edit(COLLECTOR, ("protection of the person's data until they are destroyed (5.5)", bad))
    house.edit("policy/guards.toml", ('instrument = "62-VI art. 4"', f'instrument = "{bad}"'))
    async with at_desk(house, await tokens_for(house)) as desk, reader(desk) as browser:
        for path in ("/policy", "/policy/conditions", "/policy/conditions/collector_clause_in_contract"):
            answer = await browser.get(path)
            assert answer.status_code == 200
            assert "<script>alert" not in answer.text
            assert html.escape("100% %(name)s {{ 7 * 7 }}") in answer.text


@pytest.mark.parametrize("before", ["-1", "x", "9" * 17, "１"])
async def test_a_place_in_the_ledger_is_a_number(console: SignIn, before: str) -> None:
    assert (await (await console()).get("/policy/shadow", before=before)).status_code == 400
