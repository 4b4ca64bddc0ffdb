"""Whether a person stands in a register twice, in memory that a million rows do not burst."""

from __future__ import annotations

import os
from array import array
from hashlib import blake2b

from qaqpa.model.words import Language
from qaqpa.tables.layout import Row
from qaqpa.tables.problems import Problem, problem

_FIRST_SIZE = 2**12
_FULL = 0.6
"""Part of the slots beyond which looking for a free one gets slow."""


class Duplicates:
    """Keys seen so far, as eight bytes of a keyed digest and the number of their row: no key itself is kept.

    Twelve bytes a slot: 24 MiB at a million rows, and 36 MiB for the moment in which it grows to that. Two different
    keys of a million share their eight bytes once in 37 million registers; the later row is then told of a duplicate
    that is none, and stays behind.
    """

    def __init__(self, paths: tuple[str, ...] = ("identity.iin",), *, language: Language = "ru") -> None:
        """`paths` make the key: with `contract.number` beside the IIN, a person may stand once for each contract."""
        self._paths = paths
        self._language: Language = language
        self._key = os.urandom(32)
        self._count = 0
        self._make(_FIRST_SIZE)

    def _make(self, size: int) -> None:
        self._mask = size - 1
        self._digests = array("Q", [0]) * size
        self._rows = array("I", [0]) * size

    def __len__(self) -> int:
        return self._count

    def seen(self, row: Row) -> int | None:
        """The number of the earlier row with this one's key; None, and remembered, if there is none.

        A row that lacks a part of the key is never a duplicate.
        """
        values = row.values
        try:
            key = "\x1f".join([str(values[path]) for path in self._paths])
        except KeyError:
            return None
        digest = int.from_bytes(blake2b(key.encode(), digest_size=8, key=self._key).digest(), "big")
        at = self._slot(digest)
        if self._rows[at]:
            return self._rows[at]
        self._digests[at], self._rows[at] = digest, row.number
        self._count += 1
        if self._count > _FULL * (self._mask + 1):
            self._grow()
        return None

    def problem(self, row: Row) -> Problem | None:
        """The problem of `row`, naming the earlier one; None, and remembered, if it is the first."""
        earlier = self.seen(row)
        return None if earlier is None else problem("", "duplicate_subject", self._language, row=earlier)

    def _slot(self, digest: int) -> int:
        """Where `digest` stands, or would. Row numbers begin at 1, so row 0 is a free slot."""
        digests, rows, mask = self._digests, self._rows, self._mask
        at = digest & mask
        while rows[at] and digests[at] != digest:
            at = at + 1 & mask
        return at

    def _grow(self) -> None:
        digests, rows = self._digests, self._rows
        self._make(2 * len(rows))
        for digest, row in zip(digests, rows, strict=True):
            if row:
                at = self._slot(digest)
                self._digests[at], self._rows[at] = digest, row
