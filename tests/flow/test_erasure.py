"""A person is erased (7.1(3)): when it is refused, what is left, and that every proof holds as before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from harness import (
    PEOPLE,
    SECOND,
    House,
    both_engines,
    erase_as_two,
    give_consent,
    request,
    request_document,
    settle_as_two,
)
from qaqpa.errors import Denied, ErasureRefused, KeyringError, NotFound, Unsettled
from qaqpa.gateway import Gateway
from qaqpa.gateway.setup import make_upkeep
from qaqpa.ledger import Ledger
from qaqpa.ledger.checkpoints import opened, proof_of
from qaqpa.ledger.erasure import Erased
from qaqpa.ledger.integrate import tree_of
from qaqpa.ledger.read import entries_of
from qaqpa.model.words import OutcomeResult
from qaqpa.testing.faults import Fault
from qaqpa.tlog.merkle import leaf_hash
from qaqpa.tlog.notes import Checkpoint, TlogProof
from qaqpa.tlog.proofs import verify_consistency, verify_inclusion

PERSON, OTHER = PEOPLE[:2]
SAID = {"person": "A. Compliance", "reason": "application 17"}
FCB = "recipients/first-credit-bureau.toml"


async def erase(gateway: Gateway, **changes: Any) -> Erased:
    given: dict[str, Any] = {"duties_met": True, **SAID, **changes}
    return await erase_as_two(gateway, "compliance", PERSON.iin, **given)


async def disclosed(house: House, gateway: Gateway, *people: Any) -> None:
    for person in people:
        await give_consent(house, gateway, person)
        await gateway.disclose("loan-scoring", request(request_document(person)))


async def checkpointed(gateway: Gateway) -> Checkpoint:
    """The checkpoint over all that stands now."""
    await make_upkeep(gateway.setup, gateway.ledger)._checkpoints.make()
    with gateway.store.snapshot() as connection:
        [note] = connection.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").all()
    return opened(bytes(note[0]), gateway.setup.log_key)[1]


def bodies(gateway: Gateway) -> list[bytes]:
    with gateway.store.snapshot() as connection:
        return [entry.body for entry in entries_of(connection)]


def proofs(gateway: Gateway, size: int) -> list[bytes]:
    with gateway.store.snapshot() as connection:
        return [proof_of(connection, gateway.setup.log_key, index) for index in range(size)]


def require_included(proof: bytes, body: bytes, checkpoint: Checkpoint) -> None:
    parsed = TlogProof.parse(proof)
    verify_inclusion(parsed.index, checkpoint.size, leaf_hash(body), parsed.hashes, checkpoint.root)


@both_engines
async def test_an_erased_person_is_nobody_and_a_new_request_makes_somebody_new(house: House) -> None:
    async with house.gateway() as gateway:
        await disclosed(house, gateway, PERSON, OTHER)
        before = await gateway.ledger.subjects.find(PERSON.iin)
        erased = await erase(gateway)
        assert before is not None and erased.subject == before.id
        assert await gateway.ledger.subjects.find(PERSON.iin) is None
        with pytest.raises(NotFound):
            await erase(gateway)
        await disclosed(house, gateway, PERSON)
        after = await gateway.ledger.subjects.find(PERSON.iin)
        assert after is not None and after.id != before.id and after.key != before.key
        assert house.verified(gateway).kinds["erasure"] == 1


@both_engines
async def test_the_entry_says_who_erased_and_why_and_nothing_of_the_person(house: House) -> None:
    async with house.gateway() as gateway:
        await disclosed(house, gateway, PERSON)
        erased = await erase(gateway)
        [entry] = house.entries(gateway, "erasure")
        assert {name: entry[name] for name in entry if name not in ("id", "time")} == {
            "format": 1, "kind": "erasure", "subject": erased.subject, "caller": "compliance", **SAID,
            "person": f"{SAID['person']}; {SECOND.name}", "instrument": None, "epoch": 1,
            "approval": next(each["approval"] for each in house.entries(gateway, "control")),
        }  # fmt: skip
        assert erased.index == len(house.entries(gateway)) - 1


@both_engines
async def test_refused_while_duties_are_open_unless_an_instrument_is_named(house: House) -> None:
    async with house.gateway() as gateway:
        await disclosed(house, gateway, PERSON)
        with pytest.raises(ErasureRefused, match="duties under the contract are open"):
            await erase(gateway, duties_met=False)
        assert await gateway.ledger.subjects.find(PERSON.iin) is not None
        assert house.entries(gateway, "erasure") == []
        await erase(gateway, duties_met=False, instrument="court act 2-1187")
        [entry] = house.entries(gateway, "erasure")
        assert (entry["instrument"], entry["person"]) == ("court act 2-1187", f"{SAID['person']}; {SECOND.name}")


@both_engines
async def test_refused_while_a_withdrawal_is_pending(house: House) -> None:
    async with house.gateway() as gateway:
        consent = await give_consent(house, gateway, PERSON)
        await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=False)
        with pytest.raises(ErasureRefused, match=f"withdrawal of consent {consent.id} is pending"):
            await erase(gateway)
        await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=True)
        await erase(gateway)
        house.verified(gateway)


@both_engines
async def test_an_instrument_goes_over_a_pending_withdrawal(house: House) -> None:
    async with house.gateway() as gateway:
        consent = await give_consent(house, gateway, PERSON)
        await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=False)
        await erase(gateway, duties_met=False, instrument="94-V art. 18")
        house.verified(gateway)


@both_engines
async def test_refused_while_a_disclosure_is_under_way_even_with_an_instrument(house: House) -> None:
    house.fcb.fault = Fault.SLOW
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        asking = asyncio.create_task(gateway.disclose("loan-scoring", request(request_document(PERSON))))
        await house.reached(house.fcb)
        with pytest.raises(ErasureRefused, match="it is not known what came of"):
            await erase(gateway, instrument="court act 1")
        done = await asking
        assert house.entries(gateway, "outcome")[0]["result"] == OutcomeResult.DELIVERED and done.report
        await erase(gateway)
        house.verified(gateway)


@both_engines
async def test_refused_while_a_disclosure_is_unknown_until_a_person_settles_it(house: House) -> None:
    house.fcb.fault = Fault.SERVER_ERROR
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        with pytest.raises(Unsettled) as raised:
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        disclosure = str(raised.value.disclosure)
        for instrument in (None, "court act 1"):
            with pytest.raises(ErasureRefused, match=disclosure):
                await erase(gateway, instrument=instrument)
        await settle_as_two(gateway, "compliance", disclosure, OutcomeResult.REJECTED, **SAID)
        await erase(gateway)
        house.verified(gateway)


@pytest.fixture
def before_the_intent(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], Awaitable[object]]]:
    """Work put in here is done once, after the decision and after the subject was found, before the intent."""
    waiting: list[Callable[[], Awaitable[object]]] = []
    intend = Ledger.intend

    async def then_intend(self: Ledger, *given: Any, **named: Any) -> Any:
        if waiting:
            await waiting.pop()()
        return await intend(self, *given, **named)

    monkeypatch.setattr(Ledger, "intend", then_intend)
    return waiting


@pytest.mark.promise(3)
@both_engines
async def test_what_was_being_decided_about_somebody_erased_meanwhile_is_not_sent(
    house: House, before_the_intent: list[Callable[[], Awaitable[object]]]
) -> None:
    async with house.gateway() as gateway, house.gateway() as elsewhere:
        await give_consent(house, gateway, PERSON)
        before_the_intent.append(lambda: erase(elsewhere))
        with pytest.raises(Denied) as denied:
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        assert denied.value.decision.reasons[0].guard == "consent_covers"
        assert house.entries(gateway, "intent") == []
        [erased], [refused] = house.entries(gateway, "erasure"), house.entries(gateway, "refusal")
        assert erased["subject"] != refused["subject"]
        house.verified(gateway)
    assert house.fcb.connections == 0


@pytest.mark.promise(3)
@both_engines
async def test_consents_of_an_erased_person_permit_nothing(house: House) -> None:
    async with house.gateway() as gateway:
        consent = await give_consent(house, gateway, PERSON)
        await erase(gateway)
        for named in (None, consent.id):
            with pytest.raises(Denied):
                await gateway.disclose("loan-scoring", request(request_document(PERSON, consent=named)))
    assert house.fcb.connections == 0


@pytest.mark.promise(5)
@both_engines
async def test_no_gateway_opens_an_entry_about_an_erased_person(house: House) -> None:
    async with house.gateway() as gateway, house.gateway() as elsewhere:
        await disclosed(house, gateway, PERSON, OTHER)
        subject = await elsewhere.ledger.subjects.find(PERSON.iin)
        assert subject is not None
        sealed = [entry for entry in house.entries(gateway) if entry.get("subject") == subject.id]
        assert [subject.open(entry)["iin"] for entry in sealed if entry["kind"] != "outcome"] == [PERSON.iin] * 2
        await erase(gateway)
        for each in (gateway, elsewhere):
            assert await each.ledger.subjects.find(PERSON.iin) is None
            with pytest.raises(NotFound, match="erased"):
                await each.ledger.subjects.by_id(subject.id)
            somebody = await each.ledger.subjects.find(OTHER.iin)
            assert somebody is not None
            for entry in sealed:
                with pytest.raises(KeyringError):
                    somebody.open(entry)
    async with house.gateway() as later:
        with pytest.raises(NotFound):
            await later.ledger.subjects.by_id(subject.id)


@pytest.mark.promise(5)
@both_engines
async def test_every_proof_verifies_before_and_after(house: House) -> None:
    house.edit("gateway.toml", ("checkpoint_every_ms = 1000", "checkpoint_every_ms = 3600000"))
    async with house.gateway() as gateway:
        await disclosed(house, gateway, PERSON, OTHER)
        old = await checkpointed(gateway)
        stood, shown = bodies(gateway), proofs(gateway, old.size)
        await erase(gateway)
        await gateway.compliance.rotate_keys("compliance", **SAID, progress=lambda _done, _all: None)
        await disclosed(house, gateway, PEOPLE[2])
        new = await checkpointed(gateway)

        assert new.size > old.size + 3
        assert bodies(gateway)[: old.size] == stood
        for body, proof in zip(stood, shown, strict=True):
            require_included(proof, body, old)
        for body, proof in zip(bodies(gateway), proofs(gateway, new.size), strict=True):
            require_included(proof, body, new)
        with gateway.store.snapshot() as connection:
            path = tree_of(connection).consistency(old.size, new.size)
        verify_consistency(old.size, new.size, path, old.root, new.root)
        assert house.verified(gateway).in_tree == new.size


@both_engines
async def test_an_erasure_while_another_process_rotates_is_of_the_epoch_that_wrapped_the_key(
    house: House,
) -> None:
    # Entered as of the destroyed epoch it would count as in effect, though back-ups hold the key in a living one.
    async with house.gateway() as gateway, house.gateway() as elsewhere:
        await disclosed(house, gateway, PERSON)
        subjects = gateway.ledger.subjects
        follow = subjects.follow_keyring

        async def then_rotate() -> None:
            await follow()
            await elsewhere.compliance.rotate_keys("compliance", **SAID, progress=lambda _done, _all: None)

        subjects.follow_keyring = then_rotate  # type: ignore[method-assign]
        erased = await erase(gateway)
        assert erased.epoch == house.entries(gateway, "erasure")[0]["epoch"] == 2
        house.verified(gateway)


@both_engines
async def test_two_gateways_erase_a_person_once(house: House) -> None:
    async with house.gateway() as gateway, house.gateway() as elsewhere:
        await disclosed(house, gateway, PERSON)
        done = await asyncio.gather(erase(gateway), erase(elsewhere), return_exceptions=True)
        assert sorted(type(each).__name__ for each in done) in (["Erased", "NotFound"], ["Erased", "NotPossible"])
        assert house.verified(gateway).kinds["erasure"] == 1


@both_engines
async def test_the_command_erases_and_says_that_it_is_pending(house: House) -> None:
    async with house.gateway() as gateway:
        await disclosed(house, gateway, PERSON)
    path = house.write("who.json", {"subject": {"iin": PERSON.iin}})
    command = ("subject", "erase", path, "--caller", "compliance", "--person", "A. C.", "--reason", "application 17")
    refused = await house.cli(*command, "--duties-open")
    assert refused.code == 1 and refused.err.startswith("erasure_refused: duties"), refused.err
    ran = await house.cli(*command, "--duties-met")
    assert ran.code == 0 and "nothing is done yet" in ran.out, ran.err
    [agree] = [line.split() for line in ran.out.splitlines() if line.startswith("  qaqpa approval agree ")]
    who = ("--person", "B. D.", "--reason", "seen")
    done = await house.cli(*agree[1 : agree.index("--person")], *who)
    assert done.code == 0 and "pending" in done.out and "qaqpa keys rotate" in " ".join(done.out.split()), done.err
    again = await house.cli(*command, "--duties-met", "--json")
    assert (again.code, again.json["code"]) == (2, "not_found")
    assert PERSON.iin not in "".join(each.out + each.err for each in (refused, ran, done, again))
