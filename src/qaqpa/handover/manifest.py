"""The manifest of a package (or of a notice of recall): what is in it, on what ground, and the operator's signature.

It stands in the package as `manifest.json`, and beside it `manifest.sig`, a C2SP signed note over its digest by the key
that signs the ledger's checkpoints. The note's first line names packages, so that it can never pass for a checkpoint.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from qaqpa.errors import VerificationFailed
from qaqpa.model.disclosure import Json
from qaqpa.model.identifiers import HandoverId
from qaqpa.tlog.notes import Algorithm, Note, Signer, VerifierKey, sign

FORMAT = 1
NAME, SIGNATURE = "manifest.json", "manifest.sig"


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the package."""

    file: str
    bytes: int
    sha256: str
    about: Mapping[str, Json] = field(default_factory=dict)
    """What else is said of it: rows of a register, kind and type of a document."""

    def plain(self) -> dict[str, Json]:
        """As it stands in the manifest."""
        return {"file": self.file, "bytes": self.bytes, "sha256": self.sha256, **self.about}


def packages_key(origin: str, public: bytes) -> VerifierKey:
    """What manifests of this operator's packages are checked with; give it to recipients."""
    return VerifierKey(f"{origin}/packages", Algorithm.ED25519, public)


def manifest(head: Mapping[str, Json], register: Member, others: Sequence[Member], checkpoint: bytes) -> bytes:
    """The manifest: `head` says who hands over to whom, for what and on what ground; `checkpoint` is the ledger's,
    over every row of the package.
    """
    document = {
        "format": FORMAT,
        **head,
        "register": register.plain(),
        "others": [each.plain() for each in others],
        "checkpoint": checkpoint.decode(),
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


def _text(handover: HandoverId, content: bytes, key: VerifierKey) -> str:
    return f"{key.name}\n{handover}\n{b64encode(hashlib.sha256(content).digest()).decode()}\n"


def signature(handover: HandoverId, content: bytes, key: VerifierKey, signer: Signer) -> bytes:
    """The signed note over a manifest."""
    text = _text(handover, content, key)
    return Note(text, (sign(text, key, signer),)).to_bytes()


def verified(content: bytes, note: bytes, key: VerifierKey) -> dict[str, Any]:
    """The manifest, its signature checked. Raises VerificationFailed."""
    try:
        document: dict[str, Any] = orjson.loads(content)
        handover = HandoverId(str(document["notice"] if "notice" in document else document["handover"]))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise VerificationFailed("this is no manifest of a package") from None
    signed = Note.parse(note)
    signed.verify(key)
    if signed.text != _text(handover, content, key):
        raise VerificationFailed("the signature is over another manifest: the package was changed")
    return document
