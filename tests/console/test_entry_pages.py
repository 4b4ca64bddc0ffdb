"""Pages of entries say what is true: what belongs to an entry, what an act did, by which wording it was decided."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from desk import Desk, at_desk
from harness import PEOPLE, House, give_consent, grown, request, request_document
from qaqpa.config.models import ConsoleRole
from qaqpa.console.names import APPROVALS, CAME
from qaqpa.console.sections import ROLES
from qaqpa.gateway import Gateway
from qaqpa.ledger.agreed import Act
from qaqpa.ledger.catalogue import catalogue_more
from qaqpa.ledger.integrate import integrate_all
from qaqpa.model.actors import LINK, called
from qaqpa.model.recall import RecallReason
from qaqpa.recall.asking import Asking
from qaqpa.service.tokens import make_for
from qaqpa.translation import translator
from visitor import SignIn, said, signed_in

MOVED = "lies in a file of a month that was moved"
ANNA = called("Anna", LINK)
BORIS = called("Boris", LINK)


def entry_of(house: House, gateway: Gateway, kind: str, act: str | None = None) -> int:
    """The number of the last such entry."""
    found = house.entries(gateway)
    return max(n for n, each in enumerate(found) if each["kind"] == kind and act in {None, each.get("act")})


async def test_nothing_is_said_to_lie_in_a_file_while_no_month_was_moved(
    console: SignIn, desk: Desk, house: House
) -> None:
    gateway, reader = desk.gateway, await console()
    said_by = {"caller": "compliance", "person": "Anna", "reason": "tests"}
    await make_for(gateway, "loan-scoring", lifetime=timedelta(days=1), **said_by)
    approvals = gateway.approvals
    await grown(house, gateway)
    subject = await gateway.ledger.subjects.find(PEOPLE[0].iin)
    assert subject is not None
    await approvals.ask("compliance", ANNA, Act.ERASE, {"subject": str(subject.id)}, "by letter")
    for act in ("make_token", "ask_approval"):
        page = (await reader.get(f"/entries/{entry_of(house, gateway, 'control', act)}")).text
        assert MOVED not in page, act


async def test_what_a_file_holds_is_said_to_lie_there(
    console: SignIn, desk: Desk, house: House, tmp_path: Path
) -> None:
    gateway = desk.gateway
    house.clock.offset = timedelta(days=-40)
    await give_consent(house, gateway, PEOPLE[0])
    done = await gateway.disclose("loan-scoring", request(request_document(PEOPLE[0])))
    month = house.clock()
    house.clock.offset = timedelta(0)
    asking = Asking(caller=None, person="Anna", by_letter=True)
    await gateway.recalls.start("compliance", done.id, RecallReason.ERROR, asking)
    number = entry_of(house, gateway, "recall")
    reader = await console()
    assert MOVED not in (await reader.get(f"/entries/{number}")).text
    await integrate_all(gateway.store)
    await catalogue_more(gateway.store, gateway.setup.config.gateway.operator.utc_offset_hours)
    await gateway.compliance.archive(
        "compliance", month.year * 100 + month.month, tmp_path / "files", person="Anna", reason="room"
    )
    assert f"{done.id} {MOVED}" in said((await reader.get(f"/entries/{number}")).text)


async def test_the_page_of_an_act_says_what_was_done(console: SignIn, desk: Desk, house: House) -> None:
    gateway = desk.gateway
    reader = await console(ConsoleRole.REVIEWER, ConsoleRole.APPROVER, person="Anna", language="ru")
    await grown(house, gateway)
    subject = await gateway.ledger.subjects.find(PEOPLE[0].iin)
    assert subject is not None
    linked = said((await reader.get(f"/entries/{entry_of(house, gateway, 'control', 'console_link')}")).text)
    roles = sorted((ConsoleRole.REVIEWER, ConsoleRole.APPROVER))
    words = translator("console", "ru")
    assert f"Роли {', '.join(words.gettext(ROLES[each]) for each in roles)}" in linked
    await make_for(
        gateway, "loan-scoring", lifetime=timedelta(days=1), caller="compliance", person="Anna", reason="tests"
    )
    made = said((await reader.get(f"/entries/{entry_of(house, gateway, 'control', 'make_token')}")).text)
    name = gateway.policy.callers["loan-scoring"].name.ru
    assert f"Кто запросил {name}" in made
    approvals = gateway.approvals
    approval = await approvals.ask("compliance", ANNA, Act.ERASE, {"subject": str(subject.id)}, "by letter")
    await approvals.agree("compliance", BORIS, approval.id, reason="seen")
    for act in ("ask_approval", "agree"):
        page = (await reader.get(f"/entries/{entry_of(house, gateway, 'control', act)}")).text
        assert f'href="/console/people/{subject.id}"' in page and 'href="/console/approvals"' in page
        assert words.gettext(APPROVALS[Act.ERASE]) in said(page)
    await reader.get("/disclosures", since="2026-01-01", result="deny", reason="route_known")
    look = said((await reader.get(f"/entries/{entry_of(house, gateway, 'review', 'search')}")).text)
    shown = look.partition(words.gettext("Proof"))[0]
    assert "1 января 2026" in shown and words.gettext(CAME["deny"][0]) in shown
    assert "since" not in shown and "route_known" not in shown and "deny" not in shown


async def test_a_decision_is_explained_by_the_wording_of_then(console: SignIn, desk: Desk, house: House) -> None:
    await give_consent(house, desk.gateway, PEOPLE[0])
    done = await desk.gateway.disclose("loan-scoring", request(request_document(PEOPLE[0])))
    number = next(n for n, each in enumerate(house.entries(desk.gateway)) if each["id"] == done.id)
    reader = await console()
    assert "This is today's wording" not in (await reader.get(f"/entries/{number}")).text
    clause = house.config / "policy/clauses.toml"
    text = clause.read_text()
    clause.write_text(text.replace('en = "', 'en = "Anew: ', 1))
    async with at_desk(house, {}) as later, signed_in(later, "Anna", ConsoleRole.REVIEWER) as anna:
        page = (await anna.get(f"/entries/{number}")).text
    assert "This is today's wording. It was decided by version" in page
