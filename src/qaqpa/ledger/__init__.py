"""The disclosure log: append-only entries, leaves of a Merkle tree. It is written before a byte leaves.

No leaf holds a personal value, a plain digest of one, or anything an IIN could be guessed from: who an entry
is about stands in its sealed part, under a key of that person's own.
"""

from qaqpa.ledger.ledger import Ledger, StillHolds

__all__ = ["Ledger", "StillHolds"]
