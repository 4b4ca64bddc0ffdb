"""The pension centre through a whole gateway: consent by KDP, signatures both ways, evidence kept and erased."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from lxml import etree

from books import Intruder
from harness import (
    PEOPLE,
    House,
    both_engines,
    erase_as_two,
    give_consent,
    kdp_consent,
    pension_document,
    request,
    request_document,
)
from qaqpa import errors
from qaqpa.adapter import SignedPart
from qaqpa.errors import KeyringError, NotFound, QaqpaError, SignatureRefused, SigningFailed
from qaqpa.gateway import Gateway
from qaqpa.gateway.flow import result_of
from qaqpa.ledger.evidence import answer_of
from qaqpa.model.disclosure import Disclosure
from qaqpa.testing.faults import Fault
from qaqpa.testing.signing import key_pair
from qaqpa_adapters.pension_center.sandbox import Signing

PERSON, OTHER = PEOPLE[:2]
PPC = "recipients/pension-center.toml"
SAID = {"person": "A. Compliance", "reason": "application 17"}


async def ask(gateway: Gateway, person: Any = PERSON, **changes: Any) -> Disclosure:
    return await gateway.disclose("loan-scoring", request(pension_document(person, **changes)))


async def consented(house: House, gateway: Gateway, person: Any = PERSON) -> None:
    await give_consent(house, gateway, person, **kdp_consent())


async def fails(gateway: Gateway) -> QaqpaError:
    with pytest.raises(QaqpaError) as raised:
        await ask(gateway)
    return raised.value


@contextmanager
def listening(house: House) -> Iterator[list[bytes]]:
    """What reaches the centre."""
    sent: list[bytes] = []
    examine = house.ppc.examine

    def listen(arrival: Any) -> Any:
        sent.append(arrival.body)
        return examine(arrival)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.ppc, "examine", listen)
        yield sent


def kept(gateway: Gateway) -> int:
    with gateway.store.snapshot() as connection:
        return int(connection.execute("SELECT count(*) FROM evidence").scalar())


# --- what is asked and what comes back -------------------------------------------------------------


async def test_contributions_come_back_without_the_employer(house: House) -> None:
    async with house.gateway() as gateway:
        await consented(house, gateway)
        done = await ask(gateway)
        assert len(done.report["contributions"]) == 6
        assert {name for row in done.report["contributions"] for name in row} == {"paid_on", "amount"}
        assert set(done.cut) == {"report.contributions.employer", "report.contributions.employer_bin"}
        assert done.sent == ("identity.iin",)
        assert [call.iin for call in house.ppc.calls] == [PERSON.iin]
        house.verified(gateway)


async def test_what_left_is_what_the_intent_was_entered_over(house: House) -> None:
    async with house.gateway() as gateway:
        await consented(house, gateway)
        with listening(house) as sent:
            done = await ask(gateway)
        subject = await gateway.ledger.subjects.find(PERSON.iin)
        assert subject is not None
        [intent] = house.entries(gateway, "intent")
        assert subject.open(intent)["sent"] == subject.digest(sent[0])
        key_pair("pension centre").signer(key_pair("operator")).require(sent[0], SignedPart.BODY)
        personal = [str(each) for name, each in PERSON.data["identity"].items() if name != "iin" and len(str(each)) > 4]
        assert [each for each in personal if each.encode() in sent[0]] == []
        info = etree.fromstring(sent[0]).find(".//requestInfo")
        assert info is not None and info.findtext("messageId") == done.id


# --- signing ---------------------------------------------------------------------------------------


@pytest.mark.promise(3)
async def test_a_signer_that_fails_means_that_nothing_is_sent_and_nothing_is_entered(house: House) -> None:
    async with house.gateway() as gateway:
        await consented(house, gateway)
        expired = key_pair("expired", days=-1)
        gateway.flow.signers["pension-center"] = expired.signer()  # type: ignore[index]
        before = house.entries(gateway)
        error = await fails(gateway)
        assert (type(error), error.status, error.exit_code, error.disclosure) == (SigningFailed, 503, 4, None)
        assert house.entries(gateway) == before
    assert house.ppc.connections == 0


@pytest.mark.promise(3)
async def test_an_adapter_that_fails_while_it_signs_says_nothing_of_the_person(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.gateway() as gateway:
        await consented(house, gateway)

        async def broken(*_given: Any) -> Any:
            raise ValueError(PERSON.iin)

        monkeypatch.setattr(type(gateway.flow.adapters["pension-center"]), "sign", broken)
        error = await fails(gateway)
        assert type(error) is SigningFailed and PERSON.iin not in f"{error}{error.__cause__}"
        assert house.entries(gateway, "intent") == []
    assert house.ppc.connections == 0


@pytest.mark.parametrize("signing", [each for each in Signing if each is not Signing.GOOD])
async def test_an_answer_with_a_bad_signature_is_not_read_and_the_ledger_says_so(
    house: House, signing: Signing
) -> None:
    house.ppc.signing = signing
    async with house.gateway() as gateway:
        await consented(house, gateway)
        error = await fails(gateway)
        assert type(error) is SignatureRefused
        [outcome] = house.entries(gateway, "outcome")
        assert (outcome["result"], outcome["code"], outcome["intent"]) == (
            "unknown", "signature_refused", error.disclosure,
        )  # fmt: skip
        assert kept(gateway) == 0, "what is not believed is no evidence"
        house.verified(gateway)
    assert sum(call.accepted for call in house.ppc.calls) == 1


FAULTS = {
    Fault.TRUNCATED: errors.AnswerUnreadable,
    Fault.ENTITY_BOMB: errors.AnswerUnreadable,
    Fault.GARBAGE: errors.AnswerUnreadable,
    Fault.SERVER_ERROR: errors.ThirdPartyFault,
    Fault.WRONG_SUBJECT: errors.WrongSubject,
    Fault.REDIRECT: errors.RequestRefused,
    Fault.HUGE: errors.AnswerTooLarge,
    Fault.WRONG_HOST_CERTIFICATE: errors.PeerRefused,
}


@pytest.mark.parametrize(("fault", "expected"), FAULTS.items(), ids=[str(fault) for fault in FAULTS])
async def test_a_fault_is_told_and_never_guessed(house: House, fault: Fault, expected: type[QaqpaError]) -> None:
    house.ppc.fault = fault
    async with house.gateway() as gateway:
        await consented(house, gateway)
        error = await fails(gateway)
        assert type(error) is expected
        [outcome] = house.entries(gateway, "outcome")
        assert isinstance(error, errors.ThirdPartyError)
        assert (outcome["result"], outcome["code"]) == (result_of(error).value, error.code)
        assert kept(gateway) == 0


async def test_an_answer_that_somebody_kept_does_not_pass_for_one_to_this_request(house: House) -> None:
    async with house.gateway() as gateway:
        await consented(house, gateway)
        assert (await ask(gateway)).report["contributions"]
        house.ppc.fault = Fault.STALE  # signed by the centre, and about the same person
        error = await fails(gateway)
        assert (type(error), error.code) == (errors.WrongExchange, "wrong_exchange")
        outcome = house.entries(gateway, "outcome")[-1]
        assert (outcome["result"], outcome["code"], outcome["intent"]) == (
            "unknown", "wrong_exchange", error.disclosure,
        )  # fmt: skip
        assert kept(gateway) == 1, "what is not believed is no evidence"


async def test_a_wrong_sender_is_refused_with_smartbridges_code(house: House) -> None:
    house.environ["QAQPA_PPC_PASSWORD"] = "wrong"
    async with house.gateway() as gateway:
        await consented(house, gateway)
        error = await fails(gateway)
        assert type(error) is errors.RequestRefused and error.their_code == "SCSE003"
        assert house.entries(gateway, "outcome")[0]["result"] == "rejected"


async def test_somebody_without_contributions(house: House) -> None:
    house.ppc._unknown_below = 1
    async with house.gateway() as gateway:
        await consented(house, gateway)
        assert type(await fails(gateway)) is errors.NoReport


# --- evidence --------------------------------------------------------------------------------------


@both_engines
async def test_the_answer_is_kept_sealed_and_can_be_shown_with_its_signatures(house: House) -> None:
    async with house.gateway() as gateway:
        await consented(house, gateway)
        done = await ask(gateway)
        assert kept(gateway) == 1
        answer = await answer_of(gateway.ledger, done.id)
        [outcome] = house.entries(gateway, "outcome")
        subject = await gateway.ledger.subjects.find(PERSON.iin)
        assert subject is not None
        assert subject.open(outcome)["received"] == subject.digest(answer)
        key_pair("operator").signer(key_pair("pension centre")).require(answer, SignedPart.BODY)
        with pytest.raises(NotFound):
            await answer_of(gateway.ledger, "0198c5a0-0000-7000-8000-000000000001")


async def test_a_person_takes_the_answer_out_and_that_is_entered(house: House) -> None:
    async with house.gateway() as gateway:
        await consented(house, gateway)
        done = await ask(gateway)
        answer = await answer_of(gateway.ledger, done.id)
    file = house.home / "answer.xml"
    command = ("ledger", "evidence", done.id, "--to", str(file), "--caller")
    refused = await house.cli(*command, "loan-scoring")
    assert (refused.code, file.exists()) == (1, False)
    ran = await house.cli(*command, "compliance")
    assert (ran.code, file.read_bytes()) == (0, answer), ran.err
    assert file.stat().st_mode & 0o077 == 0 and PERSON.iin not in ran.out + ran.err
    assert (await house.cli(*command, "compliance")).code == 2, "nothing is overwritten"
    unknown = await house.cli("ledger", "evidence", PERSON.iin, "--to", str(file), "--caller", "compliance")
    assert unknown.code == 2 and PERSON.iin not in unknown.err
    async with house.gateway() as gateway:
        looks = [(entry["act"], entry["selection"]) for entry in house.entries(gateway, "review")]
        assert looks == [("evidence", {"disclosure": done.id})] * 2


async def test_no_byte_on_the_disk_tells_what_was_answered(house: House) -> None:
    async with house.gateway() as gateway:
        await consented(house, gateway)
        done = await ask(gateway)
        answer = await answer_of(gateway.ledger, done.id)
    telling = {PERSON.iin.encode(), b"SendMessageResponse", b"deductionsDetailed"}
    telling |= {row["amount"].encode() for row in done.report["contributions"]}
    assert all(each in answer for each in telling)
    for path in house.home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert [each for each in telling if each in content] == [], path.name


@pytest.mark.promise(5)
@both_engines
async def test_evidence_goes_with_the_person_and_with_nobody_else(house: House) -> None:
    async with house.gateway() as gateway:
        for person in (PERSON, OTHER):
            await consented(house, gateway, person)
        erased, stays = await ask(gateway), await ask(gateway, OTHER)
        await erase_as_two(gateway, "compliance", PERSON.iin, duties_met=True, **SAID)
        assert kept(gateway) == 1
        with pytest.raises(NotFound):
            await answer_of(gateway.ledger, erased.id)
        await gateway.compliance.rotate_keys("compliance", **SAID, progress=lambda _done, _all: None)
        assert PERSON.iin.encode() not in (await answer_of(gateway.ledger, stays.id))
        assert OTHER.iin.encode() in (await answer_of(gateway.ledger, stays.id))
        house.verified(gateway)


@both_engines
async def test_evidence_that_was_changed_or_moved_proves_nothing(house: House, store_url: str) -> None:
    async with house.gateway() as gateway:
        await consented(house, gateway)
        first, second = await ask(gateway), await ask(gateway)
        intruder = Intruder(store_url, house.home)
        rows = dict(intruder.rows("SELECT disclosure, sealed FROM evidence"))
        intruder.change("UPDATE evidence SET sealed = ? WHERE disclosure = ?", bytes(rows[first.id]), second.id)
        with pytest.raises(KeyringError):
            await answer_of(gateway.ledger, second.id)
        subject = await gateway.ledger.subjects.find(PERSON.iin)
        assert subject is not None
        forged = subject.seal_evidence(first.id, b"<another/>")
        intruder.change("UPDATE evidence SET sealed = ? WHERE disclosure = ?", forged, first.id)
        with pytest.raises(KeyringError, match="it was changed"):
            await answer_of(gateway.ledger, first.id)


async def test_a_bureaus_answer_is_no_evidence(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        assert kept(gateway) == 0


async def test_evidence_is_in_a_back_up(house: House) -> None:
    async with house.gateway() as gateway:
        await consented(house, gateway)
        await ask(gateway)
    ran = await house.cli("backup", str(house.home / "copy.db"), "--caller", "compliance")
    assert ran.code == 0, ran.err
    assert Intruder(f"sqlite:///{house.home}/copy.db", house.home).value("SELECT count(*) FROM evidence") == 1
