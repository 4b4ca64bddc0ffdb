"""The one function that makes a `Sealed`, and only from an `Intent`: so nothing goes out that the ledger lacks.

Each format has a module of its own, read when a configuration asks for it: a command that seals nothing does not wait.
"""

from __future__ import annotations

from datetime import datetime

from qaqpa.config.seals import AgeSeal, CmsSeal, JweSeal, SealConfig, TlsOnlySeal
from qaqpa.model.disclosure import Intent, Sealed
from qaqpa.model.words import SealKind
from qaqpa.seal.keys import RecipientKey

# ruff: noqa: PLC0415 - formats load late, as told above


def load_key(config: SealConfig, path: str, now: datetime) -> RecipientKey | None:
    """The public key in the file at `path`, in force at `now`; None for `tls_only`.

    Raises NotConfigured with what is wrong and what to do.
    """
    if isinstance(config, TlsOnlySeal):
        return None
    if isinstance(config, JweSeal):
        from qaqpa.seal.jwe import load_jwe

        return load_jwe(config, path)
    if isinstance(config, AgeSeal):
        from qaqpa.seal.age import load_age

        return load_age(path)
    if isinstance(config, CmsSeal):
        from qaqpa.seal.cms import load_cms

        return load_cms(config, path, now)
    from qaqpa.seal.openpgp import load_openpgp

    return load_openpgp(config, path, now)


def seal(intent: Intent, key: RecipientKey | None, *, idempotent: bool) -> Sealed:
    """Encrypt the intent's message to `key`, or leave it to TLS where the configuration says so (`key` is None)."""
    message = intent.message
    kind, body, content_type = SealKind.TLS_ONLY, message.body, message.content_type
    if key is not None:
        kind, body, content_type = key.kind, key.encrypt(message.body, message.content_type), key.media_type
    return Sealed(intent, kind, body, content_type, message.headers, idempotent=idempotent)
