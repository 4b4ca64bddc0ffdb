"""Our artefacts in the hands of implementations that are not ours: golang.org/x/mod and sigstore-python."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from qaqpa.tlog.merkle import leaf_hash
from qaqpa.tlog.notes import Algorithm, Checkpoint, Note, VerifierKey, cosign, sign
from qaqpa.tlog.tiles import TileTree, grow, tile_path, tiles_of

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests/foreign/check.go"
GO_PATH = Path("/usr/share/gocode")
SIZE = 70_000

BODIES = [f'{{"entry":{number}}}'.encode() for number in range(SIZE)]
TILES: dict[tuple[int, int], bytes] = {}
TREE_ROOT = b""
LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
LOG_KEY = VerifierKey("log.example/1", Algorithm.ED25519, LOG.public_key().public_bytes_raw())
WITNESS_KEY = VerifierKey("witness.example/w", Algorithm.COSIGNATURE, WITNESS.public_key().public_bytes_raw())
KEYS = [str(LOG_KEY), str(WITNESS_KEY)]

Check = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def tree() -> TileTree:
    grown = grow(lambda _level, _number: b"", 0, [leaf_hash(body) for body in BODIES])
    TILES.update(grown.tiles)
    made = TileTree(lambda level, number: TILES.get((level, number), b""), SIZE)
    assert made.root() == grown.root
    return made


@pytest.fixture(scope="module")
def note(tree: TileTree) -> Note:
    text = Checkpoint("log.example/1", SIZE, tree.root()).text()
    return Note(text, (sign(text, LOG_KEY, LOG.sign), cosign(text, WITNESS_KEY, WITNESS.sign, 1_700_000_000)))


@pytest.fixture(scope="module")
def check() -> Iterator[Check]:
    """The Go program, built once for its source; JSON in, JSON out."""
    go = shutil.which("go")
    if go is None or not (GO_PATH / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("needs Go and x/mod: apt-get install golang-go golang-golang-x-mod-dev")
    folder = ROOT / "build/foreign"
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / f"check-{hashlib.sha256(PROGRAM.read_bytes()).hexdigest()[:16]}"
    go_environment = {"GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOFLAGS": "", "GOCACHE": str(folder / "go-cache")}
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes beside this one build it too
        if not binary.exists():
            command = [go, "build", "-o", str(binary), str(PROGRAM)]
            subprocess.run(command, env={**os.environ, **go_environment}, check=True, timeout=110)

    def run(asked: dict[str, Any]) -> dict[str, Any]:
        done = subprocess.run([binary], input=json.dumps(asked), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    yield run


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def flipped(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def inclusion(tree: TileTree, index: int, size: int) -> dict[str, Any]:
    proof = [b64(each) for each in tree.inclusion(index, size)]
    leaf = b64(leaf_hash(BODIES[index]))
    return {"Size": size, "Index": index, "Root": b64(tree.root_at(size)), "Leaf": leaf, "Proof": proof}


def consistency(tree: TileTree, old: int, size: int) -> dict[str, Any]:
    proof = [b64(each) for each in tree.consistency(old, size)]
    roots = {"Root": b64(tree.root_at(size)), "OldRoot": b64(tree.root_at(old))}
    return {"Size": size, "Old": old, "Proof": proof, **roots}


def tampered(asked: dict[str, Any], *fields: str) -> list[dict[str, Any]]:
    """Each hash changed by a bit, an element dropped and one added."""
    proof = asked["Proof"]
    wrong = [{**asked, field: b64(flipped(base64.b64decode(asked[field])))} for field in fields]
    wrong += [
        {**asked, "Proof": [*proof[:at], b64(flipped(base64.b64decode(proof[at]))), *proof[at + 1 :]]}
        for at in range(len(proof))
    ]
    return [*wrong, {**asked, "Proof": proof[:-1]}, {**asked, "Proof": [*proof, proof[0]]}]


INDEXES = [0, 1, 255, 256, 257, 65_535, 65_536, 69_999]
OLDS = [1, 2, 255, 256, 257, 65_535, 65_536, 65_537, 69_999, 70_000]


def test_go_opens_our_notes_and_no_tampered_one(check: Check, note: Note) -> None:
    right = note.to_bytes()
    at = len(note.text.encode())
    wrong = [flipped(right, 0), flipped(right, at - 3), flipped(right, -20), right[:-1], right.replace(b"\n\n", b"\n")]
    asked = [{"Keys": KEYS, "Note": b64(each)} for each in (right, *wrong)]
    asked.append({"Keys": [str(VerifierKey("log.example/1", Algorithm.ED25519, bytes(32)))], "Note": b64(right)})
    opened, *refused = check({"Notes": asked})["Notes"]
    signers = [f"{key.name}+{key.id.hex()}" for key in (LOG_KEY, WITNESS_KEY)]
    assert opened == {"Ok": True, "Text": note.text, "Signers": signers}
    assert [each["Ok"] for each in refused] == [False] * 6


def test_go_checks_our_inclusion_proofs_and_no_tampered_one(check: Check, tree: TileTree) -> None:
    right = [inclusion(tree, index, SIZE) for index in INDEXES]
    right += [inclusion(tree, index, size) for size in (1, 2, 3, 255, 256, 257, 300) for index in {0, size - 1}]
    wrong = [*tampered(right[3], "Root", "Leaf"), {**right[3], "Index": 255}, {**right[3], "Size": 4}]
    verdicts = [each["Ok"] for each in check({"Inclusion": right + wrong})["Inclusion"]]
    assert verdicts == [True] * len(right) + [False] * len(wrong)


def test_go_checks_our_consistency_proofs_and_no_tampered_one(check: Check, tree: TileTree) -> None:
    right = [consistency(tree, old, SIZE) for old in OLDS]
    right += [consistency(tree, old, size) for size in (2, 3, 256, 257, 300) for old in {1, size - 1, size}]
    wrong = [*tampered(right[4], "Root", "OldRoot"), {**right[4], "Old": 258}, {**right[4], "Old": 0}]
    verdicts = [each["Ok"] for each in check({"Consistency": right + wrong})["Consistency"]]
    assert verdicts == [True] * len(right) + [False] * len(wrong)


def test_go_names_tiles_as_we_do(check: Check) -> None:
    tiles = [(0, 0, 256), (0, 1234067, 256), (1, 999, 5), (2, 1000, 255), (0, 1234, 5), *tiles_of(SIZE)]
    asked = [{"Level": level, "Number": number, "Width": width} for level, number, width in tiles]
    assert check({"Paths": asked})["Paths"] == [tile_path(*tile) for tile in tiles]


def test_go_proves_from_our_tiles_what_we_prove(check: Check, tree: TileTree) -> None:
    tiles = {tile_path(*tile): b64(TILES[tile[:2]]) for tile in tiles_of(SIZE)}
    asked = {"Size": SIZE, "Root": b64(tree.root()), "Tiles": tiles, "Indexes": INDEXES, "Olds": OLDS}
    answer = check({"Tree": asked})
    assert answer["TreeProblem"] == "", "Go computes the root from the tiles of the right edge"
    assert answer["RecordProofs"] == [[b64(each) for each in tree.inclusion(index)] for index in INDEXES]
    assert answer["TreeProofs"] == [[b64(each) for each in tree.consistency(old)] for old in OLDS]
    # A tile of the right edge: older versions of x/mod do not check every other tile against its parent.
    tiles["tile/1/001.p/17"] = b64(flipped(TILES[1, 1]))
    assert check({"Tree": asked})["TreeProblem"] == "downloaded inconsistent tile"


def test_sigstore_verifies_our_inclusion_proofs_and_no_tampered_one(tree: TileTree) -> None:
    merkle = pytest.importorskip("sigstore._internal.merkle", reason="sigstore-python is not installed")
    errors = pytest.importorskip("sigstore.errors")

    def verify(index: int, size: int, body: bytes, hashes: list[bytes], root: bytes) -> None:
        proof = SimpleNamespace(log_index=index, tree_size=size, hashes=hashes, root_hash=root)
        inner = SimpleNamespace(inclusion_proof=proof, canonicalized_body=body)
        merkle.verify_merkle_inclusion(SimpleNamespace(_inner=inner))

    for index in INDEXES:
        verify(index, SIZE, BODIES[index], tree.inclusion(index), tree.root())
    hashes = tree.inclusion(256)
    for at in range(len(hashes)):
        with pytest.raises(errors.VerificationError):
            verify(256, SIZE, BODIES[256], [*hashes[:at], flipped(hashes[at]), *hashes[at + 1 :]], tree.root())
    for wrong in ((257, BODIES[256], hashes), (256, BODIES[257], hashes), (256, BODIES[256], hashes[:-1])):
        with pytest.raises(errors.VerificationError):
            verify(wrong[0], SIZE, wrong[1], wrong[2], tree.root())


def test_sigstore_reads_our_checkpoint_and_finds_its_signature(tree: TileTree, note: Note) -> None:
    rekor = pytest.importorskip("sigstore._internal.rekor.checkpoint", reason="sigstore-python is not installed")
    errors = pytest.importorskip("sigstore.errors")

    class Keyring:
        """What sigstore asks of a key store; it verifies Ed25519 by the same library as ours."""

        def verify(self, *, key_id: bytes, signature: bytes, data: bytes) -> None:
            assert key_id == LOG_KEY.id
            LOG.public_key().verify(signature, data)

    signed = rekor.SignedCheckpoint.from_text(note.to_bytes().decode())
    assert (signed.checkpoint.origin, signed.checkpoint.log_size) == ("log.example/1", SIZE)
    assert signed.checkpoint.log_hash == tree.root().hex()
    assert [(each.name, each.sig_hash) for each in signed.signed_note.signatures] == [
        (LOG_KEY.name, LOG_KEY.id),
        (WITNESS_KEY.name, WITNESS_KEY.id),
    ]
    signed.signed_note.verify(Keyring(), LOG_KEY.id)
    with pytest.raises(errors.VerificationError):
        signed.signed_note.verify(Keyring(), b"none")
