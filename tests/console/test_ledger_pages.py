"""The ledger in the console: checkpoint and witnesses, entries by kind and day, unknown ends, stories of every kind."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import UTC, date, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from desk import PERSON, Desk
from harness import (
    PEOPLE,
    House,
    both_engines,
    erase_as_two,
    give_consent,
    grown,
    handover_document,
    request,
    request_document,
)
from qaqpa.config.models import ConsoleRole
from qaqpa.console.signed import Witnessed, witnessed
from qaqpa.gateway.upkeep import checkpointed
from qaqpa.ledger.catalogue import catalogue_more
from qaqpa.ledger.checkpoints import opened
from qaqpa.ledger.entries import Kind
from qaqpa.model.words import OutcomeResult, timestamp
from qaqpa.testing.faults import Fault
from qaqpa.tlog.notes import Algorithm, Note, VerifierKey, cosign
from visitor import Visitor, signed_in

HOSTILE = "<script>alert(1)</script>"


def numbers(page: str) -> list[int]:
    found = re.findall(r'scope="row" class="number"><a href="/console/entries/(\d+)"', page)
    return [int(each) for each in found]


async def walked(visitor: Visitor, path: str) -> list[int]:
    """Every entry that a list leads to, page by page."""
    found: list[int] = []
    while path:
        page = (await visitor.get(path)).text
        found += numbers(page)
        further = re.search(r'href="/console([^"]+)" rel="next"', page)
        path = further[1].replace("&amp;", "&") if further else ""
    return found


async def test_the_last_checkpoint_is_shown_and_given_out(desk: Desk, house: House) -> None:
    await grown(house, desk.gateway, 2)
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
        await checkpointed(desk.gateway.upkeep)
        page = (await anna.get("/ledger")).text
        note = (await anna.get("/ledger/checkpoint")).content
        _, checkpoint = opened(note, desk.gateway.setup.log_key)
        assert checkpoint.root.hex() in page and str(desk.gateway.setup.log_key) in page
        assert "none is configured" in page and "qaqpa ledger verify" in page
        assert numbers((await anna.get("/ledger/entries")).text)


@both_engines
async def test_entries_are_listed_by_kind_and_do_not_move_while_others_come(
    desk: Desk, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qaqpa.console.ledger._COUNT", 3)
    await grown(house, desk.gateway, 4)
    before = house.entries(desk.gateway)
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
        # Each page that is looked at appends an entry; those that were there come each once, the latest first.
        found = await walked(anna, "/ledger/entries")
        assert [each for each in found if each < len(before)] == list(range(len(before)))[::-1]
        for kind in Kind:
            of_kind = [n for n, each in enumerate(before) if each["kind"] == kind]
            found = await walked(anna, f"/ledger/entries?kind={kind}")
            assert [each for each in found if each < len(before)] == of_kind[::-1], kind
        for wrong in ("kind=x", "before=x", "since=1", f"before={'9' * 30}"):
            assert (await anna.get(f"/ledger/entries?{wrong}")).status_code == 400, wrong
        looks = [each for each in house.entries(desk.gateway, "review") if each["act"] == "list"]
        assert {each["person"] for each in looks} == {"Anna"}


@both_engines
async def test_entries_are_listed_by_day(desk: Desk, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qaqpa.console.ledger._COUNT", 3)
    gateway, days = desk.gateway, list[date]()
    for person in range(3):
        await give_consent(house, gateway, PEOPLE[person])
        days.append(gateway.policy.day(house.clock()))
        house.clock.offset += timedelta(days=1)
    dated = [gateway.policy.day(datetime.fromisoformat(each["time"])).isoformat() for each in house.entries(gateway)]
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
        for day in days:
            found = await walked(anna, f"/ledger/entries?since={day}&until={day}")
            assert found == [n for n, each in enumerate(dated) if each == str(day)][::-1], day
        found = await walked(anna, f"/ledger/entries?since={days[1]}&until={days[2]}&kind=consent")
        assert len(found) == 2
        assert await walked(anna, "/ledger/entries?until=2001-01-01") == []
        assert numbers((await anna.get("/ledger/entries?since=2001-01-01")).text)


async def test_what_ended_unknown_is_settled_by_two_persons(desk: Desk, house: House) -> None:
    await give_consent(house, desk.gateway, PERSON)
    house.fcb.fail_next(Fault.CUT_CONNECTION)
    with pytest.raises(Exception):  # noqa: B017 - whatever it ended as
        await desk.gateway.disclose("loan-scoring", request(request_document(PERSON)))
    (unknown,) = await desk.gateway.compliance.unsettled("compliance")
    async with (
        signed_in(desk, "Anna", ConsoleRole.APPROVER) as anna,
        signed_in(desk, "Bella", ConsoleRole.APPROVER) as bella,
        signed_in(desk, "Vera", ConsoleRole.REVIEWER) as vera,
    ):
        assert "/approvals/ask/settle" not in (await vera.get("/ledger")).text
        page = (await anna.get("/ledger")).text
        form = re.search(r'action="/console(/approvals/ask/settle)">(.*?)</form>', page, re.DOTALL)
        assert form is not None and f'value="{unknown.disclosure}"' in form[2]
        assert set(re.findall(r'name="(\w+)"', form[2])) == {"token", "disclosure", "result", "reason"}
        settled = {"disclosure": unknown.disclosure, "result": "not_sent", "reason": "the bureau says so"}
        assert (await anna.post(form[1], **settled)).status_code == 303
        assert house.entries(desk.gateway, "outcome")[-1]["result"] == OutcomeResult.UNKNOWN
        approval = re.search(r"/approvals/([\w-]+)/agree", (await bella.get("/approvals")).text)
        assert approval is not None
        assert (await bella.post(f"/approvals/{approval[1]}/agree", reason="seen")).status_code == 303
        assert unknown.disclosure not in (await anna.get("/ledger")).text
        assert await desk.gateway.compliance.unsettled("compliance") == []


async def test_every_kind_of_entry_tells_its_story(desk: Desk, house: House) -> None:
    gateway = desk.gateway
    consent = await give_consent(house, gateway, PERSON)
    await gateway.disclose("loan-scoring", request(request_document(PERSON)))
    await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=True)
    await gateway.disclose("collections", request(handover_document(PERSON)))
    said = {"person": "A. Compliance", "reason": f"asked {HOSTILE}"}
    await erase_as_two(gateway, "compliance", PERSON.iin, duties_met=True, **said)
    stories = {
        "consent": ("A person&#39;s consent was recorded", f"/console/consents/{consent.id}", "one-time code"),
        "withdrawal": ("withdrew a consent", "withdrawn, in effect"),
        "erasure": ("their key was deleted", "asked &lt;script&gt;", "by the next rotation"),
        "policy": ("From here on decisions are made", "in force from"),
        "outcome": ("What came of a disclosure.", "delivered"),
    }
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
        for kind, wanted in stories.items():
            index = next(n for n, each in enumerate(house.entries(gateway)) if each["kind"] == kind)
            page = await anna.get(f"/entries/{index}")
            assert page.status_code == 200, kind
            story = page.text.split("What belongs to it")[0].split("Proof</h2>")[0]
            for each in wanted:
                assert each in story, (kind, each)
            assert HOSTILE not in page.text and PERSON.iin not in page.text
        for index in range(len(house.entries(gateway))):
            assert (await anna.get(f"/entries/{index}")).status_code == 200
        page = (await anna.get("/ledger/entries")).text
        assert HOSTILE not in page
    while not await catalogue_more(gateway.store, 5):
        pass


async def test_what_witnesses_say_is_told_apart() -> None:
    text = "mfo.example/disclosures\n7\n" + b64encode(bytes(32)).decode() + "\n"
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    key = VerifierKey("witness.example", Algorithm.COSIGNATURE, public)
    other = VerifierKey("other.example", Algorithm.COSIGNATURE, public)
    at = datetime(2026, 11, 23, 10, tzinfo=UTC)
    note = Note(text, (cosign(text, key, private.sign, int(at.timestamp())),))
    found = witnessed(note, key)
    assert found == Witnessed("witness.example", at)
    assert found.late_s(timestamp(at - timedelta(seconds=90))) == 90
    assert found.late_s(timestamp(at + timedelta(seconds=2))) == 0, "its clock goes before ours"
    assert witnessed(note, other) == Witnessed("other.example", None)
    forged = Note(text.replace("7", "8"), note.signatures)
    assert witnessed(forged, key) == Witnessed("witness.example", None, is_valid=False)


async def test_an_entry_is_found_by_its_number(desk: Desk, house: House) -> None:
    await grown(house, desk.gateway)
    async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
        assert (await anna.get("/entries?index=1")).headers["location"] == "/console/entries/1"
        for wrong in ("x", "", "-1", "9" * 4_000):
            assert (await anna.get("/entries", index=wrong)).status_code in {400, 404}, wrong
