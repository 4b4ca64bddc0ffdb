"""The consent registry (6.1, 7.1(3)): what was agreed to, until when, and whether it was withdrawn."""

from qaqpa.consent.registry import Consents, consents_of

__all__ = ["Consents", "consents_of"]
