"""What the database notes beside the ledger (its epoch, the last rotation, a loss, who was erased) decides nothing
that the entries do not say, whoever wrote it there.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from books import Intruder
from harness import PEOPLE, House, both_engines, erase_as_two, give_consent, request, request_document
from qaqpa.errors import KeyringError, StoreError, StoreUnavailable, VerificationFailed
from qaqpa.gateway import Gateway

PERSON, OTHER = PEOPLE[0], PEOPLE[1]
SAID = {"person": "A. Compliance", "reason": "a test"}
LOSS = {"caller": "compliance", **SAID, "size": 2, "lost_size": 5, "lost_root": "00" * 32}
_SUBJECTS = ("subject_keys", "subjects")


@pytest.fixture
def intruder(house: House, store_url: str) -> Intruder:
    return Intruder(store_url, house.home)


async def rotate(gateway: Gateway) -> Any:
    return await gateway.compliance.rotate_keys("compliance", **SAID, progress=lambda _done, _all: None)


async def erase(gateway: Gateway, iin: str) -> Any:
    return await erase_as_two(gateway, "compliance", iin, **SAID, duties_met=True)


async def used(house: House) -> None:
    """Policy and a consent."""
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        house.verified(gateway)


def note(intruder: Intruder, name: str, value: str | None) -> None:
    intruder.run(f"DELETE FROM meta WHERE name = '{name}'")
    if value is not None:
        intruder.change("INSERT INTO meta (name, value) VALUES (?, ?)", name, value)


NOTES = {
    "a name of somebody's own": ("mine", "x"),
    "another configuration": ("config", "x"),
    "no configuration": ("config", None),
    "no keyring": ("keyring", None),
    "a rotation that nobody entered": ("rotated", "2"),
    "a rotation that is none": ("rotated", "x"),
    "no epoch": ("epoch", None),
    "an epoch before all": ("epoch", "0"),
    "an epoch that is none": ("epoch", "x"),
    "a loss that says nothing": ("loss", "{}"),
    "a loss that is no JSON": ("loss", "x"),
    "a loss of another size": ("loss", json.dumps(LOSS | {"size": 1})),
    "a loss with more in it": ("loss", json.dumps(LOSS | {"more": 1})),
    "a loss with other words": ("loss", json.dumps(LOSS | {"size": "2"})),
    "a loss with a root that is none": ("loss", json.dumps(LOSS | {"lost_root": PERSON.iin})),
}


@pytest.mark.promise(4)
@pytest.mark.parametrize(("name", "value"), NOTES.values(), ids=NOTES.keys())
async def test_what_is_noted_is_held_against_the_entries(
    house: House, intruder: Intruder, name: str, value: str | None
) -> None:
    await used(house)
    note(intruder, name, value)
    ran = await house.cli("ledger", "verify")
    assert (ran.code, "the table meta was changed" in ran.err) == (6, True), ran.err


@both_engines
@pytest.mark.parametrize("rotated", ["99", "2", "1"])
async def test_no_epoch_is_destroyed_without_being_entered(house: House, intruder: Intruder, rotated: str) -> None:
    await used(house)
    note(intruder, "rotated", rotated)
    async with house.gateway() as gateway:
        with pytest.raises(StoreUnavailable, match=r"meta\.rotated was changed"):
            await rotate(gateway)
        assert gateway.ledger.keyring.epochs == (1,)
        note(intruder, "rotated", None)
        await rotate(gateway)
        assert [entry["epoch"] for entry in house.entries(gateway, "control")] == [2]
        house.verified(gateway)


@pytest.mark.promise(3)
@both_engines
@pytest.mark.parametrize("epoch", [None, "x"])
async def test_nobody_is_unknown_because_the_epoch_is_gone(house: House, intruder: Intruder, epoch: str | None) -> None:
    await used(house)
    note(intruder, "epoch", epoch)
    async with house.gateway() as gateway:
        with pytest.raises(KeyringError, match=r"meta\.epoch was changed"):
            await erase(gateway, PERSON.iin)
        with pytest.raises(KeyringError, match=r"meta\.epoch was changed"):
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
    assert house.fcb.calls == []
    ran = await house.cli("keys", "rotate", "--caller", "compliance", "--person", "A", "--reason", "r")
    assert (ran.code, "meta.epoch was changed" in ran.err) == (5, True), ran.err


@pytest.mark.promise(7)
@pytest.mark.parametrize(
    "change",
    [{"more": "x"}, {"size": 3}, {"person": PERSON.iin}, {"reason": f"of {PERSON.iin}"}, {"lost_root": PERSON.iin}],
    ids=str,
)
async def test_no_loss_is_signed_that_nobody_accepted(
    house: House, intruder: Intruder, change: dict[str, object]
) -> None:
    await used(house)
    note(intruder, "loss", json.dumps(LOSS | change))
    with pytest.raises(StoreError, match=r"meta\.loss was changed"):
        async with house.gateway():
            pass
    assert intruder.value("SELECT count(*) FROM entries") == 2


# --- who was erased --------------------------------------------------------------------------------


@pytest.mark.promise(6)
@both_engines
@pytest.mark.parametrize("forgotten", [False, True], ids=["on record", "taken from the register"])
async def test_an_erased_person_is_not_carried_into_the_next_epoch(
    house: House, intruder: Intruder, forgotten: bool
) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        await give_consent(house, gateway, OTHER)
        kept = {table: intruder.rows(f"SELECT * FROM {table}") for table in _SUBJECTS}
        erased = await erase(gateway, PERSON.iin)
        for table, rows in kept.items():
            for row in rows:
                if erased.subject in row:
                    intruder.change(f"INSERT INTO {table} VALUES (?, ?, ?)", *row)
        if forgotten:
            intruder.change("DELETE FROM erasures")
        said = "the register erasures was changed" if forgotten else "was erased and has a key again"
        with pytest.raises(StoreUnavailable, match=said):
            await rotate(gateway)
        assert gateway.ledger.keyring.epochs == (1,), "nothing was destroyed"
        for table in _SUBJECTS:
            intruder.change(f"DELETE FROM {table} WHERE subject = ?", erased.subject)
        if forgotten:
            intruder.change("INSERT INTO erasures VALUES (?, 1)", erased.subject)
        assert (await rotate(gateway)).erasures == 1
        assert await gateway.ledger.subjects.find(OTHER.iin) is not None
        house.verified(gateway)


@pytest.mark.parametrize("change", ["epoch = 2", "subject = 'x'"])
async def test_the_register_of_erasures_is_held_against_the_entries(
    house: House, intruder: Intruder, change: str
) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        await erase(gateway, PERSON.iin)
        house.verified(gateway)
        intruder.change(f"UPDATE erasures SET {change}")
        with pytest.raises(VerificationFailed, match="the register erasures was changed"):
            house.verified(gateway)


async def test_erasures_of_months_that_were_moved_are_counted(house: House, tmp_path: Path) -> None:
    house.clock.offset = timedelta(days=-62)
    async with house.gateway() as gateway:
        month = house.clock().year * 100 + house.clock().month
        for person in PEOPLE[:3]:
            await give_consent(house, gateway, person)
        await erase(gateway, PERSON.iin)
    house.clock.offset = timedelta(0)
    async with house.gateway() as gateway:
        await gateway.compliance.archive("compliance", month, tmp_path / "files", **SAID)
        await erase(gateway, OTHER.iin)
        assert (await rotate(gateway)).erasures == 2
        assert house.entries(gateway, "control")[-1]["erasures"] == 2
    ran = await house.cli("ledger", "verify", "--archives", str(tmp_path / "files"), "--whole")
    assert ran.code == 0, ran.err
    assert (await house.cli("ledger", "verify")).code == 0
    ran = await house.cli("ledger", "verify", "--whole")
    assert (ran.code, "were not read: give --archives" in ran.err) == (6, True)
    ran = await house.cli("ledger", "verify", "--whole", "--json")
    assert (ran.code, ran.json["verified"]) == (6, False)
    ran = await house.cli("ledger", "verify", "--json")
    assert (ran.code, ran.json["verified"], ran.json["whole"]) == (0, True, False)


# --- the last checkpoint ---------------------------------------------------------------------------


@pytest.mark.promise(4)
@both_engines
async def test_no_checkpoint_is_printed_that_the_key_did_not_sign(house: House, intruder: Intruder) -> None:
    await used(house)
    intruder.change("UPDATE checkpoints SET note = ?", b"forged")
    for arguments in (("checkpoint",), ("checkpoint", "--json"), ("prove", "0")):
        ran = await house.cli("ledger", *arguments)
        assert (ran.code, "forged" in ran.out) == (6, False), ran.err


@pytest.mark.promise(4)
async def test_no_checkpoint_is_printed_that_is_over_another_past(house: House, intruder: Intruder) -> None:
    await used(house)
    tile = bytes(intruder.value("SELECT hashes FROM tiles"))
    intruder.change("UPDATE tiles SET hashes = ?", tile[32:] + tile[:32])
    for arguments in (("checkpoint",), ("prove", "0")):
        ran = await house.cli("ledger", *arguments)
        assert (ran.code, "not over those that stand" in ran.err) == (6, True), ran.err


@pytest.mark.promise(4)
@both_engines
async def test_checkpoints_that_are_gone_from_the_database_stand_outside(house: House, intruder: Intruder) -> None:
    await used(house)
    before = (await house.cli("ledger", "checkpoint")).out
    assert "the database's last checkpoint" not in (await house.cli("ledger", "verify")).out
    intruder.change("DELETE FROM checkpoints")
    assert (await house.cli("ledger", "checkpoint")).out == before == (house.home / "checkpoint.txt").read_text()
    assert (await house.cli("ledger", "prove", "1")).code == 0
    ran = await house.cli("ledger", "verify")
    assert (ran.code, "last checkpoint is over 0 entries" in ran.out) == (0, True)
    ran = await house.cli("ledger", "verify", "--json")
    assert (ran.json["last_checkpoint"], ran.json["checkpoint_outside"]) == (0, 2)
