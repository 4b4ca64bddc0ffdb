"""Somebody who can write to the database tries what no entry says: it sends nothing more, and is found."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from books import Intruder
from harness import (
    PEOPLE,
    House,
    both_engines,
    give_consent,
    request,
    request_document,
)
from qaqpa.errors import Denied, KeyringError, NotPossible, StoreError, VerificationFailed
from qaqpa.gateway import Gateway

PERSON, OTHER = PEOPLE[0], PEOPLE[1]
SAID = {"person": "A. Compliance", "reason": "a test"}


@pytest.fixture
def intruder(house: House, store_url: str) -> Intruder:
    return Intruder(store_url, house.home)


def files_like(file: Path) -> list[str]:
    return sorted(path.name for path in file.parent.glob(f"{file.name}*"))


async def rotate(gateway: Gateway) -> object:
    return await gateway.compliance.rotate_keys("compliance", **SAID, progress=lambda _done, _all: None)


@pytest.mark.promise(3)
@both_engines
@pytest.mark.parametrize("hidden", [False, True], ids=["as they are", "without the sealed IIN"])
async def test_the_consent_of_another_person_is_not_got_by_exchanging_the_index(
    house: House, intruder: Intruder, hidden: bool
) -> None:
    asked = request(request_document(OTHER))
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        with pytest.raises(Denied):
            await gateway.disclose("loan-scoring", asked)
        first = await gateway.ledger.subjects.find(PERSON.iin)
        second = await gateway.ledger.subjects.find(OTHER.iin)
        assert first is not None
        assert second is not None
        blinds = {row[1]: bytes(row[0]) for row in intruder.rows("SELECT blind, subject FROM subjects")}
        intruder.change("UPDATE subjects SET blind = ? WHERE subject = ?", b"aside", first.id)
        intruder.change("UPDATE subjects SET blind = ? WHERE subject = ?", blinds[first.id], second.id)
        intruder.change("UPDATE subjects SET blind = ? WHERE subject = ?", blinds[second.id], first.id)
        if hidden:
            intruder.change("UPDATE subjects SET iin = NULL")
        with pytest.raises(KeyringError, match="leads to somebody else"):
            await gateway.disclose("loan-scoring", asked)
    assert house.fcb.calls == []


@pytest.mark.promise(4)
@both_engines
async def test_entries_are_not_deleted_by_saying_that_their_month_was_moved(house: House, intruder: Intruder) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        await give_consent(house, gateway, OTHER)
    intruder.change("DELETE FROM entries WHERE idx = 1")
    intruder.change("INSERT INTO archives VALUES (202001, 1, 1, 1, 'x', 'entries-2020-01.txt')")
    with pytest.raises(VerificationFailed, match="no entry says that month 202001 stands there"):
        house.verified(gateway)


@both_engines
async def test_a_key_without_its_place_in_the_index_is_found(house: House, intruder: Intruder) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
    intruder.change("DELETE FROM subjects")
    with pytest.raises(VerificationFailed, match="has a key and no place in the index"):
        house.verified(gateway)


async def test_keys_of_a_destroyed_epoch_stop_no_rotation(house: House, intruder: Intruder) -> None:
    """They came with a back-up from before a rotation, whose loss was accepted."""
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        await give_consent(house, gateway, OTHER)
        await rotate(gateway)
        dead = await gateway.ledger.subjects.find(PERSON.iin)
        assert dead is not None
        intruder.change("UPDATE subject_keys SET epoch = 1 WHERE subject = ?", dead.id)
        await rotate(gateway)
        assert await gateway.ledger.subjects.find(OTHER.iin) is not None


async def test_of_two_rotations_at_once_one_is_refused_and_one_entered(house: House) -> None:
    async with house.gateway() as gateway, house.gateway() as other:
        await give_consent(house, gateway, PERSON)
        done = await asyncio.gather(rotate(gateway), rotate(other), return_exceptions=True)
        assert sum(isinstance(each, NotPossible) for each in done) == 1
        acts = [entry for entry in house.entries(gateway, "control") if entry["act"] == "rotate_keys"]
        assert [entry["epoch"] for entry in acts] == [2]


@pytest.mark.parametrize(
    ("name", "value"), [("rotated", "abc"), ("loss", "{}")], ids=["which epoch was rotated", "which loss was accepted"]
)
async def test_what_is_noted_beside_the_ledger_breaks_nothing_when_it_is_changed(
    house: House, intruder: Intruder, name: str, value: str
) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
    intruder.run(f"DELETE FROM meta WHERE name = '{name}'")
    intruder.change("INSERT INTO meta (name, value) VALUES (?, ?)", name, value)
    with pytest.raises(StoreError, match=f"meta.{name} was changed"):
        async with house.gateway() as gateway:
            await rotate(gateway)


async def test_a_back_up_that_was_cut_off_never_stands_under_its_name(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
    file = tmp_path / "b.db"
    with monkeypatch.context() as patched:
        patched.setattr("qaqpa.ledger.backup.verify", lambda _connection: 1 / 0)
        assert (await house.cli("backup", str(file), "--caller", "compliance")).code != 0
    assert not file.exists()
    assert (await house.cli("backup", str(file), "--caller", "compliance")).code == 0
    assert files_like(file) == ["b.db"]


async def test_a_persons_look_at_a_consent_is_entered(house: House) -> None:
    async with house.gateway() as gateway:
        consent = await give_consent(house, gateway, PERSON)
        await gateway.consent("loan-scoring", consent.id)
        await gateway.consent("compliance", consent.id)
        (look,) = house.entries(gateway, "review")
        assert (look["act"], look["selection"]) == ("consent", {"consent": consent.id})
