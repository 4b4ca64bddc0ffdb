"""A report that was paid for serves again while it is fresh, also for those who ask while it is on its way."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from test_draft import drafted
from test_draft_diff import diff
from test_first_answers import forgotten

from harness import PEOPLE, House, both_engines, erase_as_two, give_consent, request, request_document
from qaqpa.errors import Denied, Rejected, RequestInFlight, ThirdPartyFault
from qaqpa.gateway import Gateway
from qaqpa.ledger import Ledger
from qaqpa.ledger.entries import Draft, Kind
from qaqpa.model.disclosure import Disclosure
from qaqpa.testing.faults import Fault

PERSON, OTHER = PEOPLE[:2]
CALLER = "loan-scoring"
BUREAU = "recipients/first-credit-bureau.toml"
DEBTS = 'operation = "debt_burden"\npurpose = "application_review"'


async def ask(gateway: Gateway, key: str | None = None, person: Any = PERSON, **changes: Any) -> Disclosure:
    return await gateway.disclose(CALLER, request(request_document(person, **changes)), idempotency_key=key)


@pytest.fixture
def reusing(house: House) -> House:
    house.edit(BUREAU, (DEBTS, f'{DEBTS}\nreuse_for = "24h"'))
    return house


async def debts(gateway: Gateway, key: str | None = None, **changes: Any) -> Disclosure:
    return await ask(gateway, key, operation="debt_burden", **changes)


@both_engines
async def test_a_fresh_report_serves_again_without_a_disclosure(reusing: House) -> None:
    async with reusing.gateway() as gateway:
        await give_consent(reusing, gateway, PERSON)
        first = await debts(gateway)
        again = await debts(gateway, "k")
        assert again.reused and not first.reused
        assert (again.id, again.report, again.returned) == (first.id, first.report, first.returned)
        assert (again.intent_index, again.outcome_index) == (first.intent_index, first.outcome_index + 1)
        [entry] = reusing.entries(gateway, "reused")
        assert entry["disclosure"] == first.id and entry["clauses"] == list(first.decision.clauses)
        [intent] = reusing.entries(gateway, "intent")
        for name in ("guards", "notes", "consent", "fields", "withheld", "policy", "ground"):
            assert entry[name] == intent[name], name
        subject = await gateway.ledger.subjects.find(PERSON.iin)
        assert subject is not None
        assert subject.open(entry) == {"iin": PERSON.iin, "stated": subject.open(intent)["stated"]}
        assert await debts(gateway, "k") == again, "the same key gets its own answer, not the first disclosure's"
        assert len(reusing.fcb.calls) == len(reusing.entries(gateway, "intent")) == 1
        assert len(reusing.entries(gateway, "reused")) == 1, "the same key is answered, not served again"
        reusing.verified(gateway)


@both_engines
async def test_it_serves_only_the_same_question_while_it_is_fresh_and_allowed(reusing: House) -> None:
    async with reusing.gateway() as gateway:
        consent = await give_consent(reusing, gateway, PERSON)
        await debts(gateway)
        other_name = request_document(PERSON, operation="debt_burden")
        other_name["data"]["identity"]["last_name"] = "Другая"
        assert not (await gateway.disclose(CALLER, request(other_name))).reused
        assert not (await ask(gateway, operation="score")).reused
        assert not (await ask(gateway, operation="score")).reused, "a route that does not say so"
        reusing.clock.offset += timedelta(hours=23)
        assert (await debts(gateway)).reused
        reusing.clock.offset += timedelta(hours=2)
        assert not (await debts(gateway)).reused
        assert (await debts(gateway)).reused
        await gateway.withdraw_consent(CALLER, consent.id, duties_met=True)
        with pytest.raises(Denied):
            await debts(gateway)
        reusing.verified(gateway)


async def test_a_route_that_became_narrower_cuts_the_old_report_too(reusing: House) -> None:
    async with reusing.gateway() as gateway:
        await give_consent(reusing, gateway, PERSON)
        assert "monthly_income" in (await debts(gateway)).report
    path = reusing.config / "recipients/first-credit-bureau.toml"
    path.write_text(path.read_text().replace('"report.monthly_income", ', ""))
    async with reusing.gateway() as gateway:
        for _ in range(2):
            again = await debts(gateway, "k")
            assert again.reused and "monthly_income" not in again.report and "report.monthly_income" in again.cut


@pytest.mark.promise(5)
async def test_after_erasure_a_report_serves_nobody(reusing: House, tmp_path: Path) -> None:
    async with reusing.gateway() as gateway:
        await give_consent(reusing, gateway, PERSON)
        first = await debts(gateway)
        await erase_as_two(gateway, "compliance", PERSON.iin, person="A", reason="asked", duties_met=True)
        await give_consent(reusing, gateway, PERSON)
        again = await debts(gateway)
        assert not again.reused and again.id != first.id


async def test_the_same_key_gets_what_it_got_for_as_long_as_answers_are_kept(reusing: House) -> None:
    reusing.edit("gateway.toml", ("[ledger]", '[service]\nanswers_kept_for = "3h"\n\n[ledger]'))
    async with reusing.gateway() as gateway:
        await give_consent(reusing, gateway, PERSON)
        first = await debts(gateway, "a")
        reusing.clock.offset += timedelta(hours=23)
        less = request_document(PERSON, operation="debt_burden")
        less["data"] = {"identity": less["data"]["identity"]}
        again = await gateway.disclose(CALLER, request(less), idempotency_key="b")
        assert again.reused and again.decision.at - first.decision.at > timedelta(hours=22)
        assert set(again.withheld) < set(first.withheld)
        reusing.clock.offset += timedelta(hours=2)  # the first report is not fresh any more
        await forgotten(gateway)
        assert await gateway.disclose(CALLER, request(less), idempotency_key="b") == again
        assert len(reusing.fcb.calls) == 1 and len(reusing.entries(gateway, "reused")) == 1


@both_engines
async def test_what_is_asked_at_once_is_paid_for_once(reusing: House) -> None:
    async with reusing.gateway() as gateway, reusing.gateway() as elsewhere:
        for person in (PERSON, OTHER):
            await give_consent(reusing, gateway, person)
        wanted = [(door, person) for door in (gateway, elsewhere) for person in (PERSON, OTHER, OTHER, PERSON)]
        done = await asyncio.gather(
            *(ask(door, f"k-{n}", person, operation="debt_burden") for n, (door, person) in enumerate(wanted))
        )
        assert len(reusing.fcb.calls) == len(reusing.entries(gateway, "intent")) == 2
        assert len(reusing.entries(gateway, "reused")) == sum(each.reused for each in done) == 6
        for n, (door, person) in enumerate(wanted):
            assert await ask(door, f"k-{n}", person, operation="debt_burden") == done[n]
        assert len({(each.id, str(each.report)) for each in done}) == 2
        reusing.verified(gateway)


@both_engines
async def test_who_waits_for_one_that_fails_asks_anew(reusing: House) -> None:
    reusing.fcb.fault = Fault.SERVER_ERROR
    async with reusing.gateway() as gateway:
        await give_consent(reusing, gateway, PERSON)
        one, two = asyncio.create_task(debts(gateway)), asyncio.create_task(debts(gateway))
        failed, served = await asyncio.gather(one, two, return_exceptions=True)
        assert isinstance(failed, ThirdPartyFault) and isinstance(served, ThirdPartyFault)
        kinds = [entry["kind"] for entry in reusing.entries(gateway)]
        assert kinds[-4:] == ["intent", "outcome"] * 2, "one after the other"
        reusing.fcb.fault = Fault.NONE
        reusing.fcb._unknown_below = 1.1
        with pytest.raises(Rejected):
            await debts(gateway)
        reusing.fcb._unknown_below = 0
        done = [await debts(gateway) for _ in range(2)]
        assert [each.reused for each in done] == [False, True]
        reusing.verified(gateway)


@both_engines
async def test_waiting_for_another_request_ends(reusing: House) -> None:
    async with reusing.gateway() as gateway:
        await give_consent(reusing, gateway, PERSON)
        reusing.edit(
            BUREAU,
            ("connect_timeout_s = 3\nanswer_timeout_s = 10", "connect_timeout_s = 0.1\nanswer_timeout_s = 0.1"),
            ("[limits]\n", "[limits]\nwait_s = 0\n"),
        )
        reusing.fcb.fault, reusing.fcb.delay = Fault.SLOW, 1.0
        async with reusing.gateway() as hasty:
            first = asyncio.create_task(debts(gateway))
            await reusing.reached(reusing.fcb)
            with pytest.raises(RequestInFlight, match="on its way") as told:
                await debts(hasty, "k")
            done = await first
            assert told.value.disclosure == done.id
            again = await debts(hasty, "k")
            assert again.reused and again.id == done.id, "the key was not used up"
        assert len(reusing.fcb.calls) == 1


async def test_a_draft_is_tried_on_reports_that_serve_again_too(reusing: House) -> None:
    folder = drafted(reusing, ("policy/guards.toml", "duration('4320h')", "duration('1h')"))
    reusing.edit("gateway.toml", ("[store]", '[policy]\ndraft = "draft"\n\n[store]'))
    async with reusing.gateway() as gateway:
        await give_consent(reusing, gateway, PERSON)
        await debts(gateway)
        assert (await debts(gateway)).reused
        [entry] = reusing.entries(gateway, "reused")
        assert entry["shadow"]["result"] == "deny" and entry["shadow"]["fields"]["removed"] == entry["fields"]
        reusing.verified(gateway)
    found = await diff(reusing, folder)
    assert (found["decisions"], found["changed"]) == (2, 2)
    assert [each["disclosure"] for each in found["entries"]][1] == entry["id"]
    assert (await diff(reusing, reusing.config))["same"] == 2


async def test_an_entry_of_a_version_that_entered_less_cannot_be_told(
    reusing: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal = Ledger.draft

    def as_before(self: Ledger, kind: Kind, name: str, public: Any, subject: Any = None, private: Any = None) -> Draft:
        if kind is Kind.REUSED:
            old = ("format", "kind", "id", "time", "caller", "recipient", "operation", "purpose", "policy", "ground",
                   "clauses", "consent", "disclosure", "returned", "subject")  # fmt: skip
            public, private = {each: public[each] for each in old}, None
        return seal(self, kind, name, public, subject, private)

    async with reusing.gateway() as gateway:
        await give_consent(reusing, gateway, PERSON)
        await debts(gateway)
        monkeypatch.setattr(Ledger, "draft", as_before)
        assert (await debts(gateway)).reused
        reusing.verified(gateway)
    found = await diff(reusing, reusing.config)
    assert (found["same"], found["cannot_be_told"]) == (1, {"facts as stated": 1})
    assert (await reusing.cli("ledger", "verify")).code == 0


async def test_people_are_told_that_nothing_was_sent(reusing: House) -> None:
    async with reusing.gateway() as gateway:
        await give_consent(reusing, gateway, PERSON)
        done = await debts(gateway)
    asked = reusing.write("request.json", request_document(PERSON, operation="debt_burden"))
    told = await reusing.cli("disclose", asked, "--caller", CALLER)
    assert told.code == 0, told.err
    assert "sent: nothing, an earlier report serves again" in told.out and ", reused " in told.out
    listed = await reusing.cli("ledger", "show", "--caller", "compliance", "--kind", "reused")
    assert f"…{done.id[-12:]} again" in " ".join(listed.out.split())
