"""The texts that logs, witnesses and clients exchange, as C2SP writes them: signed-note, tlog-checkpoint,
tlog-cosignature (v1), tlog-proof (v1) and the add-checkpoint request of tlog-witness.

Parsing is strict: what is accepted is written back byte for byte. All that is malformed, and every signature that
does not verify, raises VerificationFailed. Nothing here holds a private key.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from qaqpa.errors import VerificationFailed
from qaqpa.tlog.merkle import HASH_SIZE

MAX_NOTE_BYTES = 256 * 1024
MAX_SIGNATURES = 100
"""In a note; C2SP asks for 16 at least, x/mod's sumdb/note stops at 100."""
MAX_PROOF_HASHES = 63
_MAX_INTEGER = 2**63 - 1
_ID_SIZE = 4
_KEY_SIZE = 32
_TIME_SIZE = 8
_SIGNATURE_LINE = re.compile(r"\u2014 ([^ ]+) ([^ ]+)")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_PROOF_HEADER = "c2sp.org/tlog-proof@v1"

Signer = Callable[[bytes], bytes]
"""An Ed25519 private key's signing: message in, 64 bytes out."""


class Algorithm(IntEnum):
    """Signature types of C2SP signed-note that this product makes and checks."""

    ED25519 = 0x01
    COSIGNATURE = 0x04
    """Timestamped Ed25519, by a witness."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Whose signatures to trust. As text, a vkey: `name+id+base64(algorithm || public)`."""

    name: str
    algorithm: Algorithm
    public: bytes
    """The Ed25519 public key, 32 bytes."""

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.public) != _KEY_SIZE:
            raise VerificationFailed(f"the key of {self.name} is not {_KEY_SIZE} bytes long")

    @classmethod
    def parse(cls, text: str) -> Self:
        """A vkey whose id is that of its name and key."""
        name, identity, encoded = _fields(text, "+", 3, "a verifier key is name+id+base64 with plus signs between")
        typed = _unbase64(encoded, "a verifier key")
        if typed[:1] not in (b"\x01", b"\x04"):
            raise VerificationFailed(f"the verifier key of {name!r} is of an algorithm that is not supported")
        key = cls(name, Algorithm(typed[0]), typed[1:])
        if key.id.hex() != identity:
            raise VerificationFailed(
                f"the verifier key of {name} has the id {identity}, its content says {key.id.hex()}"
            )
        return key

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_base64(bytes([self.algorithm]) + self.public)}"

    @property
    def id(self) -> bytes:
        """SHA-256(name || 0x0A || algorithm || public)[:4]."""
        return hashlib.sha256(f"{self.name}\n".encode() + bytes([self.algorithm]) + self.public).digest()[:_ID_SIZE]


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note."""

    name: str
    key_id: bytes
    value: bytes
    """Of a cosignature, the timestamp (8 bytes) and the Ed25519 signature."""

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.key_id) != _ID_SIZE or not self.value:
            raise VerificationFailed(f"the signature by {self.name} is shorter than a key id and a signature")

    @classmethod
    def parse(cls, line: str) -> Self:
        """A signature line without its newline."""
        match = _SIGNATURE_LINE.fullmatch(line)
        if match is None:
            raise VerificationFailed("a signature line is an em dash, a key name and base64 with one space between")
        decoded = _unbase64(match[2], "a signature line")
        return cls(match[1], decoded[:_ID_SIZE], decoded[_ID_SIZE:])

    def __str__(self) -> str:
        return f"\u2014 {self.name} {_base64(self.key_id + self.value)}\n"

    def is_by(self, key: VerifierKey) -> bool:
        """Name and id are the key's; this says nothing about the signature being valid."""
        return self.name == key.name and self.key_id == key.id


@dataclass(frozen=True, slots=True)
class Note:
    """A text and the signatures under it. The text means nothing before a trusted key's signature is verified."""

    text: str
    """Ends in a newline."""
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        _check_text(self.text)
        if not self.text.endswith("\n"):
            raise VerificationFailed("the text of a note must end in a newline")
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise VerificationFailed(f"a note has 1 to {MAX_SIGNATURES} signatures, not {len(self.signatures)}")

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """C2SP signed-note, Format."""
        if len(data) > MAX_NOTE_BYTES:
            raise VerificationFailed(f"the note is larger than {MAX_NOTE_BYTES} bytes")
        # The last empty line parts text and signatures: the text may have empty lines of its own.
        text, blank, signatures = _utf8(data, "the note").rpartition("\n\n")
        if not blank:
            raise VerificationFailed("the note has no empty line between text and signatures")
        return cls(text + "\n", parse_signatures(signatures))

    def to_bytes(self) -> bytes:
        """The signed note, as it is stored and sent."""
        return f"{self.text}\n{''.join(map(str, self.signatures))}".encode()

    def adding(self, signatures: Iterable[Signature]) -> Self:
        """The note with these signatures too; one by the same key is replaced."""
        new = {(each.name, each.key_id): each for each in signatures}
        kept = tuple(each for each in self.signatures if (each.name, each.key_id) not in new)
        return type(self)(self.text, (*kept, *new.values()))

    def is_signed_by(self, key: VerifierKey) -> bool:
        """There is a signature with the key's name and id, valid or not."""
        return any(each.is_by(key) for each in self.signatures)

    def verify(self, key: VerifierKey) -> int | None:
        """The key signed this text; signatures by other keys are ignored, an invalid one by this key is not.

        Gives a cosignature's time in seconds since the epoch (of several, the latest), else None.
        """
        own = [each for each in self.signatures if each.is_by(key)]
        if not own:
            raise VerificationFailed(f"the note is not signed by {key.name} with the key {key.id.hex()}")
        times = [_verify_signature(self.text, each, key) for each in own]
        return max((at for at in times if at is not None), default=None)


def parse_signatures(text: str) -> tuple[Signature, ...]:
    """Signature lines alone, as a witness answers with them."""
    _check_text(text)
    if not text.endswith("\n"):
        raise VerificationFailed("the signature lines must end in a newline")
    lines = text[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise VerificationFailed(f"a note has 1 to {MAX_SIGNATURES} signatures, not {len(lines)}")
    return tuple(map(Signature.parse, lines))


def sign(text: str, key: VerifierKey, signer: Signer) -> Signature:
    """An Ed25519 signature over the text, as a log signs its checkpoint."""
    if key.algorithm is not Algorithm.ED25519:
        raise ValueError(f"{key.name} is not an Ed25519 note key")
    return Signature(key.name, key.id, signer(text.encode()))


def cosign(text: str, key: VerifierKey, signer: Signer, at: int) -> Signature:
    """A witness's cosignature of a checkpoint's text, made `at` seconds since the epoch (C2SP tlog-cosignature)."""
    if key.algorithm is not Algorithm.COSIGNATURE or not 0 <= at <= _MAX_INTEGER:
        raise ValueError(f"{key.name} is not a cosignature key, or the time {at} cannot be written")
    return Signature(key.name, key.id, at.to_bytes(_TIME_SIZE, "big") + signer(_cosigned(text, at)))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's tree head: the text of the note that log and witnesses sign (C2SP tlog-checkpoint)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            _check_text(line)
            if not line or "\n" in line:
                raise VerificationFailed("a checkpoint's origin and extension lines are non-empty lines")
        if not 0 <= self.size <= _MAX_INTEGER or len(self.root) != HASH_SIZE:
            raise VerificationFailed(f"a checkpoint has a size below 2**63 and a root of {HASH_SIZE} bytes")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The text of a note."""
        if not text.endswith("\n"):
            raise VerificationFailed("a checkpoint must end in a newline")
        lines = text[:-1].split("\n")
        if len(lines) < 3:
            raise VerificationFailed("a checkpoint has at least three lines: origin, size and root")
        origin, size, root, *extensions = lines
        return cls(origin, _decimal(size, "the checkpoint's size"), _hash(root, "the checkpoint"), tuple(extensions))

    def text(self) -> str:
        """What is signed."""
        return "".join(f"{line}\n" for line in (self.origin, self.size, _base64(self.root), *self.extensions))


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An entry's inclusion in a signed checkpoint, to be verified offline (C2SP tlog-proof)."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    """The signed note, verbatim."""
    extra: bytes | None = None
    """Not authenticated."""

    def __post_init__(self) -> None:
        _check_proof(self.hashes)
        if not 0 <= self.index <= _MAX_INTEGER or self.extra == b"":
            raise VerificationFailed("a proof has an index below 2**63, and extra data are left out or not empty")

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises VerificationFailed also where the checkpoint in it is malformed; checks no signature, no hash."""
        head, blank, checkpoint = data.partition(b"\n\n")
        lines = _utf8(head, "the proof").split("\n")
        if not blank or lines.pop(0) != _PROOF_HEADER:
            raise VerificationFailed(f"a proof begins with {_PROOF_HEADER} and has an empty line before its checkpoint")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = _unbase64(lines.pop(0).removeprefix("extra "), "the proof's extra line")
        if not lines or not lines[0].startswith("index "):
            raise VerificationFailed("the proof has no index line")
        index = _decimal(lines.pop(0).removeprefix("index "), "the proof's index")
        Checkpoint.parse(Note.parse(checkpoint).text)
        return cls(index, tuple(_hash(line, "the proof") for line in lines), checkpoint, extra)

    def to_bytes(self) -> bytes:
        """As it is stored, in a file named `.tlog-proof`."""
        extra = [] if self.extra is None else [f"extra {_base64(self.extra)}"]
        lines = [_PROOF_HEADER, *extra, f"index {self.index}", *map(_base64, self.hashes)]
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.checkpoint


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A log's request to a witness: sign this checkpoint, which extends the one of `old_size` (C2SP tlog-witness)."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note

    def __post_init__(self) -> None:
        _check_proof(self.proof)
        if not 0 <= self.old_size <= _MAX_INTEGER:
            raise VerificationFailed("the old size must be 0 or more and below 2**63")

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The body of a request."""
        head, blank, note = data.partition(b"\n\n")
        old, *lines = _utf8(head, "the request").split("\n")
        if not blank or not old.startswith("old "):
            raise VerificationFailed("a request begins with an old line and has an empty line before its checkpoint")
        size = _decimal(old.removeprefix("old "), "the old size")
        if len(lines) > MAX_PROOF_HASHES:
            raise VerificationFailed(f"a proof has at most {MAX_PROOF_HASHES} hashes, not {len(lines)}")
        return cls(size, tuple(_hash(line, "the proof") for line in lines), Note.parse(note))

    def to_bytes(self) -> bytes:
        """The body of a request."""
        lines = [f"old {self.old_size}", *map(_base64, self.proof)]
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.note.to_bytes()


def _cosigned(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _verify_signature(text: str, signature: Signature, key: VerifierKey) -> int | None:
    at, message, value = None, text.encode(), signature.value
    if key.algorithm is Algorithm.COSIGNATURE:
        at, value = int.from_bytes(value[:_TIME_SIZE], "big"), value[_TIME_SIZE:]
        if at > _MAX_INTEGER:
            raise VerificationFailed(f"the cosignature by {key.name} has a time that cannot be")
        message = _cosigned(text, at)
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(value, message)
    except (InvalidSignature, ValueError):  # ValueError: the public key is none
        raise VerificationFailed(f"the signature by {key.name} with the key {key.id.hex()} is not valid") from None
    return at


def _check_name(name: str) -> None:
    if not name or "+" in name or any(char.isspace() for char in name) or _CONTROL.search(name):
        raise VerificationFailed(f"{name!r} is no key name: it must be non-empty, without spaces and plus signs")


def _check_text(text: str) -> None:
    if _CONTROL.search(text):
        raise VerificationFailed("the text has a control character other than newline")


def _check_proof(hashes: tuple[bytes, ...]) -> None:
    if len(hashes) > MAX_PROOF_HASHES or any(len(each) != HASH_SIZE for each in hashes):
        raise VerificationFailed(f"a proof has at most {MAX_PROOF_HASHES} hashes, each of {HASH_SIZE} bytes")


def _fields(text: str, separator: str, count: int, otherwise: str) -> list[str]:
    fields = text.split(separator, count - 1)
    if len(fields) != count:
        raise VerificationFailed(otherwise)
    return fields


def _utf8(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise VerificationFailed(f"{what} is not UTF-8") from None


def _decimal(text: str, what: str) -> int:
    if _DECIMAL.fullmatch(text) is None or int(text) > _MAX_INTEGER:
        raise VerificationFailed(f"{what} must be a decimal below 2**63 without leading zeros")
    return int(text)


def _hash(line: str, what: str) -> bytes:
    decoded = _unbase64(line, what)
    if len(decoded) != HASH_SIZE:
        raise VerificationFailed(f"{what} has a hash that is not {HASH_SIZE} bytes long")
    return decoded


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _unbase64(text: str, what: str) -> bytes:
    """RFC 4648 §4 in the one way it can be written: with padding, no stray bits, nothing else."""
    try:
        decoded = b64decode(text, validate=True)
    except ValueError:
        decoded = b""
    if not decoded or _base64(decoded) != text:
        raise VerificationFailed(f"{what} has something that is not base64")
    return decoded
