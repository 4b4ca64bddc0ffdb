"""A draft of the policy beside the one in force, through a real gateway; `qaqpa policy diff` over what was entered."""

from __future__ import annotations

import io
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_canary import TELLING, files_under, find_in

from harness import (
    DEBTOR_FACTS,
    PEOPLE,
    House,
    both_engines,
    give_consent,
    handover_document,
    request,
)
from qaqpa import log
from qaqpa.errors import Blocked
from qaqpa.gateway import Gateway

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
