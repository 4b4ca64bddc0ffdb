"""The Merkle tree of RFC 9162 §2.1 (and RFC 6962): hashes of leaves and nodes, and a root that grows.

The tree is kept as its frontier: the roots of the largest complete subtrees from left to right, one for each bit
set in the size. Appending and taking the root cost O(log n); no entry is read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

HASH_SIZE = 32


def leaf_hash(body: bytes) -> bytes:
    """SHA-256(0x00 || body)."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""


class Frontier:
    """A growing tree. `size` leaves; `hashes` are the complete subtrees, largest first."""

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        if size < 0 or len(self.hashes) != size.bit_count() or any(len(each) != HASH_SIZE for each in self.hashes):
            raise ValueError("the frontier does not fit the tree's size")

    @classmethod
    def from_bytes(cls, size: int, packed: bytes) -> Frontier:
        """As `to_bytes` packed it."""
        return cls(size, (packed[at : at + HASH_SIZE] for at in range(0, len(packed), HASH_SIZE)))

    def to_bytes(self) -> bytes:
        """The hashes, one after the other."""
        return b"".join(self.hashes)

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash."""
        # Each trailing one bit of the size is a complete subtree that the new one completes further.
        merging = self.size
        while merging & 1:
            leaf = node_hash(self.hashes.pop(), leaf)
            merging >>= 1
        self.hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The Merkle tree hash of all leaves so far."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for subtree in reversed(self.hashes[:-1]):
            root = node_hash(subtree, root)
        return root
