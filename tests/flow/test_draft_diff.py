"""`qaqpa policy diff` over what was entered, those months included that stand in files."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from test_draft import BUREAU, FIELD_LESS, LOOSER, STRICTER, drafted, hand_over, refused, with_draft

from harness import (
    DEBTOR_FACTS,
    PEOPLE,
    TODAY,
    House,
    both_engines,
    erase_as_two,
    give_consent,
    handover_document,
    request,
    request_document,
)
from qaqpa.gateway import Gateway
from qaqpa.gateway import replay as replaying
from qaqpa.gateway.setup import Drafted
from qaqpa.ledger.span import Span
from qaqpa.policy import Policy

PERSON, OTHER = PEOPLE[:2]


async def decisions(house: House, gateway: Gateway) -> None:
    """Decisions of every sort: permits, denies, gaps, names nobody knows, a suspension, consents that come and go."""
    old = await give_consent(house, gateway, PERSON, given_at=(house.clock() - timedelta(days=200)).isoformat())
    await refused(gateway, "loan-scoring", request_document(PERSON))
    await give_consent(house, gateway, PERSON)
    await gateway.disclose("loan-scoring", request(request_document(PERSON)))
    await refused(gateway, "loan-scoring", request_document(PERSON, consent=old.id))
    await refused(gateway, "loan-scoring", request_document(PERSON, consent="0" * 36))
    await refused(gateway, "loan-scoring", request_document(OTHER))
    await refused(gateway, "loan-scoring", request_document(OTHER, operation="no-such"))
    await refused(gateway, "nobody", request_document(OTHER, recipient="nowhere", purpose="nothing"))
    given = await give_consent(house, gateway, OTHER)
    await gateway.disclose("loan-scoring", request(request_document(OTHER, operation="score")))
    await gateway.withdraw_consent("loan-scoring", given.id, duties_met=False)
    await gateway.disclose("loan-scoring", request(request_document(OTHER)))
    await gateway.withdraw_consent("loan-scoring", given.id, duties_met=True)
    await refused(gateway, "loan-scoring", request_document(OTHER))
    await hand_over(gateway)
    await hand_over(gateway, days_overdue=101)
    lacking = handover_document(PERSON)
    del lacking["data"]["contract"]["number"]
    await refused(gateway, "collections", lacking)
    await refused(gateway, "collections", handover_document(PERSON, {"days_overdue": 0}))
    await gateway.suspend("compliance", "demo-collector", person="A. C.", reason="incident")
    await refused(gateway, "collections", handover_document(PERSON))
    await gateway.resume("compliance", "demo-collector", person="A. C.", reason="closed")


DECISIONS = 15


async def diff(house: House, draft: Path, *more: str) -> Any:
    ran = await house.cli("policy", "diff", str(draft), "--caller", "compliance", "--json", *more)
    assert ran.code == 0, ran.err
    return ran.json


@both_engines
async def test_under_the_policy_in_force_nothing_changes(house: House) -> None:
    async with house.gateway() as gateway:
        await decisions(house, gateway)
    found = await diff(house, house.config)
    assert (found["decisions"], found["same"], found["changed"]) == (DECISIONS, DECISIONS, 0)
    assert (found["cannot_be_told"], found["counts"], found["entries"]) == ({}, [], [])
    assert found["cannot_be_replayed"] == {"erased": 0, "unreadable": 0, "in_files": 0}
    ran = await house.cli("policy", "diff", str(house.config), "--caller", "compliance")
    assert ran.code == 0 and f"nothing changes  {DECISIONS} decisions replayed" in ran.out


@both_engines
async def test_a_diff_says_what_the_shadow_said(house: House) -> None:
    draft = with_draft(house, STRICTER, LOOSER, FIELD_LESS)
    async with house.gateway() as gateway:
        await decisions(house, gateway)
        loose = {**DEBTOR_FACTS, "settlement_steps_done": False, "days_overdue": 101}
        await refused(gateway, "collections", handover_document(PERSON, loose))
        undone = {**loose, "restructuring_pending": True, "days_overdue": 50}
        await refused(gateway, "collections", handover_document(PERSON, undone))
        noted = {
            entry["id"]: (entry["shadow"]["result"], entry["shadow"]["fields"])
            for entry in house.entries(gateway)
            if "shadow" in entry
        }
    found = await diff(house, draft)
    assert {each["disclosure"]: (each["to"], each["fields"]) for each in found["entries"]} == noted
    assert found["changed"] == len(noted) > 3
    assert sum(each["count"] for each in found["counts"]) == len(noted)
    changes = {each["change"] for each in found["counts"]}
    assert changes >= {"permit → deny", "deny → permit", "permit → permit", "deny → deny"}


async def test_a_diff_is_readable_and_is_a_look(house: House) -> None:
    async with house.gateway() as gateway:
        await decisions(house, gateway)
    draft = drafted(house, STRICTER)
    ran = await house.cli("policy", "diff", str(draft), "--caller", "compliance", "--since", TODAY.isoformat())
    assert ran.code == 0, ran.err
    async with house.gateway() as gateway:
        [intent, *_] = [each for each in house.entries(gateway, "intent") if each["recipient"] == "demo-collector"]
        [review] = house.entries(gateway, "review")
        assert gateway.setup.draft is None
    for text in (
        "permit → deny  collections → demo-collector: handover for debt_collection",
        "+days_overdue_positive (2.3(3))", intent["id"], intent["subject"], "contact.mobile", "3 change  15 decisions",
    ):  # fmt: skip
        assert text in ran.out, text
    assert (review["caller"], review["act"], review["selection"]["since"]) == (
        "compliance", "replay", TODAY.isoformat(),
    )  # fmt: skip
    assert (await house.cli("ledger", "verify")).code == 0


async def test_days_narrow_a_diff(house: House) -> None:
    async with house.gateway() as gateway:
        await decisions(house, gateway)
    today = house.clock().astimezone(gateway.policy.operator.time_zone).date()
    before, after = (today - timedelta(days=1)).isoformat(), (today + timedelta(days=1)).isoformat()
    for days, count in (
        (("--since", after), 0), (("--until", before), 0), (("--since", before, "--until", after), DECISIONS),
        (("--until", today.isoformat()), DECISIONS), (("--since", "0001-01-01", "--until", "9999-12-31"), DECISIONS),
    ):  # fmt: skip
        assert (await diff(house, house.config, *days))["decisions"] == count, days
    wrong = await house.cli(
        "policy", "diff", str(house.config), "--caller", "compliance", "--since", after, "--until", before
    )
    assert wrong.code == 2 and "--until" in wrong.err


@both_engines
async def test_months_in_files_are_replayed_from_there(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEBTOR_FACTS, "breach_notified_on", (TODAY - timedelta(days=120)).isoformat())
    now = house.clock.offset
    house.clock.offset = now - timedelta(days=31)
    async with house.gateway() as gateway:
        await decisions(house, gateway)
    house.clock.offset = now
    async with house.gateway() as gateway:
        await hand_over(gateway)
    draft = drafted(house, STRICTER, FIELD_LESS)
    before = await diff(house, draft)
    assert before["decisions"] == DECISIONS + 1 and before["changed"] >= 3
    month = (house.clock() - timedelta(days=31)).strftime("%Y-%m")
    folder = tmp_path / "months"
    said = ("--caller", "compliance", "--person", "A", "--reason", "room")
    moved = await house.cli("ledger", "archive", month, "--to", str(folder), *said)
    assert moved.code == 0, moved.err
    # Without the files what lies in them is counted, and the way to it is said.
    without = await diff(house, draft)
    assert without["decisions"] == 1 and without["cannot_be_replayed"]["in_files"] > DECISIONS
    told = await house.cli("policy", "diff", str(draft), "--caller", "compliance")
    assert "give --archives" in told.out
    # With them everything is as it was before they were moved, the policy that each decision was made under too.
    assert await diff(house, draft, "--archives", str(folder)) == before
    between = gateway.policy.day(house.clock() - timedelta(days=30)).isoformat()  # as commands read days
    for end, count in (("--until", DECISIONS), ("--since", 1)):
        assert (await diff(house, draft, "--archives", str(folder), end, between))["decisions"] == count
    # A file that was changed, cut short or is gone is not believed.
    [file] = folder.iterdir()
    whole = file.read_bytes()
    for harm in (whole.replace(b'"permit"', b'"denied"', 1).replace(b"demo-collector", b"demo-collectors", 1),
                 whole[: whole.rindex(b"\n", 0, -1) + 1], b"", None):  # fmt: skip
        file.unlink() if harm is None else file.write_bytes(harm)
        ran = await house.cli(
            "policy", "diff", str(draft), "--caller", "compliance", "--json", "--archives", str(folder)
        )
        assert ran.code == 6 and "verification" in ran.json["code"], ran.out[:300]


@pytest.mark.promise(7)
async def test_who_may_not_review_gets_no_diff(house: House) -> None:
    async with house.gateway() as gateway:
        await decisions(house, gateway)
    ran = await house.cli("policy", "diff", str(drafted(house, STRICTER)), "--caller", "loan-scoring")
    assert (ran.code, ran.out) == (1, "") and "not_allowed" in ran.err


@both_engines
async def test_people_who_were_erased_are_counted_and_not_replayed(house: House) -> None:
    async with house.gateway() as gateway:
        await decisions(house, gateway)
        await erase_as_two(gateway, "compliance", OTHER.iin, person="A. C.", reason="asked", duties_met=True)
        about = [each for kind in ("intent", "refusal") for each in house.entries(gateway, kind)]
        subject = await gateway.ledger.subjects.find(PERSON.iin)
        assert subject is not None
        erased = sum(each["subject"] != subject.id for each in about)
        await gateway.compliance.rotate_keys("compliance", person="A. C.", reason="r", progress=lambda *_: None)
    found = await diff(house, house.config)
    assert found["cannot_be_replayed"]["erased"] == erased > 3
    assert (found["changed"], found["same"]) == (0, DECISIONS - erased)


async def test_a_route_that_is_new_may_be_what_an_unknown_name_asked_for(house: House) -> None:
    async with house.gateway() as gateway:
        document = request_document(PERSON, recipient="new-bureau")
        await refused(gateway, "loan-scoring", document)
    draft = drafted(house)
    text = (draft / BUREAU).read_text().replace('id = "first-credit-bureau"', 'id = "new-bureau"')
    (draft / "recipients/new-bureau.toml").write_text(text)
    found = await diff(house, draft)
    assert (found["changed"], found["cannot_be_told"]) == (0, {"request.recipient": 1})


@both_engines
async def test_decisions_are_read_in_batches(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "BATCH", 3)
    async with house.gateway() as gateway:
        await decisions(house, gateway)
        same = as_draft(gateway.policy)
        seen: list[tuple[int, int]] = []
        tally = await gateway.compliance.replay(
            "compliance", same, Span(), lambda done, total: seen.append((done, total)), lambda _found: None
        )
    assert tally.decisions == tally.same == DECISIONS
    assert len(seen) == -(-DECISIONS // 3) and [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert all(done <= total for done, total in seen)


def as_draft(policy: Policy) -> Drafted:
    return Drafted(Path("in-force"), "digest", policy, ())


async def test_where_nothing_could_be_judged_it_is_not_said_that_nothing_changes(house: House) -> None:
    look = ("policy", "diff", str(house.config), "--caller", "compliance")
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        await erase_as_two(gateway, "compliance", PERSON.iin, person="A. C.", reason="asked", duties_met=True)
    told = await house.cli(*look)
    assert told.code == 0 and "nothing changes" not in told.out
    assert "cannot be told  1 decisions replayed" in told.out
    async with house.gateway() as gateway:
        await give_consent(house, gateway, OTHER)
        await gateway.disclose("loan-scoring", request(request_document(OTHER)))
    assert "nothing changes  2 decisions replayed, 1 as they were" in (await house.cli(*look)).out
