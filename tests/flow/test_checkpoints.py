"""Checkpoints: made while the ledger grows, compared with the one outside, cosigned; set back, nothing is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from books import Intruder
from harness import (
    PEOPLE,
    House,
    both_engines,
    consent_document,
    eventually,
    give_consent,
    grown,
    outside,
    read_outside,
    request,
    request_document,
)
from qaqpa import log
from qaqpa.errors import LedgerRolledBack
from qaqpa.gateway import Gateway
from qaqpa.gateway.setup import make_upkeep
from qaqpa.ledger import checkpoints
from qaqpa.ledger.backup import _copy, _store_in, back_up
from qaqpa.ledger.checkpoints import Outside, opened
from qaqpa.ledger.integrate import tree_of
from qaqpa.store import Connection
from qaqpa.tlog.merkle import EMPTY_ROOT
from qaqpa.tlog.notes import Algorithm, Checkpoint, Note, VerifierKey, cosign, sign
from qaqpa.tlog.proofs import verify_consistency
from qaqpa.tlog.tiles import TileTree

PERSON, OTHER = PEOPLE[:2]
EVERY = "checkpoint_every_ms = 1000"


def copied(house: House, gateway: Gateway) -> Path:
    path = house.home / "copy.db"
    back_up(gateway.store, path, lambda _done, _all: None)
    return path


def exchange(gateway: Gateway, copy: Path) -> None:
    """Put a copy's content in the place of the database's, under whoever works on it."""
    connection = gateway.store.engine.connect()
    with _store_in(copy).snapshot() as source:
        connection.begin("alone")
        _copy(source, connection, lambda _done, _all: None)
        connection.commit()
    connection.close()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, bytes]]:
    """When which checkpoint was put outside."""
    seen: list[tuple[float, bytes]] = []
    write = Outside.write

    def noted(self: Outside, note: bytes) -> None:
        seen.append((time.monotonic(), note))
        write(self, note)

    monkeypatch.setattr(Outside, "write", noted)
    return seen


@pytest.mark.promise(4)
@both_engines
async def test_made_while_the_ledger_grows_at_most_so_often_and_each_extends_the_last(
    house: House, written: list[tuple[float, bytes]]
) -> None:
    house.edit("gateway.toml", (EVERY, "checkpoint_every_ms = 100"))
    async with house.gateway() as gateway:
        until = time.monotonic() + 1.0
        await give_consent(house, gateway, PERSON)
        while time.monotonic() < until:
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        await eventually(lambda: read_outside(house, gateway).size == len(house.entries(gateway)))
        made = len(written)
        assert 2 <= made <= 12
        assert all(later - earlier >= 0.1 for (earlier, _), (later, _) in pairwise(written))
        await asyncio.sleep(0.35)
        assert len(written) == made  # nothing grew
        key = gateway.setup.log_key
        signed = [opened(note, key)[1] for _, note in written]
        with gateway.store.snapshot() as connection:
            tree = tree_of(connection)
            for old, new in pairwise(signed):
                assert old.size < new.size
                path = tree.consistency(old.size, new.size)
                verify_consistency(old.size, new.size, path, old.root, new.root)
            assert tree.root() == signed[-1].root
            stored = connection.execute("SELECT note FROM checkpoints ORDER BY size").all()
        assert bytes(stored[-1][0]) == outside(house).read_bytes() == written[-1][1]
        assert len(stored) <= 2  # of each hour the last


@both_engines
async def test_of_each_hour_the_last_one_and_each_witness_last_one_are_kept(house: House) -> None:
    house.edit("gateway.toml", (EVERY, "checkpoint_every_ms = 3600000"))
    noon = datetime.now(UTC).replace(hour=12, minute=30)  # no hour ends meanwhile
    house.clock.offset = noon - datetime.now(UTC)
    one, two = (Ed25519PrivateKey.generate() for _ in range(2))
    async with house.gateway() as gateway:
        signing = make_upkeep(gateway.setup, gateway.ledger)._checkpoints
        sizes = []
        for number in range(6):
            await grown(house, gateway)
            note = await signing.make()
            assert note is not None
            sizes.append(Checkpoint.parse(note.text).size)
            for private, cosigns in ((one, number < 4), (two, number == 1)):
                if cosigns:
                    key = VerifierKey("w.example", Algorithm.COSIGNATURE, private.public_key().public_bytes_raw())
                    await signing.add_cosignature(note, cosign(note.text, key, private.sign, 1))
        with gateway.store.snapshot() as connection:
            kept = [row[0] for row in connection.execute("SELECT size FROM checkpoints ORDER BY size").all()]
        assert kept == [sizes[1], sizes[3], sizes[5]]
        house.verified(gateway)


@both_engines
async def test_a_gateway_that_stops_leaves_a_checkpoint_over_everything(house: House) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway)
    assert outside(house).stat().st_mode & 0o777 == 0o600
    async with house.gateway() as gateway:
        found = house.verified(gateway)
        assert read_outside(house, gateway).size == found.size == found.in_tree


@both_engines
async def test_several_gateways_sign_one_growing_ledger(house: House, written: list[tuple[float, bytes]]) -> None:
    house.edit("gateway.toml", (EVERY, "checkpoint_every_ms = 10"))
    async with house.gateway() as one, house.gateway() as two, house.gateway() as three:
        await grown(house, one)
        asked = request(request_document(PERSON))
        await asyncio.gather(*(each.disclose("loan-scoring", asked) for each in (one, two, three) * 8))
        assert [each.ledger.closed_by for each in (one, two, three)] == [None, None, None]
        await eventually(lambda: read_outside(house, one).size == len(house.entries(one)))
        sizes = [opened(note, one.setup.log_key)[1].size for _, note in written]
        assert sizes == sorted(set(sizes))
        house.verified(one)


@pytest.mark.promise(4)
@both_engines
async def test_a_database_set_back_to_an_older_copy_is_refused(house: House) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway)
        copy = copied(house, gateway)
        await grown(house, gateway, 2)
        size = len(house.entries(gateway))
    exchange(gateway, copy)
    with pytest.raises(LedgerRolledBack, match=f"holds 4 entries, but .* was signed over {size}"):
        async with house.gateway():
            pass
    path = house.write("request.json", request_document(PERSON))
    ran = await house.cli("disclose", path, "--caller", "loan-scoring", "--json")
    assert (ran.code, ran.json["code"]) == (5, "ledger_rolled_back")
    assert "move this one away and run `qaqpa restore FILE --accept-loss`" in ran.json["detail"]
    assert "Nothing is sent" in ran.json["detail"]
    checked = await house.cli("ledger", "verify")
    assert checked.code == 6 and "rolled back" in checked.err
    assert len(house.fcb.calls) == 3


@pytest.mark.promise(4)
@pytest.mark.parametrize("more", [1, 3], ids=["shorter or as long", "longer"])
@both_engines
async def test_a_forked_copy_is_refused(house: House, more: int) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway)
        copy = copied(house, gateway)
        await grown(house, gateway)
    signed = outside(house).read_bytes()
    exchange(gateway, copy)
    outside(house).unlink()
    async with house.gateway() as gateway:
        await grown(house, gateway, more)
    outside(house).write_bytes(signed)
    with pytest.raises(LedgerRolledBack, match="a forked copy, or its past was changed"):
        async with house.gateway():
            pass
    ran = await house.cli("ledger", "verify")
    assert ran.code == 6 and "forked copy" in ran.err


def by_another_key(house: House, gateway: Gateway) -> bytes:
    private = Ed25519PrivateKey.generate()
    key = VerifierKey(gateway.setup.log_key.name, Algorithm.ED25519, private.public_key().public_bytes_raw())
    text = Note.parse(outside(house).read_bytes()).text
    return Note(text, (sign(text, key, private.sign),)).to_bytes()


def of_another_origin(house: House, gateway: Gateway) -> bytes:
    old = read_outside(house, gateway)
    text = Checkpoint("other.example/log", old.size, old.root).text()
    return Note(text, (sign(text, gateway.setup.log_key, gateway.ledger.keyring.sign),)).to_bytes()


WRONG: dict[str, tuple[Callable[[House, Gateway], bytes], str]] = {
    "another key": (by_another_key, "is not a checkpoint of this ledger"),
    "another origin": (of_another_origin, "of the log other.example/log, not of"),
    "edited": (
        lambda house, _: outside(house).read_bytes().replace(b"\n4\n", b"\n3\n", 1),
        "is not a checkpoint of this ledger",
    ),
    "garbage": (lambda *_: b"\xff\x00garbage", "belongs to another ledger or was forged"),
    "empty": (lambda *_: b"", "belongs to another ledger or was forged"),
}


@pytest.mark.promise(4)
@pytest.mark.parametrize("wrong", WRONG)
async def test_a_file_that_is_no_checkpoint_of_this_ledger_is_refused(house: House, wrong: str) -> None:
    make, says = WRONG[wrong]
    async with house.gateway() as gateway:
        await grown(house, gateway)
    content = make(house, gateway)
    assert content != outside(house).read_bytes()
    outside(house).write_bytes(content)
    with pytest.raises(LedgerRolledBack, match=says):
        async with house.gateway():
            pass
    ran = await house.cli("ledger", "open", "--caller", "compliance")
    assert ran.code == 5 and ran.err.startswith("ledger_rolled_back: ") and "Put the right one back" in ran.err
    assert outside(house).read_bytes() == content


@pytest.mark.promise(4)
@both_engines
async def test_a_missing_file_is_said(house: House) -> None:
    path = house.write("request.json", request_document(PERSON))
    for command in (
        ("consent", "record", house.write("consent.json", consent_document(PERSON, house.clock()))),
        ("disclose", path),
    ):
        ran = await house.cli(*command, "--caller", "loan-scoring")
        assert ran.code == 0 and ran.err == "", ran.err
    assert (await house.cli("ledger", "verify", "--json")).json["compared_outside"] is True
    kept = house.home / "kept.txt"
    outside(house).rename(kept)
    ran = await house.cli("ledger", "verify")
    assert ran.code == 0 and "nothing outside the database to compare with" in ran.out, ran.out
    assert (await house.cli("ledger", "verify", "--json")).json["compared_outside"] is False
    ran = await house.cli("ledger", "verify", "--checkpoint", str(kept))
    assert ran.code == 0 and "nothing outside" not in ran.out
    for again in (1, 0):
        ran = await house.cli("ledger", "show", "--caller", "compliance")
        assert (ran.code, ran.err.count(f"{outside(house)} is missing")) == (0, again), ran.err


@pytest.mark.promise(4)
@pytest.mark.parametrize("content", [b"", b"junk"])
async def test_verification_names_the_file_that_is_no_checkpoint(house: House, content: bytes) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway)
    outside(house).write_bytes(content)
    ran = await house.cli("ledger", "verify")
    assert ran.code == 6 and f"{outside(house)} is not a checkpoint of this ledger: " in ran.err, ran.err
    assert str(outside(house)) in (await house.cli("ledger", "verify", "--json")).json["detail"]


async def test_a_file_that_is_a_link_is_written_where_it_leads(house: House, tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    outside(house).symlink_to(share / "kept.txt")
    for _ in range(2):
        async with house.gateway() as gateway:
            await grown(house, gateway)
        assert outside(house).is_symlink()
        assert (
            opened((share / "kept.txt").read_bytes(), gateway.setup.log_key)[1].size
            == read_outside(house, gateway).size
        )
    Outside(outside(house), gateway.setup.log_key).put_aside(7)
    assert outside(house).is_symlink()
    assert sorted(each.name for each in share.iterdir()) == ["kept.txt.lost-7"]


@both_engines
async def test_a_missing_file_is_made_again(house: House) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway)
    signed = outside(house).read_bytes()
    outside(house).unlink()
    async with house.gateway() as gateway:
        house.verified(gateway)
    assert Note.parse(outside(house).read_bytes()).text == Note.parse(signed).text


@pytest.mark.promise(4)
@both_engines
async def test_without_the_file_the_databases_own_last_checkpoint_is_held_against_it(
    house: House, store_url: str
) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway)
    outside(house).unlink()
    log.configure()
    with capture_logs() as logged:
        async with house.gateway() as gateway:
            await grown(house, gateway)
    [said] = [each for each in logged if each["event"].startswith("no checkpoint outside")]
    assert said["file"] == str(outside(house))
    outside(house).unlink()
    Intruder(store_url, house.home).change("UPDATE integrated SET size = 0, root = ?", EMPTY_ROOT)
    Intruder(store_url, house.home).run("DELETE FROM tiles", "DELETE FROM terms", "DELETE FROM entries WHERE idx > 2")
    with pytest.raises(LedgerRolledBack, match="last checkpoint is not over the entries that stand"):
        async with house.gateway():
            pass


@pytest.mark.promise(4)
@both_engines
async def test_a_database_exchanged_under_a_running_gateway_stops_it(house: House) -> None:
    house.edit("gateway.toml", (EVERY, "checkpoint_every_ms = 20"))
    async with house.gateway() as gateway:
        await grown(house, gateway)
        copy = copied(house, gateway)
        await grown(house, gateway, 2)
        await eventually(lambda: read_outside(house, gateway).size == len(house.entries(gateway)))
        signed = outside(house).read_bytes()
        exchange(gateway, copy)
        await eventually(lambda: gateway.ledger.closed_by is not None)
        before = len(house.fcb.calls)
        with pytest.raises(LedgerRolledBack, match="Nothing is sent"):
            await gateway.disclose("loan-scoring", request(request_document(PERSON)))
        assert len(house.fcb.calls) == before
    assert outside(house).read_bytes() == signed


@both_engines
async def test_a_gateway_that_opens_while_another_signs_is_not_told_of_a_rollback(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.edit("gateway.toml", (EVERY, "checkpoint_every_ms = 3600000"))
    async with house.gateway() as gateway:
        await grown(house, gateway)
        signing = make_upkeep(gateway.setup, gateway.ledger)._checkpoints
        await signing.make()
        loop, view, signed = asyncio.get_running_loop(), checkpoints.tree_of, []

        async def grow_and_sign() -> None:
            await grown(house, gateway)
            await signing.make()

        def then_signed(connection: Connection) -> TileTree:
            """Between the view of the database and the look at the file, another gateway goes on."""
            tree = view(connection)
            if not signed:
                signed.append(asyncio.run_coroutine_threadsafe(grow_and_sign(), loop))
                time.sleep(0.5)
            return tree

        monkeypatch.setattr(checkpoints, "tree_of", then_signed)
        async with house.gateway() as elsewhere:
            await asyncio.wrap_future(signed[0])
            assert elsewhere.ledger.closed_by is None
