"""Back-ups while disclosures run, and the way back: from one engine to the other, and never silently to less."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from harness import PASSPHRASE, PEOPLE, House, both_engines, give_consent, request, request_document
from qaqpa.errors import Unsettled
from qaqpa.gateway import Gateway
from qaqpa.keys import Keyring
from qaqpa.keys.keyring import Unlock
from qaqpa.ledger.backup import _store_in, back_up
from qaqpa.ledger.verify import Verified, verify
from qaqpa.store.schema import metadata
from qaqpa.testing.faults import Fault

PERSON = PEOPLE[0]
CALLER = ("--caller", "compliance")
LOSS = ("--accept-loss", "--caller", "compliance", "--person", "A. Operator", "--reason", "the disk broke")
ROTATE = ("keys", "rotate", "--caller", "compliance", "--person", "A. Operator", "--reason", "yearly")


async def grown(house: House, gateway: Gateway, people: int = 3) -> None:
    for person in PEOPLE[:people]:
        await give_consent(house, gateway, person)
        await gateway.disclose("loan-scoring", request(request_document(person)))


async def worked(house: House, people: int = 3) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway, people)


@pytest.fixture
def elsewhere(engine: str, request: pytest.FixtureRequest) -> str:
    """An empty database of the other engine."""
    return request.getfixturevalue("postgres").database() if engine == "sqlite" else "sqlite:///restored.db"


@pytest.fixture
def anew(engine: str, request: pytest.FixtureRequest) -> str:
    """Another empty database of the same engine."""
    return "sqlite:///restored.db" if engine == "sqlite" else request.getfixturevalue("postgres").database()


def use(house: House, url: str) -> None:
    """Let the configuration name another database."""
    path = house.config / "gateway.toml"
    lines = [f'url = "{url}"' if line.startswith("url = ") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines))


async def backed_up(house: House, name: str = "backup.db") -> Path:
    path = house.home / name
    ran = await house.cli("backup", str(path), *CALLER)
    assert ran.code == 0 and "verified" in ran.out, ran.err
    return path


def content(gateway: Gateway) -> dict[str, list[Any]]:
    """Every row of every table."""
    with gateway.store.snapshot() as connection:
        return {
            table.name: sorted(
                (tuple(bytes(cell) if isinstance(cell, memoryview) else cell for cell in row) for row in rows), key=repr
            )
            for table in metadata.sorted_tables
            for rows in [connection.execute(f"SELECT * FROM {table.name}").all()]
        }


def verified(path: Path) -> Verified:
    with _store_in(path).snapshot() as connection:
        return verify(connection)


_ALWAYS = ("tree", "integrated", "catalogued", "meta")
"""Tables that hold a row in an empty database too."""


async def is_empty(house: House) -> bool:
    async with house.gateway() as gateway:
        return (
            all(rows == [] for name, rows in content(gateway).items() if name not in _ALWAYS)
            and house.entries(gateway) == []
        )


@both_engines
async def test_made_while_disclosures_run_it_verifies(house: House) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway)
        over = asyncio.Event()

        async def disclose() -> None:
            while not over.is_set():
                await gateway.disclose("loan-scoring", request(request_document(PERSON)))

        working = [asyncio.create_task(disclose()) for _ in range(4)]
        sizes = []
        for number in range(4):
            path = house.home / f"backup-{number}.db"
            done = await asyncio.to_thread(back_up, gateway.store, path, lambda _done, _all: None)
            assert verified(path) == done.found
            sizes.append(done.found.size)
        over.set()
        await asyncio.gather(*working)
        assert sizes == sorted(sizes) and sizes[0] >= 10 and sizes[-1] > sizes[0]
        house.verified(gateway)


@both_engines
async def test_it_is_its_owners_alone_and_overwrites_nothing(house: House) -> None:
    await worked(house)
    path = await backed_up(house)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in house.home.glob("backup.db*")] == ["backup.db"]
    before = path.read_bytes()
    again = await house.cli("backup", str(path), *CALLER)
    assert again.code == 2 and "exists; nothing is overwritten" in again.err
    assert path.read_bytes() == before


@both_engines
async def test_from_one_engine_to_the_other_and_back_it_is_the_same_ledger(
    house: House, elsewhere: str, anew: str
) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway)
        await gateway.suspend("compliance", "demo-collector", person="A. C.", reason="incident")
        consent = await give_consent(house, gateway, PERSON)
        await gateway.withdraw_consent("loan-scoring", consent.id, duties_met=False)
        house.fcb.fault = Fault.SERVER_ERROR
        with pytest.raises(Unsettled):
            await gateway.disclose("loan-scoring", request(request_document(PEOPLE[1])), idempotency_key="k")
        house.fcb.fault = Fault.NONE
    async with house.gateway() as gateway:
        before = {person.iin: await gateway.ledger.subjects.find(person.iin) for person in PEOPLE}
    for number, url in enumerate((elsewhere, anew)):
        path = await backed_up(house, f"backup-{number}.db")
        async with house.gateway() as gateway:
            stood, found = content(gateway), house.verified(gateway)
        assert len(found.unknown) == 1
        use(house, url)
        ran = await house.cli("restore", str(path))
        assert ran.code == 0 and found.root.hex() in ran.out, ran.err
        async with house.gateway() as gateway:
            restored = content(gateway)
            assert [name for name in stood if name != "checkpoints" and restored[name] != stood[name]] == []
            assert house.verified(gateway) == found
            assert {person.iin: await gateway.ledger.subjects.find(person.iin) for person in PEOPLE} == before
            assert set(await gateway.suspensions()) == {"demo-collector"}
    async with house.gateway() as gateway:
        await gateway.disclose("loan-scoring", request(request_document(PEOPLE[2])))
        house.verified(gateway)


@pytest.mark.promise(4)
@both_engines
async def test_one_older_than_the_checkpoint_outside_is_refused(house: House, anew: str) -> None:
    await worked(house)
    path = await backed_up(house)
    await worked(house, 1)
    signed = (house.home / "checkpoint.txt").read_bytes()
    use(house, anew)
    refused = await house.cli("restore", str(path))
    assert refused.code == 5 and refused.err.strip().startswith("ledger_rolled_back: "), refused.err
    assert "Entries after it would be lost" in refused.err and "--accept-loss" in refused.err
    assert (house.home / "checkpoint.txt").read_bytes() == signed
    (house.home / "checkpoint.txt").unlink()
    assert await is_empty(house)


@pytest.mark.promise(4)
@both_engines
async def test_a_loss_that_is_accepted_is_entered_and_the_checkpoint_kept(house: House, anew: str) -> None:
    await worked(house)
    path = await backed_up(house)
    size = verified(path).size
    await worked(house, 1)
    signed = (house.home / "checkpoint.txt").read_bytes()
    use(house, anew)
    ran = await house.cli("restore", str(path), *LOSS)
    assert ran.code == 0 and "lost" in ran.out, ran.err
    [kept] = house.home.glob("checkpoint.txt.lost-*")
    assert kept.read_bytes() == signed and kept.name.endswith(f"-{size + 3}")
    async with house.gateway() as gateway:
        [entry] = house.entries(gateway, "control")
        assert [entry[name] for name in ("act", "caller", "person", "reason", "size", "lost_size")] == [
            "restore", "compliance", "A. Operator", "the disk broke", size, size + 3,
        ]  # fmt: skip
        assert len(entry["lost_root"]) == 64
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        house.verified(gateway)


@pytest.mark.promise(7)
@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        (("--caller", "loan-scoring"), 1, "lacks the role operate"),
        (("--caller", "nobody"), 1, "does not stand in callers.toml"),
        (("--reason", f"about {PERSON.iin}"), 2, "in the open"),
        (("--person", " "), 2, "in the open"),
    ],
)
async def test_a_loss_is_accepted_by_nobody_whose_act_cannot_be_entered(
    house: House, anew: str, changed: tuple[str, str], code: int, says: str
) -> None:
    await worked(house)
    path = await backed_up(house)
    await worked(house, 1)
    signed = (house.home / "checkpoint.txt").read_bytes()
    use(house, anew)
    ran = await house.cli("restore", str(path), *LOSS, *changed)
    assert ran.code == code and says in ran.err, ran.err
    assert (house.home / "checkpoint.txt").read_bytes() == signed
    assert not (house.home / "restored.db").exists()


async def test_a_loss_needs_who_and_why(house: House) -> None:
    await worked(house)
    ran = await house.cli("restore", str(await backed_up(house)), "--accept-loss", "--caller", "compliance")
    assert ran.code == 2 and "needs --caller, --person and --reason" in ran.err


@both_engines
async def test_one_from_before_a_rotation_is_refused_in_words(house: House, anew: str) -> None:
    await worked(house)
    path = await backed_up(house)
    (house.home / "checkpoint.txt").rename(house.home / "kept")
    assert (await house.cli(*ROTATE)).code == 0
    (house.home / "kept").rename(house.home / "checkpoint.txt")  # as if only the keys were newer
    use(house, anew)
    ran = await house.cli("restore", str(path))
    assert ran.code == 5 and ran.err.strip().startswith("keyring_error: the keys of 3 subjects"), ran.err
    assert "destroyed when the keys were rotated" in ran.err
    ran = await house.cli("restore", str(path), *LOSS)  # which it could not be into what is not empty
    assert ran.code == 0 and "unreadable: the sealed parts about 3 subjects" in ran.out, (ran.out, ran.err)


@both_engines
async def test_one_of_another_keyring_is_refused(house: House, anew: str) -> None:
    await worked(house)
    path = await backed_up(house)
    for name in ("keyring.json", "checkpoint.txt"):
        (house.home / name).unlink()
    Keyring.create(house.home / "keyring.json", Unlock(PASSPHRASE), cost=2).close()
    use(house, anew)
    ran = await house.cli("restore", str(path))
    assert ran.code in (5, 6) and ("another keyring" in ran.err or "not signed" in ran.err), ran.err
    assert await is_empty(house)


@both_engines
async def test_nothing_is_restored_over_entries(house: House) -> None:
    await worked(house)
    path = await backed_up(house)
    await worked(house, 1)
    async with house.gateway() as gateway:
        stood = content(gateway)
    for more in ((), LOSS):
        ran = await house.cli("restore", str(path), *more)
        assert ran.code in (2, 5) and ("holds entries" in ran.err or "would be lost" in ran.err), ran.err
    async with house.gateway() as gateway:
        assert content(gateway) == stood
        house.verified(gateway)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edited(path: Path) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), 'delivered', 'rejected!') AS BLOB)")
    raw.close()


def without_a_row(path: Path) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute("DELETE FROM entries WHERE idx = 2")
    raw.close()


def register_edited(path: Path) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute("DELETE FROM consents")
    raw.close()


def a_table_broken(path: Path) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute("DROP TABLE subject_keys")
    raw.close()


def another_table_broken(path: Path) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute("DROP TABLE idempotency")
    raw.close()


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE something (other INTEGER)")
    raw.close()


SPOILT = {
    "cut": (cut, 2),
    "empty": (lambda path: path.write_bytes(b""), 2),
    "garbage": (lambda path: path.write_bytes(b"garbage" * 1000), 2),
    "an entry edited": (edited, 6),
    "an entry gone": (without_a_row, 6),
    "a register edited": (register_edited, 6),
    "a table gone": (a_table_broken, 6),
    "a table gone that is only copied": (another_table_broken, 6),
    "somebody else's database": (foreign, 2),
}


@pytest.mark.promise(4)
@pytest.mark.parametrize("spoilt", SPOILT)
@both_engines
async def test_a_spoilt_file_is_refused_and_the_target_left_empty(house: House, spoilt: str, anew: str) -> None:
    spoil, code = SPOILT[spoilt]
    await worked(house)
    path = await backed_up(house)
    spoil(path)
    use(house, anew)
    ran = await house.cli("restore", str(path))
    assert ran.code == code, (ran.code, ran.err)
    if code == 2:
        assert str(path) in ran.err and "is no back-up of Qaqpa's" in ran.err and "the server" not in ran.err
    (house.home / "checkpoint.txt").unlink()
    assert await is_empty(house)


async def test_it_is_said_that_nothing_tells_whether_a_back_up_is_the_newest(house: House, anew: str) -> None:
    await worked(house)
    path = await backed_up(house)
    use(house, anew)
    for missing in (1, 0):
        (house.home / "restored.db").unlink(missing_ok=True)
        if missing:
            (house.home / "checkpoint.txt").unlink()
        ran = await house.cli("restore", str(path))
        assert (ran.code, ran.err.count("checkpoint.txt is missing")) == (0, missing), ran.err


async def test_a_file_that_is_not_there_is_said(house: House) -> None:
    await worked(house)
    ran = await house.cli("restore", str(house.home / "nothing.db"))
    assert ran.code == 2 and "there is no such file" in ran.err
    assert not (house.home / "nothing.db").exists()


async def test_without_a_ledger_there_is_nothing_to_back_up(house: House) -> None:
    ran = await house.cli("backup", str(house.home / "backup.db"), *CALLER)
    assert ran.code == 2 and ran.err.strip().startswith("not_found: there is no ledger"), ran.err
    assert not (house.home / "backup.db").exists()


@both_engines
async def test_the_lost_machine_comes_back_from_back_up_keyring_and_checkpoint(
    house: House, anew: str, tmp_path: Path
) -> None:
    await worked(house)
    kept = tmp_path / "kept"
    kept.mkdir()
    path = await backed_up(house)
    for name in ("keyring.json", "checkpoint.txt", path.name):
        shutil.copy(house.home / name, kept / name)
    for each in house.home.iterdir():
        each.unlink()
    for name in ("keyring.json", "checkpoint.txt"):
        shutil.copy(kept / name, house.home / name)
    use(house, anew)
    ran = await house.cli("restore", str(kept / path.name))
    assert ran.code == 0, ran.err
    await worked(house)
    assert (await house.cli("ledger", "verify")).code == 0
