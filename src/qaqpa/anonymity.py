"""k-anonymity of rows that are to be nobody's: how alike they are, and what is made coarser or left out until they are.

Two passes over the rows: the first counts classes (rows that share all quasi-identifiers), from the counts alone it
follows what becomes of each class, the second looks that up. Memory follows the classes, which have a bound, and never
the rows. Pure; it reads no file and knows no person.

    counted = Anonymiser(route.fields, route.quasi, route.k, context)
    for row in rows: counted.count(row)
    settled = counted.settle()
    for row in rows: values = settled.values(row)    # None: the row is left out
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from qaqpa.config.recipients import FieldRule
from qaqpa.minimise import TRANSFORMS, Context
from qaqpa.model.disclosure import Json
from qaqpa.model.vocabulary import FieldPath

Values = tuple[Json, ...]
"""The quasi-identifiers of a row as they would leave, in the order of the route; None where one is absent."""

COUNTRY = "Казахстан"
"""Every region's region."""
_RANGE = re.compile(r"(-?\d+)-(-?\d+)")
_DOUBLINGS = {"bucket": 4, "age_band": 2}
_SPANS = (5, 10)
"""Of years, in turn."""
MOST_CLASSES = 100_000
"""Beyond, everything is made one step coarser: each takes some 500 bytes while it is settled."""


@dataclass(frozen=True, slots=True)
class Measured:
    """How alike rows are."""

    rows: int
    k: int
    """Size of the smallest class; 0 without rows."""
    sizes: Mapping[int, int]
    """How many classes have each size."""


def measure(rows: Iterable[Values]) -> Measured:
    """k-anonymity of rows by their quasi-identifiers (Sweeney 2002): each shares them with k - 1 others at least."""
    return _measured(Counter(rows))


def _measured(classes: Mapping[Values, int]) -> Measured:
    sizes = Counter(classes.values())
    return Measured(sum(size * many for size, many in sizes.items()), min(sizes, default=0), sizes)


# --- making coarser --------------------------------------------------------------------------------


def _wider(value: Json, width: int) -> Json:
    """A range of whole numbers as the one of `width` that holds it; `width` is a multiple of what it has."""
    found = _RANGE.fullmatch(value)
    if found is None:
        return value
    low = int(found[1]) // width * width
    return f"{low}-{low + width - 1}"


def _span(value: Json, years: int) -> Json:
    """A year, or a span of years, as the longer span that holds it."""
    first = int(value[:4]) // years * years
    return f"{first}-{first + years - 1}"


def _country(_value: Json) -> Json:
    return COUNTRY


Step = Callable[[Json], Json]


def _ladder(rule: FieldRule) -> tuple[Step, ...]:
    """How a field is made coarser, step by step, from the form in which the route passes it; empty: not at all.

    A step makes the same of a value and of any finer form of it: each width and span divides the next.
    """
    if rule.transform in _DOUBLINGS and rule.size is not None:
        widths = [rule.size * 2**step for step in range(1, _DOUBLINGS[rule.transform] + 1)]
        return tuple(partial(_wider, width=width) for width in widths)
    if rule.transform == "year_of":
        return tuple(partial(_span, years=years) for years in _SPANS)
    if rule.transform == "region_of":
        return (_country,)
    return ()


class _Steps:
    """All steps of a route's quasi-identifiers: each makes one field coarser, in their order, round after round."""

    def __init__(self, ladders: Sequence[tuple[Step, ...]]) -> None:
        longest = max(map(len, ladders), default=0)
        self._taken = [
            (column, ladder[rung])
            for rung in range(longest)
            for column, ladder in enumerate(ladders)
            if len(ladder) > rung
        ]
        self._made: list[dict[Json, Json]] = [{None: None} for _ in self._taken]

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, number: int, values: Values) -> Values:
        """`values` after step `number`, from 1, which makes one of them coarser; the steps before it are taken."""
        column, step = self._taken[number - 1]
        value, made = values[column], self._made[number - 1]
        coarser = made.get(value)
        if coarser is None and value is not None:
            coarser = made[value] = step(value)
        return values if coarser == value else (*values[:column], coarser, *values[column + 1 :])

    def up_to(self, number: int, values: Values) -> Values:
        """`values`, as the route passes them, after so many steps."""
        for each in range(1, number + 1):
            values = self.take(each, values)
        return values


# --- counting and settling -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figures:
    """What it took, for the report of a handover."""

    rows: int
    k_wanted: int
    steps_for_all: int
    """Steps that were taken for every row, because there were more classes than are counted."""
    k_before: int
    """Of the rows as the route passes them, those steps taken."""
    k_after: int
    """Of what leaves; 0 where nothing does."""
    classes_before: int
    classes_after: int
    generalised: int
    """Rows that leave coarser than the route passes them."""
    suppressed: int
    """Rows that are left out: no step made them alike enough."""


class Settled:
    """What becomes of each class."""

    def __init__(
        self, of: Callable[[Mapping[str, Json]], Values], becomes: Callable[[Values], Values | None], figures: Figures
    ) -> None:
        self._of, self._becomes = of, becomes
        self.figures = figures

    def values(self, row: Mapping[str, Json]) -> Values | None:
        """The quasi-identifiers as they leave, in the route's order; None where the row is left out.

        Raises KeyError for a row that was not counted.
        """
        return self._becomes(self._of(row))


class Anonymiser:
    """Counts the rows of one handover and settles what must be coarser. Not safe for several threads."""

    def __init__(
        self, rules: Mapping[FieldPath, FieldRule], quasi: Sequence[FieldPath], k: int, context: Context
    ) -> None:
        """`rules` are a route's fields, `quasi` those that may point at one person, `k` of 2 or more."""
        if k < 2 or not quasi:
            raise ValueError("rows are alike in something, and 2 at least")
        self._k = k
        self._columns = [
            (path, None if rule.transform is None else TRANSFORMS[rule.transform][0], rule.size or 0)
            for path, rule in ((path, rules[path]) for path in quasi)
        ]
        self._context = context
        self._steps = _Steps([_ladder(rules[path]) for path in quasi])
        self._known: list[dict[Json, Json]] = [{} for _ in quasi]
        self._classes: Counter[Values] = Counter()
        self._floor = 0

    def of(self, row: Mapping[str, Json]) -> Values:
        """The quasi-identifiers of a flat row (`{path: value}`) as the route would pass them."""
        found = []
        for path, transform, size in self._columns:
            value = row.get(path)
            if value is not None and transform is not None:
                value = transform(value, size, self._context)
            found.append(value)
        return tuple(found)

    def count(self, row: Mapping[str, Json]) -> None:
        """The first pass, row by row."""
        values = self.of(row)
        shared = tuple([known.setdefault(value, value) for known, value in zip(self._known, values, strict=True)])
        self._classes[self._steps.up_to(self._floor, shared)] += 1
        if len(self._classes) > MOST_CLASSES and self._floor < len(self._steps):
            self._raise_floor()

    def _raise_floor(self) -> None:
        """One step coarser for everybody: what was counted finer is counted together."""
        self._floor += 1
        coarser: Counter[Values] = Counter()
        for values, size in self._classes.items():
            coarser[self._steps.take(self._floor, values)] += size
        self._classes = coarser

    def settle(self) -> Settled:
        """After the first pass: classes that are too small are made coarser together, step by step; what is too small
        at the last step is left out.
        """
        settled: dict[Values, Values | None] = {}
        after: Counter[Values] = Counter()
        rest = {values: values for values in self._classes}
        generalised = 0
        for number in range(self._floor, len(self._steps) + 1):
            if number > self._floor:
                rest = {values: self._steps.take(number, form) for values, form in rest.items()}
            sizes: Counter[Values] = Counter()
            for values, form in rest.items():
                sizes[form] += self._classes[values]
            too_few: dict[Values, Values] = {}
            for values, form in rest.items():
                if sizes[form] >= self._k:
                    settled[values] = form
                    size = self._classes[values]
                    after[form] += size
                    generalised += size if self._floor or form != values else 0
                else:
                    too_few[values] = form
            rest = too_few
        settled.update(dict.fromkeys(rest))
        before, left = _measured(self._classes), _measured(after)
        figures = Figures(
            rows=before.rows,
            k_wanted=self._k,
            steps_for_all=self._floor,
            k_before=before.k,
            k_after=left.k,
            classes_before=len(self._classes),
            classes_after=len(after),
            generalised=generalised,
            suppressed=sum(self._classes[values] for values in rest),
        )
        floor, steps_of = self._floor, self._steps
        return Settled(self.of, lambda values: settled[steps_of.up_to(floor, values)], figures)
