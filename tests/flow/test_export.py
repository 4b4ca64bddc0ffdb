"""An export verifies by itself, with plain Python and nothing of ours but its own verifier; tampered, it does not."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harness import PEOPLE, House, both_engines, give_consent, request, request_document
from qaqpa.ledger import entries
from qaqpa.ledger.entries import Kind

PERSON = PEOPLE[0]
CALLER = ("--caller", "compliance")
SAID = {"person": "A. Operator", "reason": "room"}


async def grown(house: House, people: int = 2) -> None:
    async with house.gateway() as gateway:
        for person in PEOPLE[:people]:
            await give_consent(house, gateway, person)
            await gateway.disclose("loan-scoring", request(request_document(person)))


async def exported(house: House, *more: str, name: str = "export") -> Path:
    folder = house.home / name
    ran = await house.cli("ledger", "export", str(folder), *CALLER, *more)
    assert ran.code == 0 and "verify.py" in ran.out and "--vkey" in ran.out, ran.err
    return folder


async def vkey(house: House) -> str:
    ran = await house.cli("keys", "show")
    assert ran.code == 0, ran.err
    return ran.out.strip()


async def checked(folder: Path, *arguments: str, program: Path | None = None) -> dict[str, Any]:
    """What the verifier that lies in the folder says, isolated from our code and everything installed."""
    process = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-I", "-S", str(program or folder / "verify.py"), *arguments, "--json"],
        capture_output=True, text=True, cwd="/", env={"PATH": os.environ["PATH"]}, timeout=60,
    )  # fmt: skip
    assert process.stderr == "" and process.returncode in (0, 1), process.stderr
    result: dict[str, Any] = json.loads(process.stdout)
    assert result["verified"] is (process.returncode == 0)
    return result


async def program(*arguments: str) -> bytes:
    """The real command, for what it writes as bytes."""
    process = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "qaqpa", *arguments], capture_output=True, env=os.environ, timeout=60
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.promise(4)
@both_engines
async def test_a_folder_verifies_by_its_own_program(house: House) -> None:
    await grown(house)
    folder, key = await exported(house), await vkey(house)
    assert (folder / "vkey.txt").read_text().strip() == key
    for given in ((), ("--vkey", key)):
        found = await checked(folder, str(folder), *given)
        assert found["verified"] and found["failures"] == []
        assert found["kinds"] == {"policy": 1, "consent": 2, "intent": 2, "outcome": 2}
        assert found["open_intents"] == [] and found["key"] == key
    assert (await checked(folder, str(folder), "--vkey", key))["key_from"] == "--vkey"


@both_engines
async def test_more_entries_than_a_tile_holds(house: House) -> None:
    await grown(house)
    async with house.gateway() as gateway:
        for each in range(600):
            looked = entries.review("compliance", "show", {"index": each}, at=house.clock())
            await gateway.ledger.record(Kind.REVIEW, looked)
    folder = await exported(house)
    found = await checked(folder, str(folder), "--vkey", await vkey(house))
    assert found["verified"] and found["size"] == 607 and found["kinds"]["review"] == 600
    tiles = sorted(path.relative_to(folder).as_posix() for path in (folder / "tile").rglob("*") if path.is_file())
    assert tiles == [
        "tile/0/000", "tile/0/001", "tile/0/002.p/95", "tile/1/000.p/2",
        "tile/entries/000", "tile/entries/001", "tile/entries/002.p/95",
    ]  # fmt: skip


def edited(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content and len(old) == len(new)
    path.write_bytes(content.replace(old, new, 1))


TAMPERED: dict[str, Callable[[Path], object]] = {
    "an entry": lambda folder: edited(next((folder / "tile/entries").rglob("7")), b'"delivered"', b'"rejected!"'),
    "a hash": lambda folder: edited(next((folder / "tile/0").rglob("7")), *flipped(folder)),
    "the checkpoint's size": lambda folder: edited(folder / "checkpoint", b"\n7\n", b"\n6\n"),
    "entries gone": lambda folder: next((folder / "tile/entries").rglob("7")).unlink(),
    "the checkpoint gone": lambda folder: (folder / "checkpoint").unlink(),
    "a file among the tiles": lambda folder: (folder / "tile/entries/001").write_bytes(b"\0\2{}"),
}


def flipped(folder: Path) -> tuple[bytes, bytes]:
    first = next((folder / "tile/0").rglob("7")).read_bytes()[:32]
    return first, bytes([first[0] ^ 1]) + first[1:]


@pytest.mark.promise(4)
@pytest.mark.parametrize("tampered", TAMPERED)
async def test_tampered_it_fails(house: House, tampered: str) -> None:
    await grown(house)
    folder, key = await exported(house), await vkey(house)
    assert (await checked(folder, str(folder), "--vkey", key))["verified"]
    TAMPERED[tampered](folder)
    found = await checked(folder, str(folder), "--vkey", key)
    assert not found["verified"] and found["failures"] != []


@pytest.mark.promise(4)
async def test_with_the_key_of_another_ledger_it_fails(house: House) -> None:
    await grown(house)
    folder = await exported(house)
    other = "mfo.example/disclosures+2f1d3a5c+" + (await vkey(house)).rsplit("+", 1)[1]
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-I", "-S", str(folder / "verify.py"), str(folder), "--vkey", other],
        capture_output=True,
    )
    assert ran.returncode in (1, 2) and b"VERIFIED" not in ran.stdout


@pytest.mark.promise(4)
@both_engines
async def test_with_a_checkpoint_that_was_kept_the_past_is_compared(house: House) -> None:
    await grown(house)
    old = house.home / "old.txt"
    old.write_bytes(await program("ledger", "checkpoint"))
    await grown(house, 3)
    folder, key = await exported(house), await vkey(house)
    found = await checked(folder, str(folder), "--vkey", key, "--checkpoint", str(old))
    assert found["verified"] and found["older_checkpoints"] >= 1
    ran = await house.cli("ledger", "verify", "--checkpoint", str(old))
    assert ran.code == 0, ran.err


@pytest.mark.promise(4)
async def test_a_ledger_whose_past_was_made_anew_fails_against_a_kept_checkpoint(house: House) -> None:
    await grown(house)
    old, key = house.home / "old.txt", await vkey(house)
    old.write_bytes(await program("ledger", "checkpoint"))
    for name in ("qaqpa.db", "qaqpa.db-wal", "qaqpa.db-shm", "checkpoint.txt"):
        (house.home / name).unlink(missing_ok=True)
    await grown(house, 3)
    folder = await exported(house)
    assert (await checked(folder, str(folder), "--vkey", key))["verified"]
    assert not (await checked(folder, str(folder), "--vkey", key, "--checkpoint", str(old)))["verified"]


@pytest.mark.promise(4)
@both_engines
async def test_an_entry_is_proven_by_its_bytes_and_a_proof(house: House) -> None:
    await grown(house)
    folder, key = await exported(house), await vkey(house)
    entry, proof = house.home / "entry.json", house.home / "entry.proof"
    entry.write_bytes(await program("ledger", "show", "2", "--raw", *CALLER))
    ran = await house.cli("ledger", "prove", "2", "-o", str(proof))
    assert ran.code == 0 and key in ran.out, ran.err
    assert await program("ledger", "prove", "2") == proof.read_bytes()
    given = ("--vkey", key, "--proof", str(proof))
    alone = await checked(folder, *given, "--entry", str(entry))
    assert alone["verified"] and alone["proven_entry"] == 2
    later = await exported(house, name="later")  # the proof's checkpoint must not be newer than the folder's
    assert (await checked(later, str(later), *given))["verified"]
    entry.write_bytes(entry.read_bytes().replace(b"loan-scoring", b"loan-scorinG"))
    assert not (await checked(folder, *given, "--entry", str(entry)))["verified"]


async def test_what_stands_under_no_checkpoint_is_not_proven(house: House) -> None:
    await grown(house)
    ran = await house.cli("ledger", "prove", "7")
    assert ran.code == 2 and ran.err.startswith("not_found: entry 7 is under no checkpoint"), ran.err


@pytest.mark.promise(4)
@both_engines
async def test_months_in_files_are_taken_from_there(house: House, tmp_path: Path) -> None:
    house.clock.offset = timedelta(days=-62)
    await grown(house)
    month = house.clock().year * 100 + house.clock().month
    house.clock.offset = timedelta(0)
    async with house.gateway() as gateway:
        moved = await gateway.compliance.archive("compliance", month, tmp_path, **SAID)
    await grown(house)
    without = await house.cli("ledger", "export", str(house.home / "without"), *CALLER)
    assert without.code == 2 and "give --archives" in without.err, without.err
    folder = await exported(house, "--archives", str(tmp_path))
    found = await checked(folder, str(folder), "--vkey", await vkey(house))
    assert found["verified"] and found["kinds"]["intent"] == 4 and found["kinds"]["control"] == 1
    edited(tmp_path / moved.file, b'"delivered"', b'"rejected!"')
    spoilt = await house.cli("ledger", "export", str(house.home / "spoilt"), *CALLER, "--archives", str(tmp_path))
    assert spoilt.code == 6 and "as it was" in spoilt.err, spoilt.err


async def test_a_folder_in_use_and_a_ledger_without_entries_are_refused(house: House) -> None:
    empty = await house.cli("ledger", "export", str(house.home / "out"), *CALLER)
    assert empty.code == 2 and "there is no ledger" in empty.err
    await grown(house)
    folder = await exported(house)
    before = sorted(folder.rglob("*"))
    again = await house.cli("ledger", "export", str(folder), *CALLER)
    assert again.code == 2 and "is not empty" in again.err
    assert sorted(folder.rglob("*")) == before


@pytest.mark.promise(2)
async def test_nothing_of_a_person_is_in_it(house: House) -> None:
    await grown(house)
    folder = await exported(house)
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for person in PEOPLE[:2]:
        for value in (person.iin, person.data["identity"]["last_name"], person.data["contact"]["mobile"]):
            assert value.encode() not in written


async def test_a_copy_without_our_code_verifies_elsewhere(house: House, tmp_path: Path) -> None:
    await grown(house)
    copy = shutil.copytree(await exported(house), tmp_path / "copy")
    alone = tmp_path / "verify.py"
    (copy / "verify.py").rename(alone)
    assert (await checked(copy, str(copy), "--vkey", await vkey(house), program=alone))["verified"]
