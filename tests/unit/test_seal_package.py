"""Packages of handovers: written as they come, opened by others' tools, and never plain on a disk."""

from __future__ import annotations

import hashlib
import resource
import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import ROOT
from qaqpa.errors import NotConfigured, StoreUnavailable
from qaqpa.model.handover import HandoverIntent, Package
from qaqpa.model.identifiers import HandoverId, RecipientId
from qaqpa.model.words import SealKind
from qaqpa.seal import PackageKey, PackageWriter, package_key
from qaqpa.seal.cms import LONGEST
from qaqpa.seal.package import BLOCK
from qaqpa.testing.opening import CannotOpen, make_pair
from recipients import MAKERS, every_recipient, gnupg_home, load, recipient, run, tool

INTENT = HandoverIntent(HandoverId("h-1"), RecipientId("demo-collector"))
PART = 2**16
"""Of OpenPGP's packets and of age's chunks."""


def key_of(kind: SealKind, folder: Path) -> PackageKey:
    pair = make_pair(kind)
    return package_key(load(folder, pair.seal, pair.public))


def written(name: str, folder: Path, *blocks: bytes) -> Package:
    with PackageWriter(INTENT, recipient(name).package_key(folder), folder / "package") as writer:
        for block in blocks:
            writer.write(block)
    assert writer.package is not None
    return writer.package


def whole_files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"recipient.key"}


# --- what the recipient gets -----------------------------------------------------------------------


@every_recipient
def test_the_recipients_own_tool_opens_a_package(name: str, tmp_path: Path) -> None:
    rows = [secrets.token_bytes(size) for size in (1, 300, BLOCK, 0, 3 * BLOCK + 7, 300)]
    package = written(name, tmp_path, *rows)
    sealed = package.path.read_bytes()
    assert recipient(name).open(sealed) == b"".join(rows)
    key = recipient(name).key(tmp_path)
    assert package == Package(
        INTENT, tmp_path / "package", key.kind, key.kid, key.media_type, len(sealed), hashlib.sha256(sealed).hexdigest()
    )
    assert whole_files(tmp_path) == {"package"}
    assert stat.S_IMODE(package.path.stat().st_mode) == 0o600


SIZES = (0, 1, PART - 7, PART - 6, PART - 5, BLOCK + 1)


@every_recipient
def test_a_package_may_have_any_length(name: str, tmp_path: Path) -> None:
    content = secrets.token_bytes(max(SIZES))
    for size in SIZES:
        sealed = written(name, tmp_path, content[:size]).path.read_bytes()
        assert recipient(name).open(sealed) == content[:size], size


@every_recipient
def test_a_flipped_bit_is_refused(name: str, tmp_path: Path) -> None:
    sealed = written(name, tmp_path, secrets.token_bytes(3 * PART)).path.read_bytes()
    # Within the first, a middle and the last part of the content, and in what closes it.
    for at in (4_000, len(sealed) // 2, len(sealed) - 2_000, len(sealed) - 10):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(CannotOpen):
            recipient(name).open(bytes(changed))


@every_recipient
def test_a_package_that_is_cut_off_is_refused(name: str, tmp_path: Path) -> None:
    sealed = written(name, tmp_path, secrets.token_bytes(3 * PART)).path.read_bytes()
    for length in (0, 10, len(sealed) // 2, len(sealed) - 2_000, len(sealed) - 20, len(sealed) - 1):
        with pytest.raises(CannotOpen):
            recipient(name).open(sealed[:length])


@pytest.mark.parametrize("name", [name for name in MAKERS if "gpg" not in name])
def test_another_key_of_the_same_kind_opens_nothing(name: str, tmp_path: Path) -> None:
    sealed = written(name, tmp_path, b"row").path.read_bytes()
    with pytest.raises(CannotOpen):
        MAKERS[name]().open(sealed)


def test_gnupg_opens_nothing_without_the_key(tmp_path: Path) -> None:
    package = written("gpg, RSA", tmp_path, b"row")
    with gnupg_home() as home, pytest.raises(CannotOpen, match="No secret key"):
        run(tool("gpg", "gnupg"), "--batch", "--homedir", home, "--decrypt", str(package.path))


@pytest.mark.parametrize("kind", [SealKind.AGE, SealKind.CMS, SealKind.OPENPGP])
def test_a_stand_in_opens_a_package_from_file_to_file(kind: SealKind, tmp_path: Path) -> None:
    pair = make_pair(kind)
    content = secrets.token_bytes(5 * PART)
    with PackageWriter(INTENT, package_key(load(tmp_path, pair.seal, pair.public)), tmp_path / "package") as writer:
        writer.write(content)
    with (tmp_path / "package").open("rb") as sealed, (tmp_path / "plain").open("wb") as out:
        pair.open_file(sealed, out)
    assert (tmp_path / "plain").read_bytes() == content


# --- while it is written ---------------------------------------------------------------------------

CANARY = b"canary-900101300017-"


def everything_on_disk(folder: Path) -> Iterator[bytes]:
    """What stands in the folder, and in every file that this process holds open, named or not."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_bytes()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            if stat.S_ISREG(descriptor.stat().st_mode) and str(descriptor.readlink()).endswith(
                ("(deleted)", ".partial")
            ):
                yield descriptor.read_bytes()
        except OSError:
            continue  # closed meanwhile


@every_recipient
def test_no_plaintext_touches_a_disk(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TMPDIR", "TMP", "TEMP"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen = 0
    with PackageWriter(INTENT, recipient(name).package_key(tmp_path), tmp_path / "package") as writer:
        for _ in range(10):  # so many that age, which works beside, is behind by some blocks only
            writer.write(CANARY * (BLOCK // len(CANARY) + 1))
            found = list(everything_on_disk(tmp_path))
            seen += sum(map(len, found))
            assert not any(CANARY in each for each in found)
            assert not (tmp_path / "package").exists()
    assert seen > BLOCK  # it looked at what was being written
    assert CANARY not in (tmp_path / "package").read_bytes()


@every_recipient
def test_an_exception_leaves_nothing(name: str, tmp_path: Path) -> None:
    key = recipient(name).package_key(tmp_path)
    with (
        pytest.raises(ZeroDivisionError),
        PackageWriter(INTENT, key, tmp_path / "package") as writer,
    ):
        writer.write(CANARY * BLOCK)
        assert whole_files(tmp_path) == {".package.partial"}
        raise ZeroDivisionError
    assert whole_files(tmp_path) == set()
    assert writer.package is None
    with pytest.raises(ValueError, match="closed or aborted"):
        writer.write(b"more")
    with pytest.raises(ValueError, match="closed or aborted"):
        writer.close()


@every_recipient
def test_what_is_not_closed_opens_for_nobody(name: str, tmp_path: Path) -> None:
    writer = PackageWriter(INTENT, recipient(name).package_key(tmp_path), tmp_path / "package")
    writer.write(secrets.token_bytes(10 * BLOCK))
    partial = (tmp_path / ".package.partial").read_bytes()
    writer.abort()
    assert len(partial) > BLOCK
    with pytest.raises(CannotOpen):
        recipient(name).open(partial)


def test_closed_once_is_closed_and_aborted_once_is_aborted(tmp_path: Path) -> None:
    writer = PackageWriter(INTENT, key_of(SealKind.AGE, tmp_path), tmp_path / "package")
    package = writer.close()
    assert writer.close() is package
    writer.abort()
    assert package.path.exists()
    other = PackageWriter(INTENT, key_of(SealKind.AGE, tmp_path), tmp_path / "other")
    other.abort()
    other.abort()
    assert whole_files(tmp_path) == {"package"}


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    key = recipient("openssl, ECDH-ES").package_key(tmp_path)
    with PackageWriter(INTENT, key, tmp_path / "package") as first:
        first.write(b"first")
        with pytest.raises(StoreUnavailable, match="another process"):
            PackageWriter(INTENT, key, tmp_path / "package")
    assert recipient("openssl, ECDH-ES").open((tmp_path / "package").read_bytes()) == b"first"


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(writer: PackageWriter) -> None:
    for _ in range(16):
        writer.write(secrets.token_bytes(BLOCK))
    writer.close()


@every_recipient
def test_a_full_disk_is_told_of_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    key = recipient(name).package_key(tmp_path)
    with (
        room_for(2 * BLOCK),
        pytest.raises(StoreUnavailable, match=r"cannot be written \(File too large\)"),
        PackageWriter(INTENT, key, tmp_path / "package") as writer,
    ):
        fill(writer)
    assert whole_files(tmp_path) == set()


@every_recipient
def test_whoever_goes_on_after_a_full_disk_gets_no_package(name: str, tmp_path: Path) -> None:
    writer = PackageWriter(INTENT, recipient(name).package_key(tmp_path), tmp_path / "package")
    with room_for(BLOCK), pytest.raises(StoreUnavailable):
        fill(writer)
    for go_on in (writer.close, lambda: writer.write(b"row")):
        with pytest.raises(ValueError, match="closed or aborted"):
            go_on()
    assert whole_files(tmp_path) == set()


@every_recipient
def test_a_disk_that_is_full_at_the_end_too(name: str, tmp_path: Path) -> None:
    key = recipient(name).package_key(tmp_path)
    writer = PackageWriter(INTENT, key, tmp_path / "package")
    writer.write(b"row")
    with room_for(1), pytest.raises(StoreUnavailable, match="cannot be written"):
        writer.close()
    assert whole_files(tmp_path) == set()


def test_no_folder_no_package(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="No such file"):
        PackageWriter(INTENT, key_of(SealKind.AGE, tmp_path), tmp_path / "nowhere" / "package")


def test_cms_ends_where_gcm_does(tmp_path: Path) -> None:
    class Nowhere:
        def write(self, block: bytes) -> int:
            return len(block)

    sealing: Any = key_of(SealKind.CMS, tmp_path).into(Nowhere())
    sealing._size = LONGEST - 1
    sealing.write(b"x")
    with pytest.raises(OSError, match="64 GiB"):
        sealing.write(b"x")


# --- another process -------------------------------------------------------------------------------

CHILD = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from pydantic import TypeAdapter
from qaqpa.config.recipients import SealConfig
from qaqpa.model.handover import HandoverIntent
from qaqpa.seal import PackageWriter, load_key, package_key
from datetime import UTC, datetime
import json
seal, key, path = sys.argv[1:]
config = TypeAdapter(SealConfig).validate_python({{**json.loads(seal), "key": "k"}})
loaded = package_key(load_key(config, key, datetime.now(UTC)))
def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
row = bytes(range(256)) * 4096
with PackageWriter(HandoverIntent("h", "r"), loaded, Path(path)) as writer:
    {body}
"""
BOUNDED = """
    for _ in range(8):
        writer.write(row)
    before = used()
    for _ in range(100):
        writer.write(row)
    writer.close()
    print(used() - before)
"""
KILLED = """
    writer.write(row * 2)
    print("writing", flush=True)
    sys.stdin.read()
"""


@contextmanager
def child(name: str, folder: Path, body: str) -> Iterator[subprocess.Popen[bytes]]:
    import json

    to = recipient(name)
    to.key(folder)
    code = CHILD.format(tests=str(ROOT / "tests"), body=body)
    command = [sys.executable, "-c", code, json.dumps(dict(to.seal)), str(folder / "recipient.key"), str(folder / "p")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process


@pytest.mark.parametrize("name", ["age", "openssl, ECDH-ES", "gpg, Curve25519", "Sequoia"])
def test_memory_does_not_grow_with_the_package(name: str, tmp_path: Path) -> None:
    with child(name, tmp_path, BOUNDED) as process:
        grown_kib, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert int(grown_kib) < 16 * 1024
    assert (tmp_path / "p").stat().st_size > 108 * 2**20
    if name.startswith("openssl"):  # which reads a whole structure before it decrypts any of it
        assert recipient(name).open((tmp_path / "p").read_bytes()) == bytes(range(256)) * 4096 * 108


def test_a_writer_that_was_killed_hinders_nobody(tmp_path: Path) -> None:
    with child("age", tmp_path, KILLED) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert whole_files(tmp_path) == {".p.partial"}
    with pytest.raises(CannotOpen):
        recipient("age").open((tmp_path / ".p.partial").read_bytes())
    with PackageWriter(INTENT, recipient("age").package_key(tmp_path), tmp_path / "p") as writer:
        writer.write(b"anew")
    assert whole_files(tmp_path) == {"p"}
    assert recipient("age").open((tmp_path / "p").read_bytes()) == b"anew"


# --- only from a handover's intent -----------------------------------------------------------------


class Forged:
    """Something with the attributes of a handover's intent."""

    id, recipient = "h-1", "demo-collector"


@pytest.mark.promise(3)
@pytest.mark.parametrize("forged", [Forged(), None, "h-1"], ids=["look-alike", "none", "id"])
def test_a_package_is_made_from_a_handovers_intent_and_from_nothing_like_it(forged: Any, tmp_path: Path) -> None:
    key = key_of(SealKind.AGE, tmp_path)
    with pytest.raises(TypeError, match="handover's intent"):
        PackageWriter(forged, key, tmp_path / "package")
    with pytest.raises(TypeError, match="handover's intent"):
        Package(forged, tmp_path / "package", SealKind.AGE, "k", "t", 0, "")
    assert whole_files(tmp_path) == set()


def no_key(folder: Path) -> None:
    package_key(None)


def jwe_key(folder: Path) -> None:
    key_of(SealKind.JWE, folder)


@pytest.mark.parametrize(("of", "kind"), [(no_key, "tls_only"), (jwe_key, "jwe")])
def test_other_seals_have_no_packages(of: Callable[[Path], None], kind: str, tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match=f"seal.kind = {kind} seals no packages"):
        of(tmp_path)
