"""Recipients of seals for tests: their keys, and their own tools (age, openssl, gpg) to open with."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from qaqpa.config.recipients import SealConfig
from qaqpa.model.words import SealKind
from qaqpa.seal import PackageKey, RecipientKey, load_key, package_key
from qaqpa.testing.opening import CannotOpen, Pair, make_pair

SHAPE: TypeAdapter[SealConfig] = TypeAdapter(SealConfig)


@dataclass(frozen=True)
class Recipient:
    """Somebody to seal to, who opens with a tool that is not ours."""

    seal: Mapping[str, str]
    public: bytes
    open: Callable[[bytes], bytes]
    """Raises CannotOpen where the tool refuses."""

    def key(self, folder: Path, now: datetime | None = None) -> RecipientKey:
        """What loading the configuration finds."""
        found = load(folder, self.seal, self.public, now)
        assert found is not None
        return found

    def package_key(self, folder: Path) -> PackageKey:
        return package_key(self.key(folder))


def load(folder: Path, seal: Mapping[str, str], public: bytes, now: datetime | None = None) -> RecipientKey | None:
    """The key in a file with this content."""
    path = folder / "recipient.key"
    path.write_bytes(public)
    return load_key(SHAPE.validate_python({**seal, "key": "k"}), str(path), now or datetime.now(UTC))


def tool(name: str, package: str) -> str:
    """Where a tool lies."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on the PATH: apt-get install {package}")
    return found


def run(*command: str, **environ: str) -> bytes:
    """What the tool prints. Raises CannotOpen where it refuses."""
    ran = subprocess.run(command, capture_output=True, check=False, env={**os.environ, **environ}, timeout=60)
    if ran.returncode != 0:
        raise CannotOpen(ran.stderr.decode(errors="replace"))
    return ran.stdout


@contextmanager
def files(**contents: bytes) -> Iterator[Callable[[str], str]]:
    """Paths of short-lived files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in contents.items():
            Path(folder, name).write_bytes(content)
        yield lambda name: str(Path(folder, name))


def by_age(pair: Pair) -> Recipient:
    age = tool("age", "age")

    def opened(sealed: bytes) -> bytes:
        with files(sealed=sealed, key=pair.private) as at:
            return run(age, "--decrypt", "-i", at("key"), at("sealed"))

    return Recipient(pair.seal, pair.public, opened)


def by_openssl(pair: Pair) -> Recipient:
    openssl = tool("openssl", "openssl")

    def opened(sealed: bytes) -> bytes:
        with files(sealed=sealed, key=pair.private, recipient=pair.public) as at:
            given = ("-in", at("sealed"), "-inkey", at("key"), "-recip", at("recipient"))
            return run(openssl, "cms", "-decrypt", "-binary", "-inform", "DER", *given)

    return Recipient(pair.seal, pair.public, opened)


@contextmanager
def gnupg_home() -> Iterator[str]:
    """An empty home of GnuPG's; its path is short, because a socket's has to be."""
    tool("gpg", "gnupg")
    folder = tempfile.mkdtemp(prefix="g", dir="/tmp")
    try:
        yield folder
    finally:
        subprocess.run(["gpgconf", "--homedir", folder, "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def gnupg() -> str:
    """One for this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(gnupg_home())


def gpg(*arguments: str) -> bytes:
    """What gpg prints, with keys that have no passphrase."""
    alone = ("--batch", "--yes", "--quiet", "--homedir", gnupg(), "--pinentry-mode", "loopback", "--passphrase", "")
    return run(tool("gpg", "gnupg"), *alone, *arguments)


def gpg_key(name: str, algorithm: str, usage: str, *options: str, life: str = "1y") -> str:
    """Make a key with GnuPG; its fingerprint."""
    gpg(*options, "--quick-generate-key", name, algorithm, usage, life)
    listed = gpg("--with-colons", "--list-keys", f"={name}").decode().splitlines()
    return next(line.split(":")[9] for line in listed if line.startswith("fpr:"))


def by_gnupg(name: str, subkey: str) -> Recipient:
    fingerprint = gpg_key(name, "ed25519", "sign,cert")
    gpg("--quick-add-key", fingerprint, subkey, "encr", "1y")

    def opened(sealed: bytes) -> bytes:
        with files(sealed=sealed) as at:
            content = gpg("--status-file", at("status"), "--decrypt", at("sealed"))
            # Of a few bytes of a first packet gpg makes nothing, and says so nowhere else.
            if "[GNUPG:] DECRYPTION_OKAY" not in Path(at("status")).read_text():
                raise CannotOpen("gpg found nothing to decrypt")
            return content

    public = gpg("--armor", "--export", fingerprint)
    return Recipient({"kind": SealKind.OPENPGP, "fingerprint": fingerprint}, public, opened)


def by_sequoia(pair: Pair) -> Recipient:
    return Recipient(pair.seal, pair.public, pair.open)


MAKERS: dict[str, Callable[[], Recipient]] = {
    "age": lambda: by_age(make_pair(SealKind.AGE)),
    "openssl, RSA-OAEP-256": lambda: by_openssl(make_pair(SealKind.CMS, "RSA-OAEP-256")),
    "openssl, ECDH-ES": lambda: by_openssl(make_pair(SealKind.CMS, "ECDH-ES")),
    "gpg, RSA": lambda: by_gnupg("rsa@recipient.example", "rsa2048"),
    "gpg, Curve25519": lambda: by_gnupg("ecdh@recipient.example", "cv25519"),
    "Sequoia": lambda: by_sequoia(make_pair(SealKind.OPENPGP)),
}
"""By the tool that opens; GnuPG's keys ask for version 1 of OpenPGP's encryption, Sequoia's for version 2."""


@functools.cache
def recipient(name: str) -> Recipient:
    """Made once in a process."""
    return MAKERS[name]()


every_recipient = pytest.mark.parametrize("name", MAKERS)
