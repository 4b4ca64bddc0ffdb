"""The report to one person: everything about them, nothing about anybody else, and that somebody looked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from harness import (
    DEBTOR_FACTS,
    PEOPLE,
    House,
    both_engines,
    erase_as_two,
    eventually,
    give_consent,
    handover_document,
    request,
    request_document,
    settle_as_two,
)
from qaqpa.errors import KeyringError, NotAllowed, NotFound, Unsettled
from qaqpa.gateway import Gateway
from qaqpa.model.consent import ConsentStatus
from qaqpa.model.handover import HandoverState
from qaqpa.model.recall import RecallReason, RecallState
from qaqpa.model.words import OutcomeResult
from qaqpa.report import reading
from qaqpa.report.named import Party
from qaqpa.report.subject import Came, Disclosures, FactsFrom, SubjectReport
from qaqpa.testing.faults import Fault
from qaqpa.testing.loan_system import LoanSystemSandbox
from recalls import ASKING, handed_over, reached
from registers import agency, as_csv, order, pieces, row, until
from reports import ADDRESS, NOBODY, OTHER, PERSON, lived, with_terms


async def about(gateway: Gateway, iin: str = PERSON.iin) -> SubjectReport:
    return await gateway.reporting.subject_report("compliance", iin)


def group(report: SubjectReport, operation: str = "credit_report") -> Disclosures:
    return next(each for each in report.disclosures if each.operation == operation)


@both_engines
async def test_everything_about_a_person_is_told_and_nothing_about_another(house: House) -> None:
    async with with_terms(house).gateway() as gateway:
        consent = await lived(house, gateway)
        report = await about(gateway)
        [told] = report.consents
        assert (told.id, told.status, told.reference, told.contract) == (consent.id, "active", "otp-1", "MK-1")
        assert [each.name for each in told.purposes] == ["application_review"]
        assert [(each.operation, each.count) for each in report.disclosures] == [
            ("credit_report", 4), ("score", 1), ("handover", 1),
        ]  # fmt: skip
        [refused] = report.refusals
        assert (refused.recipient.id, refused.count, [each.guard for each in refused.why]) == (
            "pension-center", 1, ["consent_covers"],
        )  # fmt: skip
        intents = {each["id"]: each for each in house.entries(gateway, "intent")}
        mine = {name for name, each in intents.items() if each["subject"] == report.subject}
        assert {each.id for found in report.disclosures for each in found.singles} == mine
        assert len(intents) == len(mine) + 1, "and one is somebody else's"
        assert "first-credit-bureau" in str(report) and OTHER.iin not in str(report) and PERSON.iin not in str(report)
        others = {each["subject"] for each in intents.values()} - {report.subject}
        assert not any(each in str(report) for each in others)


@both_engines
async def test_repeated_queries_are_summarised_and_the_single_ones_are_there(house: House) -> None:
    async with with_terms(house).gateway() as gateway:
        await lived(house, gateway)
        found = group(await about(gateway))
        assert (found.count, found.unlisted, found.left) == (4, 0, 4)
        assert found.results == ((Came.DELIVERED, 4),)
        times = [each.at for each in found.singles]
        assert times == sorted(times, reverse=True) and (found.first, found.last) == (times[-1], times[0])
        with_all, bare = found.forms
        assert with_all.fields == bare.fields == ("identity.iin",)
        assert "contact.mobile" in with_all.withheld and bare.withheld == ()
        assert [each.form for each in found.singles] == [1, 0, 0, 0]
        assert (with_all.caller.id, with_all.ground, with_all.facts) == ("loan-scoring", "consent", None)
        assert [each.id for each in with_all.clauses] == ["1.1(10)", "2.3(1)", "4.2"]
        assert all(each.says is not None for each in with_all.clauses)
        single = found.singles[0]
        assert "report.contracts.amount" in single.returned
        assert single.kept_until == gateway.policy.day(single.at + timedelta(days=1825))
        agency = group(await about(gateway), "handover")
        assert (agency.recipient.address, agency.forms[0].facts) == (ADDRESS, FactsFrom.STATED)
        assert agency.singles[0].kept_until is None, "no term is agreed"


@both_engines
async def test_who_is_unknown_and_who_was_erased_get_the_same_report(house: House) -> None:
    async with house.gateway() as gateway:
        await lived(house, gateway)
        known = await about(gateway)
        await erase_as_two(
            gateway, "compliance", PERSON.iin, person="A", reason="asked", duties_met=True, instrument="94-V art. 18"
        )
        erased, unknown = await about(gateway), await about(gateway, NOBODY.iin)
        assert erased.is_empty and unknown.is_empty and erased.subject is unknown.subject is None
        assert erased.consents == unknown.consents == () and erased.disclosures == ()
        # Whoever comes from an entry finds what stands in the open there, and that the person was erased.
        assert known.subject is not None
        entry = await gateway.reporting.report_of("compliance", known.subject)
        assert entry.erasure is not None and not entry.erasure.in_effect
        assert (entry.erasure.instrument, entry.about) == ("94-V art. 18", None)
        assert [each.count for each in entry.disclosures] == [each.count for each in known.disclosures]
        assert {each.facts for found in entry.disclosures for each in found.forms} == {None}, "nobody can read it"
        assert [each.reference for each in entry.consents] == [None]
        assert entry.held.answers == entry.held.evidence == 0
        await gateway.compliance.rotate_keys("compliance", person="A", reason="rotation", progress=lambda *_: None)
        entry = await gateway.reporting.report_of("compliance", known.subject)
        assert entry.erasure is not None and entry.erasure.in_effect
        with pytest.raises(NotFound):
            await gateway.reporting.report_of("compliance", "0" * 32)


@pytest.mark.promise(7)
@both_engines
async def test_each_look_is_an_entry_that_names_the_subject_and_never_the_iin(house: House) -> None:
    async with house.gateway() as gateway:
        await lived(house, gateway)
        report = await about(gateway)
        await about(gateway, NOBODY.iin)
        assert report.subject is not None
        await gateway.reporting.report_of("compliance", report.subject)
        looks = [(each["act"], each["selection"]) for each in house.entries(gateway, "review")]
        assert looks == [
            ("report", {"subject": report.subject}), ("report", {"subject": "unknown"}),
            ("report", {"subject": report.subject}),
        ]  # fmt: skip
        for caller in ("loan-scoring", "collections", "nobody"):
            with pytest.raises(NotAllowed):
                await gateway.reporting.subject_report(caller, PERSON.iin)
            with pytest.raises(NotAllowed):
                await gateway.reporting.report_of(caller, report.subject)
        assert len(house.entries(gateway, "review")) == 3
        house.verified(gateway)


@both_engines
async def test_a_row_of_a_package_is_told_with_it_and_without_its_other_rows(house: House, tmp_path: Path) -> None:
    lines = [row(person) for person in PEOPLE[:4]]
    async with agency(house, tmp_path / "agency"), house.gateway() as gateway:
        taken = await gateway.handovers.order(order(), pieces(as_csv(lines)))
        await until(gateway, taken.id, HandoverState.SENT)
        report = await about(gateway)
        [found] = report.disclosures
        [single] = found.singles
        assert (single.handover, single.result, single.code) == (taken.id, Came.DELIVERED, "ok")
        assert single.kept_until == gateway.policy.day(single.at + timedelta(days=365))
        assert not single.turned_back
        assert not any(person.iin in str(report) for person in PEOPLE)
        rows = [each for each in house.entries(gateway, "intent") if each.get("handover") == taken.id]
        assert len(rows) == 4 and sum(each["id"] in str(report) for each in rows) == 1


@both_engines
async def test_recalls_of_a_disclosure_and_of_its_package_are_told_once_somebody_asked(
    house: House, tmp_path: Path
) -> None:
    async with handed_over(house, tmp_path / "agency", denied=None) as scene:
        gateway = scene.gateway
        recall = await scene.ask(scene.handover, RecallReason.AGREEMENT_ENDED)
        await reached(gateway, recall.id, RecallState.SENT, RecallState.CONFIRMED)
        iin = str(scene.lines[0]["identity.iin"])
        [told] = (await about(gateway, iin)).recalls
        assert (told.id, told.of, told.scope, told.reason) == (recall.id, scene.handover, "handover", "agreement_ended")
        assert told.recipient.id == "demo-collector" and told.due_on == recall.due_on
        assert (await about(gateway, PEOPLE[7].iin)).recalls == (), "who stands in no row"


async def test_what_is_only_proposed_is_no_recall_yet(house: House) -> None:
    async with house.gateway() as gateway:
        consent = await lived(house, gateway)
        await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=True)
        assert await gateway.recalls.listed("compliance"), "it is proposed"
        report = await about(gateway)
        assert report.recalls == ()
        assert [each.status for each in report.consents] == [ConsentStatus.WITHDRAWN]
        single = group(report, "handover").singles[0]
        asked = await gateway.recalls.start(
            "compliance", single.id, RecallReason.REPAYMENT, replace(ASKING, contract="MK-1")
        )
        await reached(gateway, asked.id, RecallState.SENT)
        assert [(each.of, each.state) for each in (await about(gateway)).recalls] == [(single.id, RecallState.SENT)]


@both_engines
async def test_what_nobody_knows_is_said_and_what_a_person_found_out(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        house.fcb.fault = Fault.SERVER_ERROR
        ids = []
        for _ in range(2):
            with pytest.raises(Unsettled) as raised:
                await gateway.disclose("loan-scoring", request(request_document(PERSON)))
            ids.append(str(raised.value.disclosure))
        house.fcb.fault = Fault.NONE
        assert group(await about(gateway)).results == ((Came.UNKNOWN, 2),)
        said = {"person": "A", "reason": "the bureau's own log"}
        await settle_as_two(gateway, "compliance", ids[0], OutcomeResult.NOT_SENT, **said)
        found = group(await about(gateway))
        assert dict(found.results) == {Came.UNKNOWN: 1, Came.NOT_SENT: 1}
        assert found.left == 1
        assert {each.id: each.code for each in found.singles}[ids[0]] == "settled"


async def test_a_disclosure_on_its_way_is_under_way(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        house.fcb.fault = Fault.SLOW
        going = asyncio.create_task(gateway.disclose("loan-scoring", request(request_document(PERSON))))
        await house.reached(house.fcb)
        assert group(await about(gateway)).results == ((Came.UNDER_WAY, 1),)
        await going


@both_engines
async def test_months_in_files_are_named(house: House, tmp_path: Path) -> None:
    house.clock.offset = timedelta(days=-62)
    async with house.gateway() as gateway:
        await reported(house, gateway)
        then = gateway.ledger.clock()
    house.clock.offset = timedelta(0)
    async with house.gateway() as gateway:
        await reported(house, gateway)
        before = await about(gateway)
        assert group(before).count == 2 and before.moved == ()
        month = then.year * 100 + then.month
        moved = await gateway.compliance.archive("compliance", month, tmp_path, person="A", reason="room")
        report = await about(gateway)
        assert [(each.month, each.file) for each in report.moved] == [(then.date().replace(day=1), moved.file)]
        assert group(report).count == 1 and len(report.consents) == 2, "the registers outlive the entries"
        assert report.consents[0].reference is None, "what was sealed lies in the file"
        assert not report.is_empty


async def reported(house: House, gateway: Gateway) -> None:
    await give_consent(house, gateway, PERSON)
    await gateway.disclose("loan-scoring", request(request_document(PERSON)))


async def test_an_outcome_that_lies_in_a_file_is_neither_under_way_nor_unknown(house: House, tmp_path: Path) -> None:
    house.clock.offset = timedelta(days=-62)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        house.fcb.fault = Fault.SLOW
        going = asyncio.create_task(gateway.disclose("loan-scoring", request(request_document(PERSON))))
        await house.reached(house.fcb)
        house.clock.offset = timedelta(days=-31)
        await going
        then = gateway.ledger.clock()
    house.clock.offset = timedelta(0)
    async with house.gateway() as gateway:
        assert group(await about(gateway)).results == ((Came.DELIVERED, 1),)
        month = then.year * 100 + then.month
        await gateway.compliance.archive("compliance", month, tmp_path, person="A", reason="room")
        assert group(await about(gateway)).results == ((Came.IN_FILE, 1),)


FACTS = """
[facts.channel]
kind = "https"
ca = "env:QAQPA_FACTS_CA"
private_networks = ["env:QAQPA_FACTS_NETWORKS"]

[facts.channel.endpoints]
contracts = "env:QAQPA_FACTS_URL"
"""


async def test_facts_that_a_system_of_record_told_are_said_to_be_from_there(house: House) -> None:
    async with LoanSystemSandbox({PERSON.data["contract"]["number"]: DEBTOR_FACTS}) as loans:
        path = house.config / "gateway.toml"
        path.write_text(path.read_text() + FACTS)
        house.environ |= loans.environment
        async with house.gateway() as gateway:
            await gateway.disclose("collections", request(handover_document(PERSON)))
            assert group(await about(gateway), "handover").forms[0].facts is FactsFrom.RECORD


async def test_of_very_many_the_latest_are_listed_and_all_are_counted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LISTED", 3)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        ids = [(await gateway.disclose("loan-scoring", request(request_document(PERSON)))).id for _ in range(5)]
        found = group(await about(gateway))
        assert (found.count, found.unlisted, found.results) == (5, 2, ((Came.DELIVERED, 5),))
        assert [each.id for each in found.singles] == ids[:1:-1]


async def test_a_recipient_that_left_the_configuration_keeps_its_name_as_it_was_entered(house: House) -> None:
    async with house.gateway() as gateway:
        await lived(house, gateway)
    (house.config / "recipients/demo-collector.toml").unlink()
    async with house.gateway() as gateway:
        assert group(await about(gateway), "handover").recipient == Party("demo-collector")


async def test_an_entry_whose_sealed_part_was_exchanged_is_no_report(house: House) -> None:
    async with house.gateway() as gateway:
        await lived(house, gateway)
        one, other = house.entries(gateway, "intent")[1:3]
        forged = orjson.dumps({**one, "sealed": other["sealed"]})
        sql = "UPDATE entries SET body = ? WHERE request = ? AND kind = 'intent'"
        await gateway.store.write(lambda connection: connection.execute(sql, (forged, one["id"])))
        with pytest.raises(KeyringError):
            await about(gateway)


async def test_the_checkpoint_of_the_report_is_one_that_the_ledger_signed(house: House) -> None:
    async with house.gateway() as gateway:
        assert (await about(gateway)).drawn.checkpoint is None
        await lived(house, gateway)
        await eventually((house.home / "checkpoint.txt").exists)
        await asyncio.sleep(0.1)
        drawn = (await about(gateway)).drawn
        assert drawn.checkpoint is not None
        assert drawn.checkpoint.origin == "mfo.example/disclosures"
        assert 0 < drawn.checkpoint.size <= drawn.entries
        assert drawn.policy == "2025-01"
