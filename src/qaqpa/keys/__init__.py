"""The keys of one ledger by epochs: in a file that a passphrase encrypts, or in an HSM."""

from qaqpa.keys.keyring import Keyring

__all__ = ["Keyring"]
