# long: the shadow and the diff must say the same, so both are tried over one history of decisions.
"""A draft of the policy beside the one in force, through a real gateway; `qaqpa policy diff` over what was entered."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from test_canary import TELLING, files_under, find_in

from harness import (
    DEBTOR_FACTS,
    PEOPLE,
    TODAY,
    House,
    both_engines,
    give_consent,
    handover_document,
    request,
    request_document,
)
from qaqpa import log
from qaqpa.errors import Blocked
from qaqpa.gateway import Gateway
from qaqpa.gateway import replay as replaying
from qaqpa.gateway.replay import Span
from qaqpa.gateway.setup import Drafted
from qaqpa.policy import Policy

PERSON, OTHER = PEOPLE[:2]
COLLECTOR = "recipients/demo-collector.toml"
BUREAU = "recipients/first-credit-bureau.toml"
STRICTER = ("policy/guards.toml", "contract.days_overdue > 0", "contract.days_overdue > 100")
LOOSER = (COLLECTOR, '    "settlement_steps_done",\n', "")
FIELD_MORE = (COLLECTOR, '    "contact.mobile",\n', '    "contact.mobile",\n    "contact.home_phone",\n')
FIELD_LESS = (COLLECTOR, '    "contact.mobile",\n', "")
MASKED = (COLLECTOR, '    "contact.mobile",\n', '    { path = "contact.mobile", as = "mask" },\n')
NEW_ROUTE = (COLLECTOR, 'caller = "collections"', 'caller = "loan-scoring"')
BROKEN = ("policy/guards.toml", "contract.days_overdue > 0", "contract.days_overdu > 0")


def drafted(house: House, *edits: tuple[str, str, str], name: str = "draft") -> Path:
    """A draft folder inside the configuration's: the policy in force with `edits`."""
    folder = house.config / name
    for part in ("policy", "recipients"):
        shutil.copytree(house.config / part, folder / part)
    for file, old, new in edits:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))
    return folder


def with_draft(house: House, *edits: tuple[str, str, str]) -> Path:
    """The same, named in gateway.toml."""
    folder = drafted(house, *edits)
    house.edit("gateway.toml", ("[store]", '[policy]\ndraft = "draft"\n\n[store]'))
    return folder


async def hand_over(gateway: Gateway, **facts: Any) -> None:
    await gateway.disclose("collections", request(handover_document(PERSON, {**DEBTOR_FACTS, **facts})))


async def refused(gateway: Gateway, caller: str, document: dict[str, Any]) -> None:
    with pytest.raises(Blocked):
        await gateway.disclose(caller, request(document))
    await asyncio.sleep(0.002)  # what came first is told by ids, and they by milliseconds


def shadows(house: House, gateway: Gateway, kind: str) -> list[Any]:
    return [entry.get("shadow") for entry in house.entries(gateway, kind)]


# --- beside the flow ---------------------------------------------------------------------------------


@both_engines
async def test_what_a_stricter_draft_would_stop_leaves_and_is_noted(house: House) -> None:
    with_draft(house, STRICTER)
    async with house.gateway() as gateway:
        await hand_over(gateway)
        await hand_over(gateway, days_overdue=101)
        assert gateway.setup.draft is not None
        [noted, none] = shadows(house, gateway, "intent")
        [intent, _] = house.entries(gateway, "intent")
        assert none is None
        assert noted == {
            "config": gateway.setup.draft.digest,
            "result": "deny",
            "reasons": [{"guard": "days_overdue_positive", "clause": "2.3(3)", "result": "deny"}],
            "fields": {"added": [], "removed": sorted(intent["fields"]), "changed": []},
        }
        assert gateway.shadow.differences == 1
        house.verified(gateway)
        # The sealed part still opens: the note is a part of what it is bound to.
        subject = await gateway.ledger.subjects.by_id(intent["subject"])
        assert subject.open(intent)["iin"] == PERSON.iin
    assert len(house.collector.calls) == 2
    shown = await house.cli("ledger", "show", "--caller", "compliance", "--kind", "intent")
    assert shown.out.count("draft: deny") == 1
    assert (await house.cli("ledger", "verify")).code == 0


@both_engines
async def test_what_a_looser_draft_would_let_go_stays_and_is_noted(house: House) -> None:
    with_draft(house, LOOSER)
    async with house.gateway() as gateway:
        await refused(
            gateway, "collections", handover_document(PERSON, {**DEBTOR_FACTS, "settlement_steps_done": False})
        )
        [noted] = shadows(house, gateway, "refusal")
        assert (noted["result"], noted["reasons"], noted["fields"]["removed"]) == ("permit", [], [])
        assert "contact.mobile" in noted["fields"]["added"] and "employment.employer" not in noted["fields"]["added"]
        house.verified(gateway)
    assert house.collector.connections == 0


FIELDS = {
    "more": (FIELD_MORE, {"added": ["contact.home_phone"], "removed": [], "changed": []}),
    "less": (FIELD_LESS, {"added": [], "removed": ["contact.mobile"], "changed": []}),
    "masked": (MASKED, {"added": [], "removed": [], "changed": ["contact.mobile"]}),
}


@pytest.mark.parametrize(("edit", "expected"), FIELDS.values(), ids=FIELDS)
async def test_a_field_more_or_less_is_noted_by_name(
    house: House, edit: tuple[str, str, str], expected: dict[str, list[str]]
) -> None:
    with_draft(house, edit)
    async with house.gateway() as gateway:
        await hand_over(gateway)
        [noted] = shadows(house, gateway, "intent")
        assert (noted["result"], noted["reasons"], noted["fields"]) == ("permit", [], expected)


async def test_a_gap_and_a_dry_run(house: House) -> None:
    with_draft(house, STRICTER)
    async with house.gateway() as gateway:
        facts = {key: value for key, value in DEBTOR_FACTS.items() if key != "days_overdue"}
        await refused(gateway, "collections", handover_document(PERSON, facts))
        assert (await gateway.decide("collections", request(handover_document(PERSON)))).shadow is None
        assert shadows(house, gateway, "refusal") == [None]


@pytest.mark.parametrize("draft", ["guards", "folder", "recipients", "bytes"])
async def test_a_broken_draft_stops_nothing(house: House, draft: str) -> None:
    folder = with_draft(house, BROKEN)
    if draft == "folder":
        shutil.rmtree(folder)
    elif draft == "recipients":
        shutil.rmtree(folder)
        shutil.copytree(house.config / "policy", folder / "policy")
    elif draft == "bytes":
        (folder / "policy/guards.toml").write_bytes(b"\xff\x00")
    logged = io.StringIO()
    log.configure(level=logging.INFO, stream=logged)
    try:
        async with house.gateway() as gateway:
            await hand_over(gateway)
            assert shadows(house, gateway, "intent") == [None]
    finally:
        log.configure()
    assert "the draft is not evaluated" in logged.getvalue()
    checked = await house.cli("check")
    assert checked.code == 0 and "in the draft" in checked.out and "No problems." in checked.out
    problems = (await house.cli("check", "--json")).json["draft"]["problems"]
    assert problems and all(str(folder) in each for each in problems)
    if draft == "guards":
        assert f"{folder}/policy/guards.toml:" in checked.out and "contract.days_overdu" in checked.out
    refused = await house.cli("policy", "diff", str(folder), "--caller", "compliance")
    assert refused.code == 2 and "in the configuration" in refused.err


async def test_check_says_that_a_draft_is_evaluated(house: House) -> None:
    assert (await house.cli("check", "--json")).json["draft"] is None
    folder = with_draft(house, STRICTER)
    assert f"The draft in {folder} has no problems" in (await house.cli("check")).out
    assert (await house.cli("check", "--json")).json["draft"]["problems"] == []


async def test_a_draft_that_raises_stops_nothing(house: House) -> None:
    class Broken(dict[Any, Any]):
        def get(self, *_given: Any) -> Any:
            raise ArithmeticError(PERSON.iin)

    with_draft(house, STRICTER)
    logged = io.StringIO()
    log.configure(level=logging.INFO, stream=logged)
    try:
        async with house.gateway() as gateway:
            drafted = gateway.setup.draft
            assert drafted is not None and drafted.policy is not None
            gateway.shadow._drafted = replace(drafted, policy=replace(drafted.policy, routes=Broken()))
            await hand_over(gateway)
            await refused(gateway, "collections", handover_document(PERSON, {**DEBTOR_FACTS, "days_overdue": 0}))
            assert gateway.shadow.failures == {"ArithmeticError": 2}
            assert shadows(house, gateway, "intent") + shadows(house, gateway, "refusal") == [None, None]
    finally:
        log.configure()
    assert "ArithmeticError" in logged.getvalue() and PERSON.iin not in logged.getvalue()
    assert len(house.collector.calls) == 1


@pytest.mark.promise(2)
async def test_nothing_personal_is_noted_or_listed(house: House) -> None:
    with_draft(house, STRICTER, FIELD_LESS)
    logged = io.StringIO()
    log.configure(level=logging.DEBUG, stream=logged)
    try:
        async with house.gateway() as gateway:
            await give_consent(house, gateway, PERSON)
            await hand_over(gateway, number="MK-2026-777")
            await hand_over(gateway, days_overdue=101)
            await refused(gateway, "collections", handover_document(PERSON, {**DEBTOR_FACTS, "days_overdue": 0}))
            noted = shadows(house, gateway, "intent") + shadows(house, gateway, "refusal")
            assert [each is not None for each in noted] == [True, True, False]
            values = {**TELLING, "contract number as stated": "MK-2026-777"}
            assert find_in(iter([("shadow", json.dumps(noted).encode())]), values) == []
        told = [await house.cli("policy", "diff", str(house.config / "draft"), "--caller", "compliance", *form)
                for form in ((), ("--json",))]  # fmt: skip
        assert [each.code for each in told] == [0, 0]
        places = [("out", (each.out + each.err).encode()) for each in told]
        assert find_in(iter([*places, ("log", logged.getvalue().encode())]), values) == []
        assert find_in(files_under(house.home), values) == []
    finally:
        log.configure()


# --- replayed ----------------------------------------------------------------------------------------


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
    between = (house.clock() - timedelta(days=30)).date().isoformat()
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
        await gateway.compliance.erase("compliance", OTHER.iin, person="A. C.", reason="asked", duties_met=True)
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
