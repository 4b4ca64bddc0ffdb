"""RFC 9162 §2.1 word for word, slow and plain: what proofs and tiles are compared with. Over leaf hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def largest_power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


class Definition:
    """MTH, PATH and PROOF of one list of leaf hashes; hashes of ranges are remembered."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.leaves = leaves
        self._known: dict[tuple[int, int], bytes] = {}

    def mth(self, low: int, high: int) -> bytes:
        if high == low:
            return sha()
        if high - low == 1:
            return self.leaves[low]
        if (low, high) not in self._known:
            middle = low + largest_power_below(high - low)
            self._known[low, high] = sha(b"\x01", self.mth(low, middle), self.mth(middle, high))
        return self._known[low, high]

    def root(self, size: int) -> bytes:
        return self.mth(0, size)

    def inclusion(self, index: int, size: int, low: int = 0) -> list[bytes]:
        if size == 1:
            return []
        k = largest_power_below(size)
        if index < k:
            return [*self.inclusion(index, k, low), self.mth(low + k, low + size)]
        return [*self.inclusion(index - k, size - k, low + k), self.mth(low, low + k)]

    def consistency(self, old: int, size: int, low: int = 0, *, whole: bool = True) -> list[bytes]:
        if old == size:
            return [] if whole else [self.mth(low, low + size)]
        k = largest_power_below(size)
        if old <= k:
            return [*self.consistency(old, k, low, whole=whole), self.mth(low + k, low + size)]
        return [*self.consistency(old - k, size - k, low + k, whole=False), self.mth(low, low + k)]


class Frontier:
    """The tree as the first released schema kept it: the roots of the complete subtrees, largest first."""

    def __init__(self) -> None:
        self.size = 0
        self.hashes: list[bytes] = []

    def to_bytes(self) -> bytes:
        return b"".join(self.hashes)

    def append(self, leaf: bytes) -> None:
        merging = self.size
        while merging & 1:
            leaf = sha(b"\x01", self.hashes.pop(), leaf)
            merging >>= 1
        self.hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        if not self.hashes:
            return sha()
        root = self.hashes[-1]
        for subtree in reversed(self.hashes[:-1]):
            root = sha(b"\x01", subtree, root)
        return root
