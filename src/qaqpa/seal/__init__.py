"""Encryption to a recipient: of one message, or of a package into a file. Nothing is sent from here."""

from qaqpa.seal.keys import PackageKey, RecipientKey, require_valid
from qaqpa.seal.package import PackageWriter, package_key
from qaqpa.seal.seal import load_key, seal

__all__ = ["PackageKey", "PackageWriter", "RecipientKey", "load_key", "package_key", "require_valid", "seal"]
