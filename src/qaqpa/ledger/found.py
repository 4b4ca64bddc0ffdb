"""Whether a search leads to just the entries that say it: their index, held against them block by block."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from qaqpa.errors import VerificationFailed
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.integrate import BLOCK, indexed
from qaqpa.ledger.story import Entry
from qaqpa.store import Connection

_TERMS = "SELECT block, ? || term FROM terms"
_REQUESTS = "SELECT count(DISTINCT term) FROM terms WHERE term >= 'request:' AND term < 'request;'"
_ONE = "SELECT 1 FROM terms WHERE term = ? LIMIT 1"
_REPEATED = (
    "SELECT min(later) FROM "
    "(SELECT max(idx) AS later FROM entries GROUP BY request, kind HAVING count(*) > 1) AS repeated"
)


class Found:
    """Sums, for each block, the hashes of the terms that its entries make.

    The hash is Python's own, SipHash, which is quick, over a secret of this one run and the term: nobody can choose
    rows that have the same sum (Bellare and Micciancio 1997, AdHash; the secret makes its addends unpredictable).
    """

    def __init__(self, in_tree: int) -> None:
        self._end = indexed(in_tree)
        self.secret = secrets.token_hex(16)
        kind, request, subject, caller, recipient = (
            f"{self.secret}{name}:" for name in ("kind", "request", "subject", "caller", "recipient")
        )
        self._prefixes = ((3, request), (4, subject), (6, caller), (7, recipient))
        self._kind = kind
        self._sums: dict[int, int] = {}
        self._block = 0
        self._terms: set[str] = set()
        self._requests = 0
        self._late: list[str] = []
        """Of what stands after the last full block, which is searched as it is."""

    def see(self, entries: Sequence[Entry]) -> None:
        """The next entries, in their order."""
        if entries and entries[-1][0] >= self._end:
            self._late += [each[3] for each in entries if each[0] >= self._end and each[2] != Kind.OUTCOME]
        at = 0
        while at < len(entries) and entries[at][0] < self._end:
            block = entries[at][0] // BLOCK
            if block != self._block:
                self._close(block)
            few = entries[at : at + (block + 1) * BLOCK - entries[at][0]]
            columns = list(zip(*few, strict=True))
            for column, prefix in self._prefixes:
                self._terms.update(map(prefix.__add__, set(columns[column]) - {None}))
            kinds = columns[2]
            self._terms.update(self._kind + kind for kind in set(kinds))
            # An outcome has its intent's request, and every other entry one of its own.
            self._requests += len(few) - kinds.count(Kind.OUTCOME)
            at += len(few)

    def _close(self, following: int) -> None:
        self._sums[self._block] = sum(map(hash, self._terms))
        self._terms.clear()
        self._block = following

    def compare(self, connection: Connection, catalogue: Mapping[int, int]) -> None:
        """Hold the index against what was seen, and the `catalogue` made of it: such sums of its terms.

        Raises VerificationFailed with the first block that differs.
        """
        if self._terms:
            self._close(-1)
        for block, said in catalogue.items():
            self._sums[block] = self._sums.get(block, 0) + said
        rows: dict[int, int] = {}
        for block, term in connection.stream(_TERMS, (self.secret,)):
            rows[block] = rows.get(block, 0) + hash(term)
        for block in sorted(rows.keys() | self._sums.keys()):
            if rows.get(block) != self._sums.get(block):
                first, last = block * BLOCK, (block + 1) * BLOCK - 1
                raise VerificationFailed(
                    "the index by which entries are found was changed: it does not say what the entries "
                    f"{first} to {last} say",
                    index=first,
                )
        late = set(self._late)
        if (
            connection.execute(_REQUESTS).scalar() != self._requests
            or len(late) != len(self._late)
            or any(connection.execute(_ONE, (f"request:{each}",)).first() for each in late)
        ):
            index = connection.execute(_REPEATED).scalar()
            raise VerificationFailed(f"entry {index} repeats an earlier one", index=index)
