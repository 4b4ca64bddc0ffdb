"""Verification of Merkle proofs against Certificate Transparency's vectors, the RFC's own recursion, and mutations."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from merkle_by_definition import Definition, sha

from qaqpa.errors import VerificationFailed
from qaqpa.tlog.merkle import EMPTY_ROOT, leaf_hash
from qaqpa.tlog.proofs import verify_consistency, verify_inclusion

# Certificate Transparency's reference tests (merkletree/merkle_tree_test): eight leaves, their roots and proofs.
CT = Definition([leaf_hash(bytes.fromhex(leaf)) for leaf in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)])  # fmt: skip
N = {name: bytes.fromhex(value) for name, value in {
    "0": "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "1": "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "01": "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "23": "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "0123": "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4": "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "45": "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "67": "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "4567": "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
}.items()}  # fmt: skip
ROOTS = {size: bytes.fromhex(root) for size, root in {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}.items()}  # fmt: skip
CT_INCLUSION = [(0, 1, ""), (0, 8, "1 23 4567"), (5, 8, "4 67 0123"), (2, 3, "01"), (1, 5, "0 23 4")]
CT_CONSISTENCY = [(1, 1, ""), (1, 8, "1 23 4567"), (6, 8, "45 67 0123"), (2, 5, "23 4")]

MOST = 300
TREE = Definition([sha(bytes([0]), str(number).encode()) for number in range(MOST)])


def named(nodes: str) -> list[bytes]:
    return [N[name] for name in nodes.split()]


def mutations(proof: list[bytes]) -> Iterator[list[bytes]]:
    """Every element dropped, doubled, changed by one bit and swapped with the next; one added at each end."""
    for at, element in enumerate(proof):
        yield proof[:at] + proof[at + 1 :]
        yield [*proof[:at], element, element, *proof[at + 1 :]]
        yield [*proof[:at], bytes([element[0] ^ 1]) + element[1:], *proof[at + 1 :]]
        yield [*proof[:at], element[:-1] + bytes([element[-1] ^ 0x80]), *proof[at + 1 :]]
        yield [*proof[:at], element[:-1], *proof[at + 1 :]]
        yield [*proof[:at], EMPTY_ROOT, *proof[at + 1 :]]
    for at, (one, other) in enumerate(pairwise(proof)):
        yield [*proof[:at], other, one, *proof[at + 2 :]]
    for added in (b"", EMPTY_ROOT):
        yield [*proof, added]
        yield [added, *proof]


@pytest.mark.parametrize(("index", "size", "nodes"), CT_INCLUSION)
def test_inclusion_vectors_of_certificate_transparency(index: int, size: int, nodes: str) -> None:
    assert CT.inclusion(index, size) == named(nodes), "the definition in these tests is wrong"
    verify_inclusion(index, size, CT.leaves[index], named(nodes), ROOTS[size])


@pytest.mark.parametrize(("old", "size", "nodes"), CT_CONSISTENCY)
def test_consistency_vectors_of_certificate_transparency(old: int, size: int, nodes: str) -> None:
    assert CT.consistency(old, size) == named(nodes), "the definition in these tests is wrong"
    verify_consistency(old, size, named(nodes), ROOTS[old], ROOTS[size])


def test_every_inclusion_proof_up_to_300_leaves_verifies() -> None:
    for size in range(1, MOST + 1):
        for index in range(size):
            verify_inclusion(index, size, TREE.leaves[index], TREE.inclusion(index, size), TREE.root(size))


def test_every_consistency_proof_up_to_300_leaves_verifies() -> None:
    for size in range(1, MOST + 1):
        for old in range(1, size + 1):
            verify_consistency(old, size, TREE.consistency(old, size), TREE.root(old), TREE.root(size))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 255, 256, 257])
def test_no_mutation_of_an_inclusion_proof_verifies(size: int) -> None:
    for index in {0, 1, size // 2, size - 2, size - 1} & set(range(size)):
        proof, leaf, root = TREE.inclusion(index, size), TREE.leaves[index], TREE.root(size)
        for wrong in mutations(proof):
            with pytest.raises(VerificationFailed):
                verify_inclusion(index, size, leaf, wrong, root)
        # A proof says nothing of the size beyond its length, but index, leaf and root are bound.
        for other in {0, 1, index - 1, index + 1, index ^ 2, size - 1, size} - {index}:
            with pytest.raises(VerificationFailed):
                verify_inclusion(other, size, leaf, proof, root)
        for wrong_leaf, wrong_root in ((root, EMPTY_ROOT), (EMPTY_ROOT, root), (leaf[:31], root), (leaf, b"")):
            with pytest.raises(VerificationFailed):
                verify_inclusion(index, size, wrong_leaf, proof, wrong_root)


@pytest.mark.parametrize("size", [2, 3, 7, 8, 9, 255, 256, 257])
def test_no_mutation_of_a_consistency_proof_verifies(size: int) -> None:
    for old in {1, 2, size // 2, size - 1} & set(range(1, size)):
        proof, old_root, root = TREE.consistency(old, size), TREE.root(old), TREE.root(size)
        for wrong in (*mutations(proof), []):
            with pytest.raises(VerificationFailed):
                verify_consistency(old, size, wrong, old_root, root)
        for other in {old - 1, old + 1, size, size + 1}:
            with pytest.raises(VerificationFailed):
                verify_consistency(other, size, proof, old_root, root)
        for first, second in ((root, old_root), (EMPTY_ROOT, root), (old_root, EMPTY_ROOT), (b"", root)):
            with pytest.raises(VerificationFailed):
                verify_consistency(old, size, proof, first, second)


@pytest.mark.parametrize(
    ("index", "size", "proof", "says"),
    [
        (1, 1, [], "index 1 is impossible in a tree of size 1"),
        (-1, 4, [], "index -1 is impossible"),
        (0, 0, [], "impossible in a tree of size 0"),
        (0, 2, [], "fewer hashes"),
        (0, 1, [EMPTY_ROOT], "more hashes"),
        (0, 2, [b"short"], "not 32 bytes"),
        (0, 2, [EMPTY_ROOT], "does not lead to the root of size 2"),
    ],
)
def test_an_inclusion_proof_that_fails_says_why(index: int, size: int, proof: list[bytes], says: str) -> None:
    with pytest.raises(VerificationFailed, match=says):
        verify_inclusion(index, size, TREE.leaves[0], proof, TREE.root(2))


@pytest.mark.parametrize(
    ("old", "size", "proof", "says"),
    [
        (0, 3, [], "empty tree proves nothing"),
        (4, 3, [], "shrunk: its size was 4 and is 3"),
        (3, 3, [], "roots of the same size 3 differ"),
        (3, 3, [EMPTY_ROOT], "more hashes"),
        (2, 3, [], "fewer hashes"),
        (2, 3, [EMPTY_ROOT, EMPTY_ROOT], "more hashes"),
        (2, 3, [b""], "not 32 bytes"),
        (2, 3, [EMPTY_ROOT], "new root, of size 3"),
        (3, 4, [EMPTY_ROOT] * 3, "old root, of size 3"),
    ],
)
def test_a_consistency_proof_that_fails_says_why(old: int, size: int, proof: list[bytes], says: str) -> None:
    with pytest.raises(VerificationFailed, match=says):
        verify_consistency(old, size, proof, TREE.root(2), TREE.root(4))


def test_random_hashes_never_verify() -> None:
    chance = random.Random(7)
    for _ in range(2_000):
        size = chance.randrange(1, 2**40)
        proof = [chance.randbytes(32) for _ in range(chance.randrange(45))]
        with pytest.raises(VerificationFailed):
            verify_inclusion(chance.randrange(size), size, chance.randbytes(32), proof, chance.randbytes(32))
        with pytest.raises(VerificationFailed):
            verify_consistency(chance.randrange(1, size + 1), size, proof, chance.randbytes(32), chance.randbytes(32))
