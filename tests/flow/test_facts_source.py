"""The loan system as the system of record: it counts, it is believed over a caller, and its silence is no permit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import pytest

from harness import DEBTOR_FACTS, PEOPLE, House, give_consent, handover_document, request, request_document
from qaqpa.errors import ConfigError, Denied, Gap, NotConfigured
from qaqpa.gateway import Gateway, load_setup
from qaqpa.model.request import ContractFacts
from qaqpa.policy import OnRecord, compared
from qaqpa.testing.faults import Fault
from qaqpa.testing.loan_system import LoanSystemSandbox

PERSON = PEOPLE[0]
NUMBER = PERSON.data["contract"]["number"]
FACTS = """
[facts]
batch = 500

[facts.channel]
kind = "https"
ca = "env:QAQPA_FACTS_CA"
private_networks = ["env:QAQPA_FACTS_NETWORKS"]
answer_timeout_s = 0.5
max_answer_bytes = 200_000

[facts.channel.endpoints]
contracts = "env:QAQPA_FACTS_URL"
"""


def with_facts(house: House, loans: LoanSystemSandbox) -> None:
    path = house.config / "gateway.toml"
    path.write_text(path.read_text() + FACTS)
    house.environ |= loans.environment


@asynccontextmanager
async def checked_gateway(house: House, **contracts: Any) -> AsyncIterator[tuple[Gateway, LoanSystemSandbox]]:
    async with LoanSystemSandbox({NUMBER: DEBTOR_FACTS | contracts}) as loans:
        with_facts(house, loans)
        async with house.gateway() as gateway:
            yield gateway, loans


def handover(**facts: Any) -> Any:
    return request(handover_document(PERSON, facts))


def sealed(house: House, gateway: Gateway, kind: str) -> Any:
    """What the one entry of this kind keeps of the facts."""

    async def read() -> Any:
        [entry] = house.entries(gateway, kind)
        subject = await gateway.ledger.subjects.by_id(entry["subject"])
        return subject.open(entry)["stated"]

    return read()


async def test_what_only_the_loan_system_knows_counts(house: House) -> None:
    async with checked_gateway(house) as (gateway, loans):
        done = await gateway.disclose("collections", handover())
        kept = await sealed(house, gateway, "intent")
    assert loans.questions == [(NUMBER,)]
    assert {guard.guard: guard.result.value for guard in done.decision.guards}["facts_agree"] == "permit"
    assert kept["contract"]["days_overdue"] == DEBTOR_FACTS["days_overdue"]
    assert kept["checked"] == {"found": "agrees", "differing": [], "stated": {}}
    assert len(house.collector.received) == 1


@pytest.mark.promise(3)
async def test_where_the_two_differ_nothing_leaves_and_both_are_kept(house: House) -> None:
    async with checked_gateway(house, restructuring_pending=True) as (gateway, _):
        with pytest.raises(Denied) as caught:
            await gateway.disclose("collections", handover(**DEBTOR_FACTS))
        reasons = {reason.guard: reason for reason in caught.value.decision.reasons}
        kept = await sealed(house, gateway, "refusal")
    # The loan system counts, so that the guard on what it says speaks too.
    assert reasons.keys() == {"facts_agree", "no_restructuring_pending"}
    assert reasons["facts_agree"].findings == ("contract.restructuring_pending",)
    assert "contract.restructuring_pending" in reasons["facts_agree"].message.kk
    assert kept["contract"]["restructuring_pending"] is True
    assert kept["checked"] == {
        "found": "differs",
        "differing": ["contract.restructuring_pending"],
        "stated": {"restructuring_pending": False},
    }
    assert house.collector.calls == []


@pytest.mark.promise(3)
@pytest.mark.parametrize(
    "fault", [Fault.HANG_BEFORE_ACCEPTING, Fault.SERVER_ERROR, Fault.TRUNCATED, Fault.CUT_CONNECTION, Fault.REDIRECT,
              Fault.GARBAGE, Fault.HUGE, Fault.EXPIRED_CERTIFICATE],
)  # fmt: skip
async def test_a_loan_system_that_does_not_answer_is_a_gap_whatever_is_stated(house: House, fault: Fault) -> None:
    async with checked_gateway(house) as (gateway, loans):
        loans.fault = fault
        with pytest.raises(Gap) as caught:
            await gateway.disclose("collections", handover(**DEBTOR_FACTS))
        assert [reason.guard for reason in caught.value.decision.reasons] == ["facts_agree"]
        assert caught.value.decision.reasons[0].findings == ("contract_unreachable",)
    assert house.collector.calls == []


async def test_it_is_asked_once_more_before_that(house: House) -> None:
    async with checked_gateway(house) as (gateway, loans):
        loans.fail_next(Fault.SERVER_ERROR)
        assert (await gateway.disclose("collections", handover(**DEBTOR_FACTS))).report
    assert len(loans.calls) == 2


async def test_a_contract_that_it_does_not_know_is_a_gap(house: House) -> None:
    async with checked_gateway(house) as (gateway, loans):
        loans.contracts.clear()
        with pytest.raises(Gap) as caught:
            await gateway.disclose("collections", handover(**DEBTOR_FACTS))
    assert caught.value.decision.reasons[0].findings == ("contract_unknown",)


async def test_a_request_that_names_no_contract_is_a_gap_and_nobody_is_asked(house: House) -> None:
    document = handover_document(PERSON, {})
    document["data"]["contract"] = {"days_overdue": 95}
    async with checked_gateway(house) as (gateway, loans):
        decision = await gateway.decide("collections", request(document))
    found = {reason.guard: reason for reason in decision.reasons}["facts_agree"]
    assert (found.result.value, found.missing) == ("gap", ("contract.number",))
    assert loans.calls == []


@pytest.mark.promise(3)
async def test_facts_of_another_contract_say_nothing_of_this_one(house: House) -> None:
    async with checked_gateway(house) as (gateway, loans):
        loans.contracts["MK-OTHER"] = dict(DEBTOR_FACTS)
        with pytest.raises(Denied) as caught:
            await gateway.disclose("collections", handover(**DEBTOR_FACTS, number="MK-OTHER"))
    assert caught.value.decision.reasons[0].findings == ("contract.number",)


async def test_scoring_does_not_wait_for_it(house: House) -> None:
    async with checked_gateway(house) as (gateway, loans):
        await give_consent(house, gateway, PERSON)
        done = await gateway.disclose("loan-scoring", request(request_document(PERSON)))
    assert "facts_agree" not in {guard.guard for guard in done.decision.guards}
    assert loans.calls == []


async def test_recorded_decisions_are_replayed_as_they_were_checked(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with checked_gateway(house) as (gateway, loans):
        for name, value in loans.environment.items():
            monkeypatch.setenv(name, value)
        await gateway.disclose("collections", handover())
        loans.contracts[NUMBER] = DEBTOR_FACTS | {"days_overdue": 7}
        with pytest.raises(Denied):
            await gateway.disclose("collections", handover(**DEBTOR_FACTS))
        loans.contracts.clear()
        with pytest.raises(Gap):
            await gateway.disclose("collections", handover(**DEBTOR_FACTS))
        ran = await house.cli("policy", "diff", str(house.config), "--caller", "compliance", "--json")
    assert (ran.json["decisions"], ran.json["same"], ran.json["changed"]) == (3, 3, 0), ran.json


async def test_what_was_decided_before_there_was_a_loan_system_cannot_be_told_anew(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.gateway() as gateway:
        await gateway.disclose("collections", handover(**DEBTOR_FACTS))
    async with LoanSystemSandbox({}) as loans:
        with_facts(house, loans)
        for name, value in loans.environment.items():
            monkeypatch.setenv(name, value)
        ran = await house.cli("policy", "diff", str(house.config), "--caller", "compliance", "--json")
    assert (ran.json["changed"], ran.json["cannot_be_told"]) == (0, {"contract on record": 1}), ran.json


async def test_it_is_asked_in_batches_and_answers_whole_or_not_at_all(house: House) -> None:
    numbers = [f"MK-{number}" for number in range(1_201)]
    async with checked_gateway(house) as (gateway, loans):
        loans.contracts = {number: DEBTOR_FACTS for number in numbers if not number.endswith("7")}
        assert gateway.facts is not None
        found = await gateway.facts.ask([*numbers, numbers[0]])
        assert found is not None
        assert found.keys() == loans.contracts.keys()
        assert found["MK-0"] == ContractFacts.model_validate(DEBTOR_FACTS)
        assert [len(asked) for asked in loans.questions] == [500, 500, 201]
        loans.fail_next(Fault.NONE)
        loans.fail_next(Fault.SERVER_ERROR, 2)
        assert await gateway.facts.ask(numbers) is None
        assert await gateway.facts.ask([]) == {}


@pytest.mark.parametrize("answer", [{"days_overdue": "95"}, {"salary": 5}, {"breach_notified_on": 0}])
async def test_an_answer_of_another_form_is_none_and_its_content_is_not_logged(
    house: House, answer: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    async with checked_gateway(house) as (gateway, loans):
        loans.contracts = {NUMBER: DEBTOR_FACTS | answer}
        assert gateway.facts is not None
        assert await gateway.facts.ask([NUMBER]) is None
    said = capfd.readouterr()
    assert NUMBER not in said.out + said.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('private_networks = ["env:QAQPA_FACTS_NETWORKS"]\n', ""), "private_networks must name"),
        (("contracts = ", "loans = "), "lacks contracts"),
        (("batch = 500", "batch = 501"), "less than or equal to 500"),
    ],
)
async def test_a_loan_system_that_is_not_the_operators_own_is_refused(
    house: House, change: tuple[str, str], message: str
) -> None:
    async with LoanSystemSandbox({}) as loans:
        with_facts(house, loans)
        house.edit("gateway.toml", change)
        with pytest.raises(ConfigError, match=message):
            load_setup(house.config, home=house.home, environ=house.environ)


async def test_without_its_address_nothing_opens_and_check_says_what_to_set(house: House) -> None:
    path = house.config / "gateway.toml"
    path.write_text(path.read_text() + FACTS)
    setup = load_setup(house.config, home=house.home, environ=house.environ)
    assert [what.partition(":")[0] for name, what in setup.unset() if name == "facts"] == [
        "channel.endpoints.contracts",
        "channel.ca",
    ]
    with pytest.raises(NotConfigured, match="facts: "):
        async with house.gateway():
            pass


# --- what counts -----------------------------------------------------------------------------------

STATED = ContractFacts(number="MK-1", days_overdue=95, breach_notified_on=date(2026, 1, 1))


@pytest.mark.parametrize(
    ("number", "on_record", "found", "differing", "days"),
    [
        (None, {}, OnRecord.UNKNOWN, (), 95),
        (None, None, OnRecord.UNREACHABLE, (), 95),
        (None, {"MK-1": ContractFacts()}, OnRecord.AGREES, (), 95),
        ("MK-1", {"MK-1": ContractFacts(days_overdue=95)}, OnRecord.AGREES, (), 95),
        ("MK-1", {"MK-1": ContractFacts(days_overdue=94)}, OnRecord.DIFFERS, ("contract.days_overdue",), 94),
        ("MK-2", {"MK-1": ContractFacts(days_overdue=95)}, OnRecord.DIFFERS, ("contract.number",), 95),
    ],
)
def test_what_is_on_record_counts_and_the_rest_as_stated(
    number: str | None, on_record: Any, found: OnRecord, differing: tuple[str, ...], days: int
) -> None:
    counts, checked = compared(STATED, number, on_record)
    assert (checked.found, checked.differing) == (found, differing)
    assert (counts.days_overdue, counts.breach_notified_on) == (days, date(2026, 1, 1))


def test_without_a_number_there_is_nothing_to_compare() -> None:
    bare = ContractFacts(days_overdue=95)
    assert compared(bare, None, {"MK-1": ContractFacts()})[1].found is OnRecord.NOT_NAMED
