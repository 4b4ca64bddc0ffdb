"""Verification of Merkle proofs: RFC 9162 §2.1.3.2 (inclusion) and §2.1.4.2 (consistency). Needs hashes, no tree."""

from __future__ import annotations

from collections.abc import Sequence

from qaqpa.errors import VerificationFailed
from qaqpa.tlog.merkle import HASH_SIZE, node_hash


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """The leaf hash `leaf` stands at `index` in the tree of `size` leaves with `root`. Raises VerificationFailed."""
    if not 0 <= index < size:
        raise VerificationFailed(f"an inclusion proof for index {index} is impossible in a tree of size {size}")
    _check_hashes("inclusion", leaf, root, *proof)
    here, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise _too_long("inclusion")
        if here & 1 or here == last:
            computed = node_hash(sibling, computed)
            here, last = _skip_levels_without_sibling(here, last)
        else:
            computed = node_hash(computed, sibling)
        here, last = here >> 1, last >> 1
    if last:
        raise _too_short("inclusion")
    if computed != root:
        raise VerificationFailed(f"the inclusion proof for index {index} does not lead to the root of size {size}")


def verify_consistency(old_size: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> None:
    """The tree of `size` with `root` extends the tree of `old_size` with `old_root`. Raises VerificationFailed."""
    if old_size < 1:
        raise VerificationFailed(
            "a consistency proof from an empty tree proves nothing: the old size must be 1 or more"
        )
    if old_size > size:
        raise VerificationFailed(f"the tree has shrunk: its size was {old_size} and is {size}")
    _check_hashes("consistency", old_root, root, *proof)
    if old_size == size:
        if proof:
            raise _too_long("consistency")
        if old_root != root:
            raise VerificationFailed(f"two roots of the same size {size} differ: the log was forked")
        return
    if not proof:
        raise _too_short("consistency")
    # A complete old tree is a node of the new one, so its root is where the path starts and is not sent.
    path = [old_root, *proof] if old_size.bit_count() == 1 else proof
    here, last = old_size - 1, size - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    old_computed = computed = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise _too_long("consistency")
        if here & 1 or here == last:
            old_computed, computed = node_hash(sibling, old_computed), node_hash(sibling, computed)
            here, last = _skip_levels_without_sibling(here, last)
        else:
            computed = node_hash(computed, sibling)
        here, last = here >> 1, last >> 1
    if last:
        raise _too_short("consistency")
    if old_computed != old_root:
        raise VerificationFailed(f"the consistency proof does not lead to the old root, of size {old_size}")
    if computed != root:
        raise VerificationFailed(f"the consistency proof does not lead to the new root, of size {size}")


def _skip_levels_without_sibling(here: int, last: int) -> tuple[int, int]:
    """On the right edge a node rises unchanged until it is a right child."""
    while here and not here & 1:
        here, last = here >> 1, last >> 1
    return here, last


def _check_hashes(kind: str, *hashes: bytes) -> None:
    if any(len(each) != HASH_SIZE for each in hashes):
        raise VerificationFailed(f"the {kind} proof has a hash that is not {HASH_SIZE} bytes long")


def _too_long(kind: str) -> VerificationFailed:
    return VerificationFailed(f"the {kind} proof has more hashes than the sizes call for")


def _too_short(kind: str) -> VerificationFailed:
    return VerificationFailed(f"the {kind} proof has fewer hashes than the sizes call for")
