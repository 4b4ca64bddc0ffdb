"""Encryption of an extract to its recipient. Pure: keys come in, bytes go out; nothing is sent from here."""

from qaqpa.seal.seal import RecipientKey, load_key, seal

__all__ = ["RecipientKey", "load_key", "seal"]
