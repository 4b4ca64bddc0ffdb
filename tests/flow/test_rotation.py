"""Keys are rotated while gateways work, and whenever it is cut off it goes on: nobody unreadable, the old keys gone."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from harness import PASSPHRASE, PEOPLE, House, both_engines, erase_as_two, give_consent, request, request_document
from qaqpa.errors import KeyringError
from qaqpa.gateway import Gateway
from qaqpa.keys import Keyring
from qaqpa.keys.keyring import Unlock
from qaqpa.ledger import rotation
from qaqpa.ledger.rotation import Rotated
from qaqpa.store import Connection
from qaqpa.testing.people import Person, people

PERSON = PEOPLE[0]
SAID = {"person": "A. Operator", "reason": "yearly"}
COMMAND = ("keys", "rotate", "--caller", "compliance", "--person", "A. Operator", "--reason", "yearly")


async def rotate(gateway: Gateway) -> Rotated:
    return await gateway.compliance.rotate_keys("compliance", **SAID, progress=lambda _done, _all: None)


async def known(gateway: Gateway, persons: list[Person] = PEOPLE) -> dict[str, str]:
    """Everybody known, by IIN, as their random id."""
    for person in persons:
        await gateway.ledger.subjects.ensure(person.iin)
    return await ids(gateway, persons)


async def ids(gateway: Gateway, persons: list[Person] = PEOPLE) -> dict[str, str]:
    found = {person.iin: await gateway.ledger.subjects.find(person.iin) for person in persons}
    return {iin: subject.id for iin, subject in found.items() if subject is not None}


async def require_readable(house: House, gateway: Gateway) -> None:
    """Every entry about somebody opens, and tells of whom the index says it is."""
    for iin, name in (await ids(gateway)).items():
        subject = await gateway.ledger.subjects.by_id(name)
        for entry in house.entries(gateway):
            if entry.get("subject") == name and "sealed" in entry:
                assert subject.open(entry).get("iin", iin) == iin


def epochs_in_file(house: House) -> tuple[int, ...]:
    return Keyring.load(house.home / "keyring.json", Unlock(PASSPHRASE)).epochs


def epochs_of_keys(gateway: Gateway) -> dict[int, int]:
    with gateway.store.snapshot() as connection:
        query = "SELECT epoch, count(*) FROM subject_keys GROUP BY epoch"
        return {row[0]: row[1] for row in connection.execute(query).all()}


def rotations(house: House, gateway: Gateway) -> list[dict[str, Any]]:
    return [entry for entry in house.entries(gateway, "control") if entry["act"] == "rotate_keys"]


@both_engines
async def test_the_living_stay_readable_and_the_old_epoch_is_gone(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        before = await known(gateway)
        done = await rotate(gateway)
        assert (done.epoch, done.subjects, done.destroyed, done.pending) == (2, len(PEOPLE), (1,), 0)
        assert epochs_in_file(house) == (2,)
        assert epochs_of_keys(gateway) == {2: len(PEOPLE)}
        [entry] = rotations(house, gateway)
        assert (entry["epoch"], entry["subjects"], entry["erasures"], entry["person"]) == (2, 8, 0, SAID["person"])
    async with house.gateway() as later:
        assert await known(later) == before
        await require_readable(house, later)
        await later.disclose("loan-scoring", request(request_document(PERSON)))
        house.verified(later)


@both_engines
async def test_each_rotation_is_an_epoch_and_an_entry(house: House) -> None:
    async with house.gateway() as gateway:
        before = await known(gateway)
        assert [(await rotate(gateway)).epoch for _ in range(3)] == [2, 3, 4]
        assert [entry["epoch"] for entry in rotations(house, gateway)] == [2, 3, 4]
        assert await ids(gateway) == before
        assert epochs_in_file(house) == (4,)


class Cut(Exception):
    """The process dies here."""


@dataclass
class Knife:
    """Cuts a rotation at one of its steps."""

    monkeypatch: pytest.MonkeyPatch

    def before(self, owner: Any, name: str, *, after: int = 0, done: bool = False) -> None:
        """Cut when `owner.name` is called and `after` calls went well; `done`: after its work instead of before."""
        work: Callable[..., Any] = getattr(owner, name)
        calls = iter(range(1_000_000))

        def cut(*given: Any, **named: Any) -> Any:
            if next(calls) < after:
                return work(*given, **named)
            if done:
                work(*given, **named)
            raise Cut

        self.monkeypatch.setattr(owner, name, cut)


STEPS: dict[str, Callable[[Knife, Gateway], None]] = {
    "before the new epoch": lambda knife, gateway: knife.before(gateway.ledger.keyring, "begin_epoch"),
    "the new epoch made, the database not told": lambda knife, gateway: knife.before(
        gateway.ledger.keyring, "begin_epoch", done=True
    ),
    "before the first batch": lambda knife, _: knife.before(rotation, "_move"),
    "in the first batch": lambda knife, _: knife.before(rotation, "_move", done=True),
    "after the first batch": lambda knife, _: knife.before(rotation, "_move", after=1),
    "after the second batch": lambda knife, _: knife.before(rotation, "_move", after=2),
    "before the old epoch is destroyed": lambda knife, gateway: knife.before(gateway.ledger.keyring, "destroy_before"),
    "the old epoch destroyed": lambda knife, gateway: knife.before(gateway.ledger.keyring, "destroy_before", done=True),
    "before the database shrinks": lambda knife, gateway: knife.before(gateway.store.engine, "shrink"),
    "before the entry": lambda knife, _: knife.before(rotation, "_enter"),
    "in the entry's transaction": lambda knife, _: knife.before(rotation, "_set_rotated", done=True),
}


@both_engines
@pytest.mark.parametrize("step", STEPS)
async def test_cut_off_at_any_step_it_goes_on_when_it_is_run_again(house: House, step: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rotation, "BATCH", 3)
        async with house.gateway() as gateway:
            await give_consent(house, gateway, PERSON)
            before = await known(gateway)
            STEPS[step](Knife(patched), gateway)
            with pytest.raises(Cut):
                await rotate(gateway)
            patched.undo()
            # The keys that died in the middle of it are still served by those who live.
            assert await known(gateway) == before
    async with house.gateway() as gateway:
        assert await known(gateway) == before
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        assert (await rotate(gateway)).epoch == 2
        assert await known(gateway) == before
        assert epochs_in_file(house) == (2,)
        assert epochs_of_keys(gateway) == {2: len(PEOPLE)}
        assert [entry["epoch"] for entry in rotations(house, gateway)] == [2]
        await require_readable(house, gateway)
        house.verified(gateway)


@both_engines
async def test_an_erasure_after_the_epoch_began_waits_for_the_next_rotation(house: House) -> None:
    async with house.gateway() as gateway:
        await known(gateway)
        with pytest.MonkeyPatch.context() as patched:
            Knife(patched).before(gateway.ledger.keyring, "destroy_before")
            with pytest.raises(Cut):
                await rotate(gateway)
        erased = await erase_as_two(gateway, "compliance", PERSON.iin, duties_met=True, **SAID)
        assert erased.epoch == 2
        finished = await rotate(gateway)
        assert (finished.epoch, finished.pending) == (2, 1)
        assert rotations(house, gateway)[-1]["erasures"] == 0
        following = await rotate(gateway)
        assert (following.epoch, following.pending) == (3, 0)
        assert rotations(house, gateway)[-1]["erasures"] == 1


@pytest.mark.parametrize("at", [0.0, 0.02, 0.1, 0.4])
async def test_killed_for_real_it_goes_on(house: House, at: float) -> None:
    crowd = [
        *PEOPLE,
        *people(3000, today=house.clock().date())[len(PEOPLE) :],
    ]  # the same ones though a day began since
    async with house.gateway() as gateway:
        before = await known(gateway)
        await give_consent(house, gateway, PERSON)

        def fill(connection: Connection) -> None:
            for person in crowd[len(PEOPLE) :]:
                gateway.ledger.subjects._make(connection, person.iin)

        await gateway.store.write(fill)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "qaqpa", *COMMAND,
            env=dict(os.environ), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(60):  # killed `at` seconds after the new epoch began
            while json.loads((house.home / "keyring.json").read_text())["epoch"] == 1:  # noqa: ASYNC110 - a file of another process
                await asyncio.sleep(0.002)
        await asyncio.sleep(at)
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()
        assert await ids(gateway) == before
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))
    first = await house.cli(*COMMAND)
    assert first.code == 0, first.err
    async with house.gateway() as gateway:
        assert await ids(gateway) == before
        assert epochs_in_file(house) == tuple(epochs_of_keys(gateway))
        entered = [entry["epoch"] for entry in rotations(house, gateway)]
        assert entered == list(range(2, 2 + len(entered)))
        assert len(await ids(gateway, crowd)) == len({person.iin for person in crowd})
        await require_readable(house, gateway)
        house.verified(gateway)


@both_engines
async def test_another_gateway_goes_on_before_during_and_after_without_doubling_anybody(house: House) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rotation, "BATCH", 1)
        async with house.gateway() as gateway, house.gateway() as elsewhere:
            before = await known(gateway)
            for person in PEOPLE:
                await give_consent(house, elsewhere, person)
            asked: list[str] = []
            over = asyncio.Event()

            async def disclose() -> None:
                while not over.is_set() or len(asked) < 3 * len(PEOPLE):
                    person = PEOPLE[len(asked) % len(PEOPLE)]
                    done = await elsewhere.disclose("loan-scoring", request(request_document(person)))
                    asked.append(done.id)

            working = asyncio.create_task(disclose())
            await house.reached(house.fcb)
            epochs = [(await rotate(gateway)).epoch for _ in range(3)]
            over.set()
            await working
            assert epochs == [2, 3, 4]
            assert await ids(elsewhere) == await ids(gateway) == before
            assert epochs_of_keys(gateway) == {4: len(PEOPLE)}
            assert elsewhere.ledger.keyring.epoch == 4
            await require_readable(house, elsewhere)
            assert len(house.entries(gateway, "intent")) == len(asked)
            house.verified(gateway)


@both_engines
async def test_who_is_moved_already_and_who_is_not_yet_are_found_alike(house: House) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rotation, "BATCH", 3)
        async with house.gateway() as gateway, house.gateway() as elsewhere:
            before = await known(elsewhere, PEOPLE[:7])
            Knife(patched).before(rotation, "_move", after=1)
            with pytest.raises(Cut):
                await rotate(gateway)
            assert epochs_of_keys(gateway) == {1: 4, 2: 3}
            assert elsewhere.ledger.keyring.epochs == (1,)
            assert await known(elsewhere, PEOPLE[:7]) == before
            await known(elsewhere)  # somebody new, in the middle of it
            assert epochs_of_keys(gateway) == {1: 4, 2: 4}


@both_engines
async def test_an_old_copy_of_the_keyring_is_refused(house: House) -> None:
    keyring = house.home / "keyring.json"
    async with house.gateway() as gateway:
        await known(gateway)
        shutil.copy(keyring, house.home / "old.json")
        await rotate(gateway)
    (house.home / "old.json").replace(keyring)
    async with house.gateway() as gateway:
        with pytest.raises(KeyringError, match="an old copy; put the rotated one in its place"):
            await give_consent(house, gateway, PERSON)
        with pytest.raises(KeyringError, match="old copy"):
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
    assert house.fcb.connections == 0


@both_engines
async def test_an_old_copy_put_under_a_running_gateway_is_refused(house: House) -> None:
    keyring = house.home / "keyring.json"
    shutil.copy(keyring, house.home / "old.json")
    async with house.gateway() as gateway:
        await known(gateway)
        await rotate(gateway)
        (house.home / "old.json").replace(keyring)
        with pytest.raises(KeyringError, match="old copy of the keyring"):
            await rotate(gateway)
        assert epochs_of_keys(gateway) == {2: len(PEOPLE)}


@both_engines
async def test_a_database_that_keeps_no_iin_beside_the_key_is_rotated_from_its_entries(house: House) -> None:
    async with house.gateway() as gateway:
        for person in PEOPLE[:3]:
            await give_consent(house, gateway, person)
        before = await ids(gateway)
        await gateway.store.write(lambda connection: connection.execute("UPDATE subjects SET iin = NULL"))
        await rotate(gateway)
        assert await ids(gateway) == before and len(before) == 3
        with gateway.store.snapshot() as connection:
            assert connection.execute("SELECT count(*) FROM subjects WHERE iin IS NULL").scalar() == 0
        assert (await rotate(gateway)).epoch == 3
        await require_readable(house, gateway)


@both_engines
async def test_where_no_entry_tells_the_iin_nothing_is_destroyed(house: House) -> None:
    async with house.gateway() as gateway:
        before = await known(gateway)
        await gateway.store.write(lambda connection: connection.execute("UPDATE subjects SET iin = NULL"))
        with pytest.raises(KeyringError, match="no entry tells the IIN"):
            await rotate(gateway)
        assert epochs_in_file(house) == (1, 2)
        for iin, subject in before.items():
            assert (await gateway.ledger.subjects.by_id(subject)).id == subject
            with pytest.raises(KeyringError, match="no entry tells the IIN"):  # the index alone is not believed
                await gateway.ledger.subjects.find(iin)


@both_engines
async def test_a_key_that_the_index_does_not_know_is_not_destroyed_with_its_epoch(house: House) -> None:
    async with house.gateway() as gateway:
        before = await known(gateway)
        await gateway.store.write(
            lambda connection: connection.execute("DELETE FROM subjects WHERE subject = ?", (before[PERSON.iin],))
        )
        with pytest.raises(KeyringError, match="nothing was destroyed"):
            await rotate(gateway)
        assert epochs_in_file(house) == (1, 2)
        assert (await gateway.ledger.subjects.by_id(before[PERSON.iin])).key


@both_engines
async def test_the_command_says_what_to_do_with_copies(house: House) -> None:
    async with house.gateway() as gateway:
        await give_consent(house, gateway, PERSON)
        await known(gateway)
    ran = await house.cli(*COMMAND)
    assert ran.code == 0, ran.err
    assert "to epoch 2: 8 subjects' keys, destroyed epochs: 1" in ran.out
    assert "qaqpa backup" in ran.out and "destroy the old copies" in " ".join(ran.out.split())
