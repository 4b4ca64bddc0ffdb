"""The witness: the order of its answers, its memory through restarts, kills and races, and a log that forks."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from merkle_by_definition import Definition, sha

from harness import Ran, run_cli
from qaqpa.errors import KeyringError, StoreUnavailable
from qaqpa.tlog.merkle import EMPTY_ROOT
from qaqpa.tlog.notes import (
    AddCheckpoint,
    Algorithm,
    Checkpoint,
    Note,
    Signature,
    VerifierKey,
    cosign,
    parse_signatures,
    sign,
)
from qaqpa.witness import MAX_BODY, Answer, Witness, create_key, serve, serving

ORIGIN = "log.example/1"
LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG_KEY = VerifierKey(ORIGIN, Algorithm.ED25519, LOG.public_key().public_bytes_raw())
OTHER_KEY = VerifierKey(ORIGIN, Algorithm.ED25519, bytes(32))
TREE = Definition([sha(str(number).encode()) for number in range(600)])
FORK = Definition([*TREE.leaves[:100], *(sha(b"forked", str(number).encode()) for number in range(500))])
NOW = 1_700_000_000


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], Witness]:
    """The witness, started anew over the same key and state."""
    create_key(tmp_path / "keys/witness.pem", "witness.example/w")

    def made() -> Witness:
        logs = {ORIGIN: [LOG_KEY, OTHER_KEY], "log.example/2": [LOG_KEY]}
        return Witness("witness.example/w", tmp_path / "keys/witness.pem", tmp_path / "state", logs, clock=lambda: NOW)

    return made


@pytest.fixture
def witness(make: Callable[[], Witness]) -> Witness:
    return make()


def signed(tree: Definition, size: int, origin: str = ORIGIN) -> Note:
    text = Checkpoint(origin, size, tree.root(size)).text()
    return Note(text, (sign(text, LOG_KEY, LOG.sign),))


def request(
    old: int, size: int, tree: Definition = TREE, *, origin: str = ORIGIN, proof: Sequence[bytes] | None = None
) -> bytes:
    if proof is None:
        proof = tree.consistency(old, size) if 0 < old <= size else []
    return AddCheckpoint(old, tuple(proof), signed(tree, size, origin)).to_bytes()


def cosigned_at(witness: Witness, answer: Answer, size: int, tree: Definition = TREE) -> int | None:
    """The answer is signature lines that verify under the checkpoint; gives their time."""
    assert (answer.status, answer.content_type) == (200, "text/plain; charset=utf-8")
    return signed(tree, size).adding(parse_signatures(answer.body.decode())).verify(witness.key)


def test_a_log_that_grows_is_cosigned(witness: Witness) -> None:
    for old, size in ((0, 100), (100, 101), (101, 256), (256, 600)):
        assert cosigned_at(witness, witness.add_checkpoint(request(old, size)), size) == NOW
    latest = witness.latest(ORIGIN)
    assert latest == Checkpoint(ORIGIN, 600, TREE.root(600))


def test_the_same_checkpoint_again_is_cosigned_again(witness: Witness) -> None:
    for old in (0, 100):
        assert cosigned_at(witness, witness.add_checkpoint(request(old, 100)), 100) == NOW
    assert witness.add_checkpoint(request(100, 100, proof=[EMPTY_ROOT])).status == 422


def test_logs_are_remembered_apart(witness: Witness) -> None:
    assert witness.add_checkpoint(request(0, 100)).status == 200
    assert witness.add_checkpoint(request(0, 50, origin="log.example/2")).status == 200
    assert witness.add_checkpoint(request(50, 60, origin="log.example/2")).status == 200
    assert witness.add_checkpoint(request(100, 120)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0\n",
        request(0, 100)[:-1],
        request(0, 100).replace(b"old 0", b"old 00"),
        request(0, 100).replace(b"\n100\n", b"\n0100\n"),
        b"\xff" + request(0, 100),
        AddCheckpoint(0, (), Note("no checkpoint\n", (Signature("n", bytes(4), b"s"),))).to_bytes(),
    ],
)
def test_400_for_what_is_malformed(witness: Witness, body: bytes) -> None:
    assert witness.add_checkpoint(body).status == 400


def test_400_for_an_old_size_beyond_the_checkpoints(witness: Witness) -> None:
    assert witness.add_checkpoint(request(101, 100)).status == 400


def test_404_for_an_origin_that_nobody_configured(witness: Witness) -> None:
    assert witness.add_checkpoint(request(0, 100, origin="log.example/9")).status == 404


def test_403_without_a_valid_signature_of_a_trusted_key(witness: Witness) -> None:
    note = signed(TREE, 100)
    right = note.signatures[0]
    stranger = Ed25519PrivateKey.generate()
    key = VerifierKey(ORIGIN, Algorithm.ED25519, stranger.public_key().public_bytes_raw())
    for signatures in (
        [sign(note.text, key, stranger.sign)],
        [Signature(right.name, right.key_id, right.value[:-1] + b"\0")],
        [right, Signature(OTHER_KEY.name, OTHER_KEY.id, bytes(64))],
    ):
        body = AddCheckpoint(0, (), Note(note.text, tuple(signatures))).to_bytes()
        assert witness.add_checkpoint(body).status == 403
    assert witness.latest(ORIGIN) is None


def test_strangers_signatures_beside_the_logs_are_ignored_and_not_kept(witness: Witness, tmp_path: Path) -> None:
    crowd = [Signature(f"stranger/{number}", bytes(4), b"s") for number in range(99)]
    body = AddCheckpoint(0, (), signed(TREE, 100).adding(crowd)).to_bytes()
    assert cosigned_at(witness, witness.add_checkpoint(body), 100) == NOW
    (kept,) = (tmp_path / "state").glob("*.checkpoint")
    assert len(Note.parse(kept.read_bytes()).signatures) == 2


def test_409_names_the_size_that_the_witness_knows(witness: Witness) -> None:
    assert witness.add_checkpoint(request(5, 100)) == Answer(409, "text/x.tlog.size", b"0\n")
    assert witness.add_checkpoint(request(0, 100)).status == 200
    for old, size in ((0, 200), (99, 200), (0, 50), (120, 200)):
        assert witness.add_checkpoint(request(old, size)) == Answer(409, "text/x.tlog.size", b"100\n")


def test_422_for_a_proof_that_does_not_verify(witness: Witness) -> None:
    assert witness.add_checkpoint(request(0, 100, proof=[EMPTY_ROOT])).status == 422
    assert witness.add_checkpoint(request(0, 100)).status == 200
    right = TREE.consistency(100, 200)
    for proof in ([], right[:-1], [*right, EMPTY_ROOT], right[::-1], [EMPTY_ROOT, *right[1:]]):
        assert witness.add_checkpoint(request(100, 200, proof=proof)).status == 422
    assert cosigned_at(witness, witness.add_checkpoint(request(100, 200)), 200) == NOW


def test_an_empty_log_has_the_empty_root(witness: Witness) -> None:
    text = Checkpoint(ORIGIN, 0, TREE.root(1)).text()
    wrong = AddCheckpoint(0, (), Note(text, (sign(text, LOG_KEY, LOG.sign),)))
    assert witness.add_checkpoint(wrong.to_bytes()).status == 409
    assert cosigned_at(witness, witness.add_checkpoint(request(0, 0)), 0) == NOW
    assert witness.add_checkpoint(request(0, 100)).status == 200


def test_a_forked_log_is_refused_and_the_evidence_kept(witness: Witness, tmp_path: Path) -> None:
    assert witness.add_checkpoint(request(0, 150)).status == 200
    # The fork shares 100 entries, is consistent in itself, and is signed by the log's own key.
    assert witness.add_checkpoint(request(150, 150, FORK)) == Answer(409, "text/x.tlog.size", b"150\n")
    assert witness.add_checkpoint(request(150, 200, FORK)).status == 422
    assert witness.add_checkpoint(request(100, 200, FORK)).status == 409
    for kind, size in (("forked", 150), ("unproven", 200)):
        (path,) = (tmp_path / "state").glob(f"*.{kind}-*")
        assert path.name.endswith(f".{kind}-{size}-{FORK.root(size).hex()}")
        evidence = Note.parse(path.read_bytes())
        evidence.verify(LOG_KEY)
        assert evidence.text == signed(FORK, size).text
    assert cosigned_at(witness, witness.add_checkpoint(request(150, 200)), 200) == NOW


def test_evidence_is_never_overwritten_and_an_innocent_checkpoint_is_not_called_a_fork(
    witness: Witness, tmp_path: Path
) -> None:
    def kept(kind: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / "state").glob(f"*.{kind}-*")}

    assert witness.add_checkpoint(request(0, 150)).status == 200
    assert witness.add_checkpoint(request(150, 150, FORK)).status == 409
    assert witness.add_checkpoint(request(150, 200, FORK)).status == 422
    forked, unproven = kept("forked"), kept("unproven")
    for size in range(151, 151 + 100):  # anybody may send the log's public checkpoints, with junk for a proof
        assert witness.add_checkpoint(request(150, size, proof=[EMPTY_ROOT])).status == 422
    assert witness.add_checkpoint(request(150, 150, FORK)).status == 409
    assert kept("forked") == forked and len(forked) == 1
    assert unproven.items() <= kept("unproven").items() and len(kept("unproven")) == 64
    assert list((tmp_path / "state").glob("*.refused*")) == []


def test_the_state_survives_a_restart(make: Callable[[], Witness]) -> None:
    assert make().add_checkpoint(request(0, 150)).status == 200
    assert make().add_checkpoint(request(0, 150, FORK)) == Answer(409, "text/x.tlog.size", b"150\n")
    assert make().add_checkpoint(request(150, 300)).status == 200


def test_a_write_cut_off_leaves_the_state_as_it_was(make: Callable[[], Witness], tmp_path: Path) -> None:
    assert make().add_checkpoint(request(0, 150)).status == 200
    (path,) = (tmp_path / "state").glob("*.checkpoint")
    (tmp_path / "state/.new-cut").write_bytes(path.read_bytes()[:40])
    assert make().add_checkpoint(request(150, 300)).status == 200


def test_without_a_durable_state_there_is_no_cosignature(
    witness: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        answer = witness.add_checkpoint(request(0, 150))
    assert (answer.status, b"\xe2\x80\x94" in answer.body) == (500, False)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["lock"]
    assert witness.add_checkpoint(request(0, 150)).status == 200


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda note: note[:40],
        lambda note: note[:-1],
        lambda note: note.replace(b"\n150\n", b"\n149\n"),
        lambda note: note.replace(ORIGIN.encode(), b"log.example/2", 1),
    ],
    ids=["empty", "cut", "cut by one", "other size", "other log"],
)
def test_a_damaged_state_stops_the_witness(witness: Witness, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    assert witness.add_checkpoint(request(0, 150)).status == 200
    (path,) = (tmp_path / "state").glob("*.checkpoint")
    path.write_bytes(damage(path.read_bytes()))
    for body in (request(150, 300), request(0, 150, FORK), request(0, 150)):
        assert witness.add_checkpoint(body).status == 500
    with pytest.raises(StoreUnavailable):
        witness.latest(ORIGIN)


def test_a_state_of_another_log_or_another_key_stops_the_witness(make: Callable[[], Witness], tmp_path: Path) -> None:
    witness = make()
    assert witness.add_checkpoint(request(0, 150)).status == 200
    (path,) = (tmp_path / "state").glob("*.checkpoint")
    assert witness.add_checkpoint(request(0, 10, origin="log.example/2")).status == 200
    (other,) = set((tmp_path / "state").glob("*.checkpoint")) - {path}
    other.replace(path)
    assert witness.add_checkpoint(request(10, 150)).status == 500
    text = signed(TREE, 20).text
    stranger = Ed25519PrivateKey.generate()
    key = VerifierKey(witness.key.name, Algorithm.COSIGNATURE, stranger.public_key().public_bytes_raw())
    path.write_bytes(Note(text, (cosign(text, key, stranger.sign, NOW),)).to_bytes())
    assert witness.add_checkpoint(request(20, 150)).status == 500


def test_of_many_threads_one_moves_the_state(witness: Witness) -> None:
    bodies = [request(0, size, tree) for tree in (TREE, FORK) for size in range(101, 121)]
    with ThreadPoolExecutor(16) as pool:
        statuses = sorted(answer.status for answer in pool.map(witness.add_checkpoint, bodies))
    assert statuses == [200] + [409] * 39


PROCESS = """
import sys
from pathlib import Path
from qaqpa.tlog.notes import VerifierKey
from qaqpa.witness import Witness
key, state, vkey, *bodies = sys.argv[1:]
witness = Witness("witness.example/w", Path(key), Path(state), {"log.example/1": [VerifierKey.parse(vkey)]})
print("ready", flush=True)
sys.stdin.readline()
print([witness.add_checkpoint(Path(body).read_bytes()).status for body in bodies])
"""


def test_of_two_processes_on_one_folder_one_moves_the_state(make: Callable[[], Witness], tmp_path: Path) -> None:
    assert make().add_checkpoint(request(0, 100)).status == 200
    processes = []
    for number, tree in enumerate((TREE, FORK)):
        # Each offers its own branch, step by step, from the size that both begin with.
        steps = []
        for size in range(100, 160):
            steps.append(tmp_path / f"{number}-{size}")
            steps[-1].write_bytes(request(size, size + 1, tree))
        command = [sys.executable, "-c", PROCESS, tmp_path / "keys/witness.pem", tmp_path / "state", str(LOG_KEY)]
        processes.append(subprocess.Popen([*command, *steps], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outputs = [process.communicate("go\n", timeout=60)[0].strip() for process in processes]
    # Whoever was first won the branch; not one step of the other was cosigned.
    latest = make().latest(ORIGIN)
    assert latest is not None
    assert [outputs.count(str([200] * 60)), sum("200" in output for output in outputs)] == [1, 1]
    assert latest.root in {TREE.root(160), FORK.root(160)}


def test_a_key_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys/witness.pem"
    key = create_key(path, "witness.example/w")
    assert (path.stat().st_mode & 0o777, key.algorithm) == (0o600, Algorithm.COSIGNATURE)
    assert Witness("witness.example/w", path, tmp_path / "state", {}).key == key
    with pytest.raises(KeyringError, match="never overwritten"):
        create_key(path, "witness.example/w")
    path.chmod(0o640)
    with pytest.raises(KeyringError, match="chmod 600"):
        Witness("witness.example/w", path, tmp_path / "state", {})


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "witness.pem"
    with pytest.raises(KeyringError, match="cannot be read"):
        Witness("w", path, tmp_path, {})
    path.touch(0o600)
    pem = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (b"", b"no key", pem):
        path.write_bytes(content)
        with pytest.raises(KeyringError, match="not an unencrypted Ed25519 key"):
            Witness("w", path, tmp_path, {})


def test_under_another_name_it_does_not_start_on_what_it_remembers(make: Callable[[], Witness], tmp_path: Path) -> None:
    assert make().add_checkpoint(request(0, 150)).status == 200
    with pytest.raises(KeyringError, match="cosigned under another name or key"):
        Witness("other.example/w", tmp_path / "keys/witness.pem", tmp_path / "state", {ORIGIN: [LOG_KEY]})
    Witness("other.example/w", tmp_path / "keys/witness.pem", tmp_path / "other", {ORIGIN: [LOG_KEY]})


def test_from_a_shell_nothing_is_said_before_it_listens(tmp_path: Path) -> None:
    def run(host: str) -> Ran:
        name = ("--name", "witness.example/w", "--state", str(tmp_path / "w"))
        return run_cli("ledger", "witness", "--log", str(LOG_KEY), *name, "--host", host, "--port", "0")

    ran = run("192.0.2.1")  # nobody's address
    assert (ran.code, ran.out) == (2, "")
    assert "cannot listen on 192.0.2.1:0" in ran.err and "plain HTTP at 192.0.2.1" in ran.err


async def test_who_serves_is_told_where(witness: Witness) -> None:
    told: list[tuple[str, int]] = []
    serving_it = asyncio.create_task(
        serve(witness, "127.0.0.1", 0, listening=lambda host, port: told.append((host, port)))
    )
    async with asyncio.timeout(10):
        while not told:  # noqa: ASYNC110 - another task's work
            await asyncio.sleep(0.01)
    async with aiohttp.ClientSession() as http, http.get(f"http://{told[0][0]}:{told[0][1]}/") as answer:
        assert answer.status == 404
    serving_it.cancel()
    await asyncio.gather(serving_it, return_exceptions=True)


async def test_over_http(witness: Witness) -> None:
    async with serving(witness, "127.0.0.1", 0) as (host, port), aiohttp.ClientSession(f"http://{host}:{port}") as http:
        async with http.post("/add-checkpoint", data=request(0, 100)) as answer:
            made = Answer(answer.status, answer.headers["Content-Type"], await answer.read())
            assert cosigned_at(witness, made, 100) == NOW
        async with http.post("/add-checkpoint", data=request(0, 100)) as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (409, "text/x.tlog.size")
            assert await answer.read() == b"100\n"
        async with http.post("/add-checkpoint", data=bytes(MAX_BODY + 1)) as answer:
            assert answer.status == 413
        async with http.get("/add-checkpoint") as answer:
            assert answer.status == 405
        async with http.get("/") as answer:
            assert answer.status == 404


async def test_a_body_that_does_not_come_is_not_waited_for(witness: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qaqpa.witness._BODY_WITHIN_S", 0.1)
    async with serving(witness, "127.0.0.1", 0) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\nold 0\n")
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()
