"""The register of transfers: every route with what it rests on, and how often it was used."""

from __future__ import annotations

import io
import random
import zipfile
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from python_calamine import CalamineWorkbook

from books import ZONE, Intruder, book_at
from harness import ROOT, House, both_engines, give_consent, request, request_document, settle_as_two
from histories import History, facts
from qaqpa.errors import NotAllowed, Unsettled
from qaqpa.gateway import Gateway, load_setup
from qaqpa.ledger.catalogue import catalogue_more
from qaqpa.ledger.integrate import integrate_all
from qaqpa.ledger.span import Span
from qaqpa.model.recall import RecallReason, RecallState
from qaqpa.model.words import Language, OutcomeResult
from qaqpa.report import counting
from qaqpa.report.counting import NEVER_USED, Counted, count_entries, count_routes
from qaqpa.report.listing import list_transfers
from qaqpa.report.transfers import Transfer, TransferRegister
from qaqpa.testing.faults import Fault
from recalls import handed_over, reached
from reports import PERSON, lived, text_of, with_terms

LANGUAGES: tuple[Language, ...] = ("ru", "kk", "en")


async def register(gateway: Gateway, since: date | None = None, until: date | None = None) -> TransferRegister:
    return await gateway.reporting.transfers("compliance", Span(since, until))


def route(told: TransferRegister, recipient: str, operation: str) -> Transfer:
    return next(each for each in told.transfers if (each.recipient.id, each.operation) == (recipient, operation))


def uses(told: TransferRegister) -> dict[tuple[str, str], tuple[int, int]]:
    return {
        (each.recipient.id, each.operation): (each.used.left, each.used.not_sent)
        for each in told.transfers
        if each.used != NEVER_USED
    }


@both_engines
async def test_every_route_stands_in_it_and_the_used_ones_are_counted(house: House) -> None:
    async with with_terms(house).gateway() as gateway:
        await lived(house, gateway)
        told = await register(gateway)
        assert len(told.transfers) == len(gateway.policy.routes) and told.gone == ()
        assert uses(told) == {
            ("first-credit-bureau", "credit_report"): (5, 0),
            ("first-credit-bureau", "score"): (1, 0),
            ("demo-collector", "handover"): (1, 0),
        }
        report = route(told, "first-credit-bureau", "credit_report")
        last = [each for each in house.entries(gateway, "intent") if each["operation"] == "credit_report"][-1]
        assert report.used.last is not None and report.used.last.isoformat().startswith(last["time"][:-1])
        agreement = report.agreement
        assert agreement is not None and (agreement.number, agreement.expires_on) == ("КБ-1/2025", date(2027, 12, 31))
        assert (report.ground, [each.path for each in report.fields]) == ("consent", ["identity.iin"])
        assert report.fields[0].dpv == "pd:NationalIdentificationNumber"
        assert [(way.channel, way.seal, way.in_packages, way.keep_for) for way in report.ways] == [
            ("https", "tls_only", False, timedelta(days=1825))
        ]
        handover = route(told, "demo-collector", "handover")
        assert {"62-VI art. 4", "56-V art. 9-2"} <= set(handover.instruments)
        assert [way.in_packages for way in handover.ways] == [False, True]
        assert [each.guard for each in handover.conditions][:2] == ["route_known", "policy_in_force"]
        preview = route(told, "demo-cession-buyer", "portfolio_preview")
        assert preview.is_deidentified and [way.in_packages for way in preview.ways] == [True]
        assert {each.transform for each in preview.fields} > {"bucket", "year_of"}


@both_engines
async def test_what_was_not_sent_is_counted_apart_and_what_nobody_knows_may_have_left(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        house.fcb.fault = Fault.SERVER_ERROR
        ids = []
        for _ in range(3):
            with pytest.raises(Unsettled) as raised:
                await gateway.disclose("loan-scoring", request(request_document(PERSON)))
            ids.append(str(raised.value.disclosure))
        house.fcb.fault = Fault.NONE
        assert uses(await register(gateway)) == {("first-credit-bureau", "credit_report"): (3, 0)}
        for found, result in zip(ids, (OutcomeResult.NOT_SENT, OutcomeResult.DELIVERED), strict=False):
            await settle_as_two(gateway, "compliance", found, result, person="A", reason="their log")
        assert uses(await register(gateway)) == {("first-credit-bureau", "credit_report"): (2, 1)}


@both_engines
async def test_rows_of_a_package_count_one_by_one_and_a_notice_not_at_all(house: House, tmp_path: Path) -> None:
    async with handed_over(house, tmp_path / "agency", denied=1) as scene:
        told = uses(await register(scene.gateway))
        assert told == {("demo-collector", "handover"): (4, 0)}
        recall = await scene.ask(scene.handover, RecallReason.AGREEMENT_ENDED)
        await reached(scene.gateway, recall.id, RecallState.SENT, RecallState.CONFIRMED)
        assert uses(await register(scene.gateway)) == told


@both_engines
async def test_a_period_is_of_the_operators_days_both_included(house: House) -> None:
    days = []
    for back in (-70, -40, 0):
        house.clock.offset = timedelta(days=back)
        async with house.gateway() as gateway:
            await give_consent(house, gateway, PERSON)
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
            days.append(gateway.policy.day(gateway.ledger.clock()))
    async with house.gateway() as gateway:
        for since, until_, count in (
            (None, None, 3), (days[1], None, 2), (days[1] + timedelta(days=1), None, 1), (None, days[1], 2),
            (days[0], days[1] - timedelta(days=1), 1), (days[0] + timedelta(days=1), days[1] - timedelta(days=1), 0),
        ):  # fmt: skip
            told = await register(gateway, since, until_)
            assert sum(left for left, _ in uses(told).values()) == count, (since, until_)


@both_engines
@pytest.mark.parametrize("seed", range(4))
async def test_counts_and_entries_agree_on_every_period(store_url: str, tmp_path: Path, seed: int) -> None:
    """Singles, rows, packages, notices, unknown ones that were settled: whoever counts, the same, to the moment."""
    policy = load_setup(ROOT / "config", home=tmp_path, environ={}).policy
    with book_at(store_url, tmp_path) as book:
        await book.ledger.record_policy([], "digest")
        history = History(book, random.Random(seed))
        await history.go_on(300)
        await book.grow()
        if seed % 2:  # the catalogue does not hold the last of it yet
            await history.go_on(80)
        days = sorted({fact.day for fact in facts(book.contents(), ZONE)})
        spans = [Span(), Span(until=date.fromisoformat(days[0])), Span(since=date.fromisoformat(days[-1]))]
        spans += [Span(date.fromisoformat(first), date.fromisoformat(last)) for first, last in pairwise(days)]
        assert len(days) > 2
        with book.store.snapshot() as connection:
            entries_read = {span: count_entries(connection, policy, span) for span in spans}
            assert sum(each.not_sent for each in entries_read[Span()].values())
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(counting, "count_entries", None)  # nobody reads entries to count them
                assert {span: count_routes(connection, policy, span) for span in spans} == entries_read


@both_engines
async def test_where_counts_lack_something_entries_are_counted(house: House, store_url: str) -> None:
    async with house.gateway() as gateway:
        await lived(house, gateway)
        await integrate_all(gateway.store)
        await catalogue_more(gateway.store, ZONE)
        intruder = Intruder(store_url, house.home)
        intruder.run("UPDATE counts SET n = n + 7 WHERE what = 'route'")
        for lacking in ("routes = 0", "zone = zone + 1"):
            with gateway.store.snapshot() as connection:
                entries_read = count_entries(connection, gateway.policy, Span())
                assert count_routes(connection, gateway.policy, Span()) != entries_read, "counts are taken"
            intruder.run(f"UPDATE catalogued SET {lacking}")
            with gateway.store.snapshot() as connection:
                assert count_routes(connection, gateway.policy, Span()) == entries_read, lacking
            intruder.run("UPDATE catalogued SET routes = 1, zone = 5")


async def test_a_month_in_a_file_is_named_where_the_period_holds_it(house: House, tmp_path: Path) -> None:
    house.clock.offset = timedelta(days=-62)
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        then = gateway.ledger.clock()
    house.clock.offset = timedelta(0)
    async with house.gateway() as gateway:
        month = then.year * 100 + then.month
        moved = await gateway.compliance.archive("compliance", month, tmp_path, person="A", reason="room")
        told = await register(gateway)
        assert uses(told) == {} and [each.file for each in told.moved] == [moved.file]
        # Months of files are of UTC: the operator's next month begins in that of the file.
        after = (then.replace(day=1) + timedelta(days=32)).replace(day=1).date()
        assert (await register(gateway, after)).moved == told.moved
        assert (await register(gateway, after + timedelta(days=1))).moved == ()
        printed = text_of(await gateway.reporting.pdf(gateway.reporting.register(told, "en")), tmp_path)
        assert moved.file in printed


async def test_what_was_used_and_is_configured_no_more_is_told_apart(house: House) -> None:
    async with house.gateway() as gateway:
        await lived(house, gateway)
    (house.config / "recipients/demo-collector.toml").unlink()
    async with house.gateway() as gateway:
        told = await register(gateway)
        assert [(each.recipient.id, each.operation, each.used.left) for each in told.gone] == [
            ("demo-collector", "handover", 1)
        ]
        document = gateway.reporting.register(told, "en")
        assert any("no longer configured" in section.title for section in document.sections)


@pytest.mark.promise(7)
async def test_a_look_at_it_is_an_entry_and_takes_the_role_review(house: House) -> None:
    async with house.gateway() as gateway:
        await gateway.reporting.transfers("compliance", Span(date(2026, 1, 1), None))
        looks = [(each["act"], each["selection"]) for each in house.entries(gateway, "review")]
        assert looks == [("transfers", {"since": "2026-01-01"})]
        with pytest.raises(NotAllowed):
            await gateway.reporting.transfers("collections", Span())


async def test_counts_may_come_from_elsewhere(house: House) -> None:
    async with house.gateway() as gateway:
        asked = next(each for each in gateway.policy.routes if each.operation == "score")
        told = await gateway.reporting.transfers(
            "compliance", Span(), lambda _connection, _policy, _span: {asked: Counted(7, 1, None)}
        )
        assert uses(told) == {("first-credit-bureau", "score"): (7, 1)}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_workbook_and_the_pdf_say_every_route_and_field(
    house: House, language: Language, tmp_path: Path
) -> None:
    async with house.gateway() as gateway:
        await lived(house, gateway)
        told = await register(gateway)
        data = await gateway.reporting.workbook(told, language)
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        routes, fields, about = (book.get_sheet_by_name(name).to_python() for name in book.sheet_names)
        assert len(routes) == 1 + len(told.transfers) and len({len(line) for line in routes}) == 1
        assert len(fields) == 1 + sum(len(each.fields) for each in told.transfers)
        assert sum(line[-3] for line in routes[1:]) == 7, "numbers are numbers"
        assert all(cell != "" for line in routes for cell in line)
        assert any(PERSON.iin in str(sheet) for sheet in (routes, fields, about)) is False
        parts = zipfile.ZipFile(io.BytesIO(data))
        sheets = [parts.read(name).decode() for name in parts.namelist() if "worksheets/" in name]
        assert not any("<f>" in sheet or "hyperlink" in sheet for sheet in sheets)
        document = gateway.reporting.register(told, language)
        printed = text_of(await gateway.reporting.pdf(document), tmp_path)
        for transfer in told.transfers:
            assert all(field.path in printed for field in transfer.fields)
        assert len(document.sections) >= 1 + len(told.transfers)


async def test_a_name_that_a_spreadsheet_would_run_is_text(house: House) -> None:
    house.edit("recipients/demo-collector.toml", ('en = "Demonstration collection agency"', "en = '=HYPERLINK(\"x\")'"))
    async with house.gateway() as gateway:
        data = await gateway.reporting.workbook(await register(gateway), "en")
        parts = zipfile.ZipFile(io.BytesIO(data))
        assert "=HYPERLINK(" in parts.read("xl/sharedStrings.xml").decode()
        assert not any("<f>" in parts.read(name).decode() for name in parts.namelist() if "worksheets/" in name)


async def test_the_register_is_sorted_and_the_same_each_time(house: House) -> None:
    async with house.gateway() as gateway:
        told = await register(gateway)
        order_of = [(each.recipient.id, each.purpose.name, each.operation) for each in told.transfers]
        assert order_of == sorted(order_of)
        zone = gateway.policy.operator.time_zone
        assert list_transfers(told, "ru", zone) == list_transfers(told, "ru", zone)
