# long: the tests and the second writer of folders that they need; nothing else uses it.
"""The verifier that is copied out with an export, against folders that a second, independent writer made."""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

FILE = Path(__file__).parents[2] / "src/qaqpa/tlog/standalone.py"
ORIGIN = "mfo.example/disclosures"


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_standalone", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


alone = loaded()


# --- an independent writer -------------------------------------------------------------------------


def key_from(seed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())


LOG, OTHER, WITNESS = key_from("log"), key_from("other"), key_from("witness")


def vkey(key: Ed25519PrivateKey, name: str = ORIGIN, kind: int = 1) -> str:
    data = bytes([kind]) + key.public_key().public_bytes_raw()
    digest = hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8]
    return f"{name}+{digest}+{base64.b64encode(data).decode()}"


def line(key: Ed25519PrivateKey, signature: bytes, name: str, kind: int) -> bytes:
    identity = bytes.fromhex(vkey(key, name, kind).split("+")[1])
    return f"— {name} {base64.b64encode(identity + signature).decode()}\n".encode()


def mth(leaves: list[bytes]) -> bytes:
    """RFC 9162 §2.1.1 over leaf hashes."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path_to(leaves: list[bytes], index: int) -> list[bytes]:
    """RFC 9162 §2.1.3.1."""
    if len(leaves) < 2:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if index < k:
        return [*path_to(leaves[:k], index), mth(leaves[k:])]
    return [*path_to(leaves[k:], index - k), mth(leaves[:k])]


def hashed(entries: list[bytes]) -> list[bytes]:
    return [hashlib.sha256(b"\0" + entry).digest() for entry in entries]


def text_of(entries: list[bytes], origin: str = ORIGIN) -> bytes:
    return f"{origin}\n{len(entries)}\n{base64.b64encode(mth(hashed(entries))).decode()}\n".encode()


def checkpoint(entries: list[bytes], key: Ed25519PrivateKey = LOG, origin: str = ORIGIN) -> bytes:
    text = text_of(entries, origin)
    return text + b"\n" + line(key, key.sign(text), origin, 1)


def cosign(note: bytes, when: int = 1_790_000_000, key: Ed25519PrivateKey = WITNESS) -> bytes:
    text = note[: note.rindex(b"\n\n") + 1]
    signature = key.sign(b"cosignature/v1\ntime %d\n" % when + text)
    return note + line(key, when.to_bytes(8, "big") + signature, "witness.example/w1", 4)


def proof_of(entries: list[bytes], index: int, key: Ed25519PrivateKey = LOG) -> bytes:
    path = b"".join(base64.b64encode(each) + b"\n" for each in path_to(hashed(entries), index))
    return b"c2sp.org/tlog-proof@v1\nindex %d\n" % index + path + b"\n" + checkpoint(entries, key)


def write_tiles(folder: Path, level: str, hashes: list[bytes]) -> None:
    for first in range(0, len(hashes), 256):
        tile = hashes[first : first + 256]
        digits = f"{first // 256:03}" if first < 256_000 else f"x{first // 256_000:03}/{first // 256 % 1000:03}"
        path = folder / "tile" / level / (digits + ("" if len(tile) == 256 else f".p/{len(tile)}"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(tile))


def export(folder: Path, entries: list[bytes], note: bytes | None = None, past: tuple[bytes, ...] = ()) -> Path:
    folder.mkdir()
    (folder / "checkpoint").write_bytes(checkpoint(entries) if note is None else note)
    (folder / "vkey.txt").write_text(vkey(LOG) + "\n")
    if past:
        (folder / "checkpoints.txt").write_bytes(b"".join(b"%d\n" % len(each) + each for each in past))
    write_tiles(folder, "entries", [len(entry).to_bytes(2, "big") + entry for entry in entries])
    hashes, level = hashed(entries), 0
    while hashes:
        write_tiles(folder, str(level), hashes)
        hashes = [mth(hashes[at : at + 256]) for at in range(0, len(hashes) - 255, 256)]
        level += 1
    return folder


def dumps(**entry: Any) -> bytes:
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()


def log_of(size: int, mark: str = "") -> list[bytes]:
    """Intents and their outcomes in turn, so that a log of odd size has one open intent."""
    return [
        dumps(kind="outcome", id=f"o{at}", intent=f"i{at - 1}") if at % 2 else dumps(kind="intent", id=f"i{at}", x=mark)
        for at in range(size)
    ]


def verify(folder: Path | None, **asked: Any) -> dict[str, Any]:
    result = alone.verify(folder, **asked)
    assert isinstance(result, dict)
    assert result["verified"] is not bool(result["failures"])
    json.dumps(result)
    return result


def failure(folder: Path | None, **asked: Any) -> str:
    result = verify(folder, **asked)
    assert not result["verified"]
    assert "FAILED" in "\n".join(alone.told(result))
    return "; ".join(result["failures"])


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(FILE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


# --- good folders ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537])
def test_a_good_folder_of_any_size_verifies(tmp_path: Path, size: int) -> None:
    entries = log_of(size)
    old = {each for each in (0, 1, 2, 100, 256, 257, 400, 512, 65_536, size // 2, size) if each <= size}
    past = tuple(checkpoint(entries[:each]) for each in sorted(old))
    result = verify(export(tmp_path / "log", entries, past=past))
    assert result["failures"] == []
    assert result["size"] == size
    assert result["older_checkpoints"] == len(old)
    assert len(result["open_intents"]) == size % 2
    assert sum(result["kinds"].values()) == size


def test_as_a_program_without_anything_else(tmp_path: Path) -> None:
    folder = export(tmp_path / "log", log_of(5))
    done = run(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("VERIFIED")
    assert "CAUTION" in done.stdout
    assert "open intents     1" in done.stdout
    given = run(folder, "--vkey", vkey(LOG), "--json")
    assert given.returncode == 0
    assert json.loads(given.stdout)["key_from"] == "--vkey"
    assert "CAUTION" not in run(folder, "--vkey", vkey(LOG)).stdout
    shutil.copy(FILE, folder / "verify.py")
    copied = subprocess.run([sys.executable, "-I", "verify.py", "."], cwd=folder, capture_output=True, text=True)
    assert copied.returncode == 0
    assert "this program came with the folder" in copied.stdout
    (folder / "tile/0/000.p/5").unlink()
    failed = run(folder)
    assert failed.returncode == 1
    assert failed.stdout.startswith("FAILED")


def test_a_wrong_call_is_told_apart_from_a_failure(tmp_path: Path) -> None:
    folder = export(tmp_path / "log", log_of(1))
    for arguments in (
        (),
        (tmp_path / "nowhere",),
        (folder, "--vkey", "nonsense"),
        (folder, "--witness", vkey(WITNESS)),
        (folder, "--checkpoint", tmp_path / "nowhere"),
        (folder, "--entry", folder / "checkpoint"),
        ("--vkey", vkey(LOG), "--proof", folder / "checkpoint"),
    ):
        done = run(*arguments)
        assert done.returncode == 2, arguments
        assert "Traceback" not in done.stderr


def test_it_needs_the_standard_library_of_python_3_9_and_nothing_else() -> None:
    tree = ast.parse(FILE.read_text(), feature_version=(3, 9))
    names = {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_it_knows_the_kinds_that_the_ledger_writes() -> None:
    entries = ast.parse((FILE.parents[1] / "ledger/entries.py").read_text())
    kinds = next(node for node in entries.body if isinstance(node, ast.ClassDef) and node.name == "Kind")
    written = {ast.literal_eval(node.value) for node in kinds.body if isinstance(node, ast.Assign)}
    assert written == alone.KINDS


# --- broken folders --------------------------------------------------------------------------------


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    entries = log_of(4)
    folder = export(tmp_path / "log", entries, past=(checkpoint(entries[:3]),))
    flipped = 0
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        data = path.read_bytes()
        for at in range(len(data)):
            for mask in (0x01, 0x20):
                path.write_bytes(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
                assert not verify(folder)["verified"], (path.name, at, mask)
                flipped += 1
        for changed in (data + b"\n", data + b"\0", data[:-1], b"", data + data):
            path.write_bytes(changed)
            # A vkey.txt without its last newline is the same key; checkpoints.txt may be empty, or say a thing twice.
            same = (path.name, changed) == ("vkey.txt", data[:-1])
            same = same or (path.name == "checkpoints.txt" and changed in (b"", data + data))
            assert verify(folder)["verified"] is same, (path.name, changed)
        path.write_bytes(data)
    assert flipped > 1000
    assert verify(folder)["verified"]


def rewrite(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    """Bundles and nothing else are written anew."""

    def broken(folder: Path) -> None:
        entries = change(log_of(600))
        for path in sorted((folder / "tile/entries").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        write_tiles(folder, "entries", [len(entry).to_bytes(2, "big") + entry for entry in entries])

    return broken


def place_at(name: str, data: bytes) -> Callable[[Path], None]:
    def broken(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    return broken


def link(name: str, target: str) -> Callable[[Path], None]:
    def broken(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return broken


def instead(name: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    def broken(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return broken


HUGE = ORIGIN.encode() + b"\n%d\n" % (10**17) + base64.b64encode(bytes(32)) + b"\n"
BROKEN: dict[str, tuple[Callable[[Path], None], int | None]] = {
    "an entry changed": (rewrite(lambda log: [*log[:299], b"{}", *log[300:]]), 299),
    "an entry removed": (rewrite(lambda log: log[:300] + log[301:]), 300),
    "an entry removed from a full bundle": (rewrite(lambda log: log[:7] + log[8:]), 7),
    "an entry repeated": (rewrite(lambda log: [*log[:10], *log[9:]]), 10),
    "two entries swapped": (rewrite(lambda log: [*log[:500], log[501], log[500], *log[502:]]), 500),
    "the last entry removed": (rewrite(lambda log: log[:-1]), 512),
    "an entry too many": (rewrite(lambda log: [*log, b"{}"]), 512),
    "a bundle missing": (lambda folder: (folder / "tile/entries/001").unlink(), 256),
    "a tile missing": (lambda folder: (folder / "tile/0/001").unlink(), 256),
    "an upper tile missing": (lambda folder: (folder / "tile/1/000.p/2").unlink(), 0),
    "an upper tile changed": (place_at("tile/1/000.p/2", bytes(64)), 0),
    "a tile too many": (place_at("tile/0/003", bytes(8192)), None),
    "a bundle of a smaller log": (place_at("tile/entries/002.p/3", b""), None),
    "a level too many": (place_at("tile/2/000.p/1", bytes(32)), None),
    "a stray file": (place_at("tile/0/.hidden", b""), None),
    "a tile spelt in another way": (place_at("tile/0/x000/000", bytes(8192)), None),
    "a link for a tile": (link("tile/0/000", "/dev/zero"), 0),
    "a link for the checkpoint": (link("checkpoint", "/dev/zero"), None),
    "a link that leads nowhere": (link("tile/0/009", "nowhere"), None),
    "a folder for a bundle": (instead("tile/entries/000", Path.mkdir), 0),
    "a pipe for a bundle": (instead("tile/entries/000", os.mkfifo), 0),
    "a pipe for the checkpoint": (instead("checkpoint", os.mkfifo), None),
    "a huge bundle": (lambda folder: os.truncate(folder / "tile/entries/000", 2**40), 0),
    "a huge checkpoint": (lambda folder: os.truncate(folder / "checkpoint", 2**40), None),
    "a huge size": (place_at("checkpoint", HUGE + b"\n" + line(LOG, LOG.sign(HUGE), ORIGIN, 1)), 512),
    "no UTF-8": (place_at("checkpoint", b"\xff\xfe\n\n\n"), None),
    "no checkpoint": (lambda folder: (folder / "checkpoint").unlink(), None),
    "no key": (lambda folder: (folder / "vkey.txt").unlink(), None),
    "another key": (place_at("vkey.txt", vkey(OTHER).encode()), None),
    "signed by another key": (place_at("checkpoint", checkpoint(log_of(600), OTHER)), None),
    "of another log": (place_at("checkpoint", checkpoint(log_of(600), origin="other.example/log")), None),
    "another root": (place_at("checkpoint", checkpoint(log_of(600, "changed"))), 0),
    "a broken list of checkpoints": (place_at("checkpoints.txt", b"99999999999999999999\n"), None),
    "a list of no checkpoints": (place_at("checkpoints.txt", b"3\n\n\n\n"), None),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_folder_fails_with_the_first_bad_entry(tmp_path: Path, broken: str) -> None:
    folder = export(tmp_path / "log", log_of(600))
    breaks, first = BROKEN[broken]
    breaks(folder)
    result = verify(folder)
    assert not result["verified"]
    assert result["first_bad_entry"] == first, result["failures"]
    done = run(folder)
    assert done.returncode == 1
    assert done.stderr == ""


def test_names_of_others_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    folder = export(tmp_path / "log", [dumps(kind="intent", id="\x1b[2J\u202e")])
    (folder / "\x1b[2J\udcff").write_text("")
    done = run(folder)
    assert done.returncode == 0
    assert "not checked" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


STORIES = {
    "an outcome before its intent": [dumps(kind="outcome", intent="a"), dumps(kind="intent", id="a")],
    "an intent concluded twice": [*log_of(2), log_of(2)[1]],
    "an intent opened twice": [log_of(1)[0], log_of(1)[0]],
    "an intent without id": [dumps(kind="intent")],
    "an outcome of a list": [dumps(kind="outcome", intent=[])],
    "an unknown kind": [dumps(kind="party")],
    "a kind that is a list": [dumps(kind=["intent"])],
    "no kind": [b"{}"],
    "a list": [b'["intent"]'],
    "no JSON": [b"intent"],
    "nothing": [b""],
    "two values": [b'{"kind":"policy"}{"kind":"policy"}'],
    "a key twice": [b'{"kind":"policy","kind":"control"}'],
    "an inner key twice": [b'{"kind":"policy","a":{"b":1,"b":2}}'],
    "no number": [b'{"kind":"policy","a":NaN}'],
    "not UTF-8": [b'{"kind":"policy","a":"\xff"}'],
    "nested without end": [b"[" * 60_000],
    "a number without end": [b'{"kind":"policy","a":' + b"9" * 60_000 + b"e}"],
}


@pytest.mark.parametrize("story", STORIES)
def test_a_signed_log_that_tells_nonsense_fails(tmp_path: Path, story: str) -> None:
    before = [dumps(kind="policy", id="p")]
    result = verify(export(tmp_path / "log", before + STORIES[story]))
    assert [each for each in result["failures"] if "does not fit the story" in each] == result["failures"] != []
    assert result["first_bad_entry"] == (1 if "before" in story else len(STORIES[story])), "mostly the last one"


# --- the past --------------------------------------------------------------------------------------


def test_a_log_that_was_rolled_back_or_forked_is_found_by_a_kept_checkpoint(tmp_path: Path) -> None:
    kept, entries = checkpoint(log_of(400)), log_of(300)
    assert verify(export(tmp_path / "grown", log_of(700)), checkpoints=[("kept", kept)])["verified"]
    shorter = export(tmp_path / "shorter", entries)
    assert verify(shorter)["verified"]
    assert "the past was changed (rolled back)" in failure(shorter, checkpoints=[("kept", kept)])
    forked = export(tmp_path / "forked", [*log_of(299), *log_of(700, "!")[299:]])
    assert verify(forked)["verified"]
    assert "the past was changed (forked)" in failure(forked, checkpoints=[("kept", kept)])
    same = export(tmp_path / "same", log_of(400, "!"))
    assert "(forked)" in failure(same, checkpoints=[("kept", kept)])
    assert verify(forked, checkpoints=[("kept", checkpoint(log_of(299)))])["verified"]
    listed = export(tmp_path / "listed", entries, past=(checkpoint(entries[:7]), kept))
    assert "checkpoint 2 of checkpoints.txt" in failure(listed)
    (tmp_path / "kept.txt").write_bytes(kept)
    assert run(shorter, "--checkpoint", tmp_path / "kept.txt").returncode == 1


def test_a_kept_checkpoint_must_be_of_this_log_and_signed(tmp_path: Path) -> None:
    folder = export(tmp_path / "log", log_of(9))
    for note in (checkpoint(log_of(4), OTHER), checkpoint(log_of(4), origin="o.example/x"), b"", text_of(log_of(4))):
        assert "kept is" in failure(folder, checkpoints=[("kept", note)])
    assert "another key" in failure(folder, given=alone.parse_key(vkey(OTHER), 1))


def test_witnesses(tmp_path: Path) -> None:
    witness = alone.parse_key(vkey(WITNESS, "witness.example/w1", 4), 4)
    absent = alone.parse_key(vkey(OTHER, "witness.example/w2", 4), 4)
    entries, note = log_of(3), checkpoint(log_of(3))
    folder = export(tmp_path / "log", entries, cosign(note))
    found = verify(folder, witnesses=[witness])
    assert found["verified"]
    assert found["cosigned"] == [{"witness": "witness.example/w1", "time": "2026-09-21T14:13:20+00:00", "size": 3}]
    assert "is not cosigned by witness.example/w2" in failure(folder, witnesses=[witness, absent])
    later = cosign(note, 2**62)
    (folder / "checkpoint").write_bytes(later)
    assert verify(folder, witnesses=[witness])["cosigned"][0]["time"] == str(2**62)
    signature = WITNESS.sign(b"cosignature/v1\ntime 1700000000\n" + text_of(entries))
    moved = line(WITNESS, (1_700_000_001).to_bytes(8, "big") + signature, "witness.example/w1", 4)
    for bad in (
        note + moved,
        note + cosign(checkpoint(log_of(2)))[len(checkpoint(log_of(2))) :],
        cosign(note, key=OTHER),
    ):
        (folder / "checkpoint").write_bytes(bad)
        assert "cosign" in failure(folder, witnesses=[witness])
        assert verify(folder)["verified"], "a signature of somebody unknown is ignored"
    (folder / "checkpoint").write_bytes(note + note[note.rindex(b"\n\n") + 2 :] * 64)
    assert "well-formed" in failure(folder)


def test_an_older_checkpoint_in_the_folder_that_is_cosigned_counts_for_its_entries(tmp_path: Path) -> None:
    witness = alone.parse_key(vkey(WITNESS, "witness.example/w1", 4), 4)
    entries = log_of(9)
    folder = export(tmp_path / "log", entries, checkpoint(entries))
    assert "is not cosigned by witness.example/w1, nor is an older one" in failure(folder, witnesses=[witness])
    older = [cosign(checkpoint(log_of(4))), cosign(checkpoint(log_of(7))), checkpoint(log_of(8))]
    (folder / "checkpoints.txt").write_bytes(b"".join(b"%d\n%b" % (len(each), each) for each in older))
    found = verify(folder, witnesses=[witness])
    assert found["verified"] and [each["size"] for each in found["cosigned"]] == [7]
    assert "7 entries" in (told := "\n".join(alone.told(found))) and "the log's word alone" in told


# --- proofs ----------------------------------------------------------------------------------------


def test_proofs_with_and_without_the_folder(tmp_path: Path) -> None:
    entries, key = log_of(300), alone.parse_key(vkey(LOG), 1)
    folder = export(tmp_path / "log", entries)
    for size in (1, 2, 3, 7, 8, 255, 256, 257, 300):
        for index in {0, 1, size // 2, size - 2, size - 1} & set(range(size)):
            proof = proof_of(entries[:size], index)
            found = verify(None, given=key, proof=proof, entry=entries[index])
            assert found["failures"] == []
            assert found["proven_entry"] == index
            assert not verify(None, given=key, proof=proof, entry=entries[index] + b" ")["verified"]
            other = proof.replace(b"index %d\n" % index, b"index %d\n" % (index + 1))
            assert not verify(None, given=key, proof=other, entry=entries[index])["verified"]
    assert verify(folder, proof=proof_of(entries[:77], 5))["proven_entry"] == 5
    assert "does not show" in failure(folder, proof=proof_of(entries, 5), entry=entries[6])
    assert "(rolled back)" in failure(folder, proof=proof_of(log_of(301), 5))
    assert "(forked)" in failure(folder, proof=proof_of(log_of(20, "!"), 5))
    assert "not signed" in failure(folder, proof=proof_of(entries, 5, OTHER))
    (tmp_path / "a.tlog-proof").write_bytes(proof_of(entries, 5))
    (tmp_path / "entry").write_bytes(entries[5])
    asked = ("--vkey", vkey(LOG), "--proof", tmp_path / "a.tlog-proof", "--entry", tmp_path / "entry")
    assert run(*asked).returncode == 0
    assert run(*asked, "--witness", vkey(WITNESS, "w.example", 4)).returncode == 1


def test_every_flipped_byte_of_a_proof_is_found() -> None:
    entries, key = log_of(6), alone.parse_key(vkey(LOG), 1)
    proof = proof_of(entries, 4).replace(b"v1\n", b"v1\nextra YWJj\n", 1)
    asked = {"given": key, "entry": entries[4]}
    assert verify(None, proof=proof, **asked)["verified"]
    for at in range(len(proof)):
        changed = proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :]
        opaque = proof.index(b"YWJj") <= at < proof.index(b"YWJj") + 4
        assert verify(None, proof=changed, **asked)["verified"] is opaque, at


# --- Ed25519 ---------------------------------------------------------------------------------------

# RFC 8032 §7.1, tests 1 to 3: public key, message, signature.
VECTORS = [tuple(bytes.fromhex(part) for part in vector.split(":")) for vector in [
    ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a::e5564300c360ac729086e2cc806e828a"
    "84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c:72:92a009a9f0d4cab8720e820b5f642540"
    "a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025:af82:6291d657deec24024827e69c3abe01a3"
    "0ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
]]  # fmt: skip


@pytest.mark.parametrize("vector", VECTORS)
def test_the_vectors_of_rfc_8032(vector: tuple[bytes, bytes, bytes]) -> None:
    public, message, signature = vector
    assert alone.is_signature(public, signature, message)
    s = int.from_bytes(signature[32:], "little")
    assert not alone.is_signature(public, signature[:32] + (s + alone.ORDER).to_bytes(32, "little"), message)
    assert not alone.is_signature(public, signature, message + b"x")
    assert not alone.is_signature(public, signature[:-1], message)
    assert not alone.is_signature(public[:-1], signature, message)
    for bit in range(0, 512, 7):
        changed = (int.from_bytes(signature, "little") ^ 1 << bit).to_bytes(64, "little")
        assert not alone.is_signature(public, changed, message)


def test_points_that_are_none_and_keys_that_sign_anything() -> None:
    for y, sign in ((alone.P, 0), (alone.P + 1, 0), (2**255 - 1, 0), (1, 1), (alone.P - 1, 1), (2, 0)):
        assert alone.decompress((y | sign << 255).to_bytes(32, "little")) is None
    order_8 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
    for small in ((1).to_bytes(32, "little"), (alone.P - 1).to_bytes(32, "little"), bytes(32), bytes.fromhex(order_8)):
        assert alone.decompress(small) is not None
        assert not any(alone.is_signature(small, small + bytes(32), bytes([at])) for at in range(16))


@settings(deadline=None, database=None, max_examples=60)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=80), st.integers(0, 511), st.booleans())
def test_the_same_verdict_as_cryptography(seed: bytes, message: bytes, bit: int, flip: bool) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    if flip:
        signature = (int.from_bytes(signature, "little") ^ 1 << bit).to_bytes(64, "little")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        right = True
    except InvalidSignature:
        right = False
    assert alone.is_signature(public, signature, message) is right
