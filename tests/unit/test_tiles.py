"""The tree as tiles against the RFC's recursion: at every size up to 300 and around every border of a tile."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from merkle_by_definition import Definition, Frontier, sha

from qaqpa.errors import VerificationFailed
from qaqpa.tlog.merkle import EMPTY_ROOT
from qaqpa.tlog.proofs import verify_consistency, verify_inclusion
from qaqpa.tlog.tiles import TILE, TileTree, entries_path, grow, tile_path, tiles_of

BORDER = 65_537 + 300
TREE = Definition([sha(str(number).encode()) for number in range(BORDER)])


class Shelf:
    """Tiles in a dict; counts what is read."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.reads: list[tuple[int, int]] = []

    def read(self, level: int, number: int) -> bytes:
        self.reads.append((level, number))
        return self.tiles.get((level, number), b"")


def shelf_of(sizes: Iterable[int]) -> Shelf:
    """Grown to one size after the other."""
    shelf, size = Shelf(), 0
    for target in sizes:
        grown = grow(shelf.read, size, TREE.leaves[size:target])
        shelf.tiles.update(grown.tiles)
        size = grown.size
        assert size == target
        assert grown.root == TREE.root(size)
    return shelf


@pytest.fixture(scope="module")
def large() -> Shelf:
    return shelf_of([BORDER])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (tile_path(0, 0), "tile/0/000"),
        (tile_path(0, 1234067), "tile/0/x001/x234/067"),
        (tile_path(1, 999, 5), "tile/1/999.p/5"),
        (tile_path(0, 1234, 5), "tile/0/x001/234.p/5"),
        (tile_path(63, 1000, 255), "tile/63/x001/000.p/255"),
        (tile_path(2, 1_000_000), "tile/2/x001/x000/000"),
        (entries_path(1234067), "tile/entries/x001/x234/067"),
        (entries_path(273, 112), "tile/entries/273.p/112"),
    ],
)
def test_paths_are_those_of_tlog_tiles(path: str, expected: str) -> None:
    assert path == expected


@pytest.mark.parametrize(("level", "number", "width"), [(64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_a_path_of_no_tile_is_an_error(level: int, number: int, width: int) -> None:
    with pytest.raises(ValueError, match="a tile's"):
        tile_path(level, number, width)


def test_the_tiles_of_a_tree_are_those_of_the_specifications_examples() -> None:
    # "273 full level 0 tiles, one partial level 0 tile of width 112, one full level 1 tile, ..."
    assert list(tiles_of(70_000)) == [
        *((0, number, 256) for number in range(273)), (0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1),
    ]  # fmt: skip
    assert list(tiles_of(256)) == [(0, 0, 256), (1, 0, 1)]
    assert list(tiles_of(0)) == []


def test_growing_leaf_by_leaf_gives_every_root_and_every_tile() -> None:
    shelf = shelf_of(range(1, 1_100))
    assert {(level, number): len(tile) // 32 for (level, number), tile in shelf.tiles.items()} == {
        (level, number): width for level, number, width in tiles_of(1_099)
    }
    assert shelf.tiles[1, 0] == b"".join(TREE.mth(at * 256, at * 256 + 256) for at in range(4))


@pytest.mark.parametrize("seed", range(4))
def test_growing_in_any_steps_gives_the_same_tiles(large: Shelf, seed: int) -> None:
    chance, sizes = random.Random(seed), [0]
    while sizes[-1] < BORDER:
        sizes.append(min(BORDER, sizes[-1] + chance.choice([1, 7, 255, 256, 257, 5_000, 65_000])))
    assert shelf_of(sizes).tiles == large.tiles


def test_growing_reads_the_right_edge_and_returns_what_changed(large: Shelf) -> None:
    shelf = Shelf()
    shelf.tiles = large.tiles
    grown = grow(shelf.read, 65_536 + 300, [TREE.leaves[65_836]])
    assert sorted(shelf.reads) == [(0, 257), (1, 1), (2, 0)]
    assert set(grown.tiles) == {(0, 257)}
    assert len(grown.tiles[0, 257]) == 45 * 32, "the wider tile on the shelf was cut to the size given"
    assert grown.root == TREE.root(65_837)


def test_growing_by_nothing_is_the_root_as_it_was(large: Shelf) -> None:
    assert grow(large.read, 70, []).root == TREE.root(70)
    assert grow(large.read, 70, []).tiles == {}
    assert grow(large.read, 0, []).root == EMPTY_ROOT


def test_the_root_is_the_frontiers() -> None:
    frontier = Frontier()
    for leaf in TREE.leaves[:777]:
        frontier.append(leaf)
    assert grow(Shelf().read, 0, TREE.leaves[:777]).root == frontier.root()


def test_every_root_and_proof_up_to_300_leaves_is_the_definitions(large: Shelf) -> None:
    tree = TileTree(large.read, 300)
    for size in range(1, 301):
        assert tree.root_at(size) == TREE.root(size)
        for index in range(size):
            assert tree.inclusion(index, size) == TREE.inclusion(index, size)
        for old in range(1, size + 1):
            assert tree.consistency(old, size) == TREE.consistency(old, size)


@pytest.mark.parametrize("size", [255, 256, 257, 511, 512, 513, 65_279, 65_280, 65_535, 65_536, 65_537, BORDER])
def test_proofs_around_the_borders_of_tiles(large: Shelf, size: int) -> None:
    chance = random.Random(size)
    trees = TileTree(large.read, size), TileTree(large.read, BORDER)
    near = {0, 1, 254, 255, 256, 257, 65_279, 65_280, 65_535, 65_536, size - 2, size - 1}
    for tree in trees:
        root = tree.root_at(size)
        assert root == TREE.root(size)
        for index in sorted((near | {chance.randrange(size) for _ in range(60)}) & set(range(size))):
            proof = tree.inclusion(index, size)
            assert proof == TREE.inclusion(index, size)
            verify_inclusion(index, size, TREE.leaves[index], proof, root)
            proof = tree.consistency(index + 1, size)
            assert proof == TREE.consistency(index + 1, size)
            verify_consistency(index + 1, size, proof, TREE.root(index + 1), root)


def test_the_default_size_is_the_whole_tree(large: Shelf) -> None:
    tree = TileTree(large.read, 1_000)
    assert tree.root() == tree.root_at(1_000)
    assert tree.inclusion(5) == tree.inclusion(5, 1_000)
    assert tree.consistency(5) == tree.consistency(5, 1_000)
    assert TileTree(large.read, 0).root() == EMPTY_ROOT


def test_a_proof_reads_a_handful_of_tiles_and_none_twice(large: Shelf) -> None:
    shelf = Shelf()
    shelf.tiles = large.tiles
    tree = TileTree(shelf.read, BORDER)
    tree.inclusion(12_345)
    assert len(shelf.reads) == len(set(shelf.reads)) <= 6
    tree.inclusion(12_346)
    tree.consistency(12_300)
    assert len(shelf.reads) == len(set(shelf.reads)) <= 6


def test_what_the_tree_never_was_is_an_error(large: Shelf) -> None:
    tree = TileTree(large.read, 10)
    for wrong in (
        lambda: tree.root_at(11), lambda: tree.root_at(-1), lambda: tree.inclusion(10), lambda: tree.inclusion(-1),
        lambda: tree.inclusion(3, 3), lambda: tree.inclusion(0, 0), lambda: tree.inclusion(0, 11),
        lambda: tree.consistency(0), lambda: tree.consistency(11), lambda: tree.consistency(5, 4),
        lambda: TileTree(large.read, -1), lambda: grow(large.read, -1, []), lambda: grow(large.read, 0, [b"short"]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="size"):
            wrong()


@pytest.mark.parametrize(
    ("tile", "says"),
    [
        (b"", r"tile/0/001.p/44 is wanted, and only 0 hashes are there"),
        (bytes(43 * 32), r"tile/0/001.p/44 is wanted, and only 43 hashes"),
        (bytes(44 * 32 + 1), r"tile/0/001 has 1409 bytes"),
        (bytes(257 * 32), r"tile/0/001 has 8224 bytes"),
    ],
)
def test_a_damaged_tile_is_named(large: Shelf, tile: bytes, says: str) -> None:
    shelf = Shelf()
    shelf.tiles = {**large.tiles, (0, 1): tile}
    with pytest.raises(VerificationFailed, match=says):
        TileTree(shelf.read, 300).inclusion(299)
    with pytest.raises(VerificationFailed, match=says):
        grow(shelf.read, 300, [EMPTY_ROOT])


def test_a_changed_tile_gives_proofs_that_do_not_verify(large: Shelf) -> None:
    shelf = Shelf()
    shelf.tiles = {**large.tiles, (0, 0): large.tiles[0, 0][:-1] + b"\0"}
    with pytest.raises(VerificationFailed):
        verify_inclusion(7, 300, TREE.leaves[7], TileTree(shelf.read, 300).inclusion(7), TREE.root(300))


def test_a_tree_forgets_tiles_rather_than_keep_all(large: Shelf) -> None:
    tree = TileTree(large.read, BORDER)
    for number in range(BORDER // TILE):
        tree.inclusion(number * TILE)
    assert len(tree._tiles) <= 256
    assert tree.inclusion(0) == TREE.inclusion(0, BORDER)
