"""The Merkle tree of RFC 9162 §2.1 (and RFC 6962): hashes of leaves and nodes. How it grows stands in `tiles`."""

from __future__ import annotations

import hashlib

HASH_SIZE = 32


def leaf_hash(body: bytes) -> bytes:
    """SHA-256(0x00 || body)."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""
