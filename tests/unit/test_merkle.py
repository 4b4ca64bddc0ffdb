"""The Merkle tree against the recursive definition of RFC 9162 §2.1.1 and the vectors of Certificate Transparency."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qaqpa.ledger.merkle import EMPTY_ROOT, HASH_SIZE, Frontier, leaf_hash, node_hash

unhurried = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)


def mth(entries: list[bytes]) -> bytes:
    """RFC 9162 §2.1.1, word for word: k is the largest power of two smaller than n."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def grown(entries: list[bytes]) -> Frontier:
    tree = Frontier()
    for entry in entries:
        tree.append(leaf_hash(entry))
    return tree


# The inputs and roots of Certificate Transparency's reference tests (merkletree/merkle_tree_test).
CT_LEAVES = [bytes.fromhex(leaf) for leaf in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
CT_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize(("size", "root"), CT_ROOTS.items())
def test_the_vectors_of_certificate_transparency(size: int, root: str) -> None:
    assert mth(CT_LEAVES[:size]).hex() == root, "the definition in this test is wrong"
    assert grown(CT_LEAVES[:size]).root().hex() == root


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert Frontier().root() == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_every_size_up_to_300_has_the_root_of_the_definition() -> None:
    tree, entries = Frontier(), []
    for number in range(301):
        assert tree.size == number
        assert tree.root() == mth(entries)
        assert Frontier.from_bytes(number, tree.to_bytes()).root() == tree.root()
        assert len(tree.hashes) == number.bit_count()
        entries.append(b"entry %d" % number)
        tree.append(leaf_hash(entries[-1]))


@unhurried
@given(st.lists(st.binary(max_size=20), max_size=70))
def test_any_entries_have_the_root_of_the_definition(entries: list[bytes]) -> None:
    assert grown(entries).root() == mth(entries)


@unhurried
@given(st.lists(st.binary(max_size=4), max_size=40), st.lists(st.binary(max_size=4), max_size=40))
def test_a_tree_that_was_put_away_grows_on_as_if_it_had_not_been(before: list[bytes], after: list[bytes]) -> None:
    stored = grown(before)
    tree = Frontier.from_bytes(stored.size, stored.to_bytes())
    for entry in after:
        tree.append(leaf_hash(entry))
    assert tree.size == len(before) + len(after)
    assert tree.root() == mth(before + after)
    assert tree.to_bytes() == grown(before + after).to_bytes()


@unhurried
@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
def test_changing_one_entry_changes_the_root(entries: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entries) - 1))
    changed = [*entries[:at], entries[at] + b"!", *entries[at + 1 :]]
    assert grown(changed).root() != grown(entries).root()


def test_a_leaf_is_never_a_node() -> None:
    left, right = leaf_hash(b"l"), leaf_hash(b"r")
    assert leaf_hash(left + right) != node_hash(left, right)
    assert node_hash(left, right) != node_hash(right, left)


def test_taking_the_root_does_not_change_the_tree() -> None:
    tree = grown(CT_LEAVES[:7])
    packed = tree.to_bytes()
    assert tree.root() == tree.root()
    assert tree.to_bytes() == packed


HASH = bytes(HASH_SIZE)
MISFITS: dict[str, tuple[int, bytes]] = {
    "no hash for one leaf": (1, b""),
    "a hash for no leaf": (0, HASH),
    "two hashes for a complete tree of two": (2, HASH * 2),
    "one hash for three leaves": (3, HASH),
    "a hash too many": (3, HASH * 3),
    "the last hash cut": (3, (HASH * 2)[:-1]),
    "a byte too many": (3, HASH * 2 + b"\0"),
    "a negative size with as many hashes as its bits": (-1, HASH),
    "a negative size": (-3, HASH * 2),
}


@pytest.mark.parametrize(("size", "packed"), MISFITS.values(), ids=MISFITS.keys())
def test_a_frontier_that_does_not_fit_its_size_is_refused(size: int, packed: bytes) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Frontier.from_bytes(size, packed)


def test_hashes_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Frontier(1, [b"short"])
