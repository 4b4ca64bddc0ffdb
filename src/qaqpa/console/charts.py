"""Pictures as shapes: columns by day and a flow from left to right (Sankey).

Templates draw them as SVG without a style of its own, and beneath it a table of the same numbers for whoever reads
rather than looks; every shape and every number is a link to the list behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

WIDTH = 960.0
_HEIGHT = 240.0
_LEFT, _BOTTOM, _TOP = 56.0, 22.0, 8.0
_COLOURS = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    title: str
    href: str


@dataclass(frozen=True, slots=True)
class Label:
    """A text at a place."""

    x: float
    y: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a chart's table: what it is about, and its numbers with the lists behind them; none where nought."""

    names: tuple[str, ...]
    numbers: tuple[tuple[str, str] | None, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """Stacked columns."""

    width: float
    height: float
    base: float
    left: float
    bars: tuple[Bar, ...]
    days: tuple[Label, ...]
    ticks: tuple[Label, ...]
    series: tuple[tuple[str, int], ...]
    """Names and colours."""
    rows: tuple[Row, ...]
    """By day, the latest first; a number for each of the series."""


def colour_of(number: int) -> int:
    """The colour of a series."""
    return number % _COLOURS


def _round_up(value: int) -> int:
    """A number that is easily read, not below `value`."""
    step = int("1" + "0" * (len(str(max(value, 1))) - 1))
    return next(step * each for each in (1, 2, 5, 10) if step * each >= value)


def columns(
    days: Sequence[str],
    series: Sequence[str],
    counts: Mapping[tuple[str, str], int],
    *,
    day_text: Callable[[str], str],
    number_text: Callable[[int], str],
    name_of: Callable[[str], str],
    href: Callable[[str, str], str],
    colours: Mapping[str, int] | None = None,
) -> Columns:
    """Columns of `counts` by day and series, stacked in the order of `series`; `colours` where they mean something."""
    colour = colours or {each: colour_of(number) for number, each in enumerate(series)}
    top = _round_up(max((sum(counts.get((day, each), 0) for each in series) for day in days), default=1) or 1)
    room, step = _HEIGHT - _TOP - _BOTTOM, (WIDTH - _LEFT) / max(1, len(days))
    base = _TOP + room
    bars, names = [], [name_of(each) for each in series]
    for at, day in enumerate(days):
        y, said = base, day_text(day)
        for number, each in enumerate(series):
            count = counts.get((day, each), 0)
            if not count:
                continue
            height = max(1.0, room * count / top)
            y -= height
            title = f"{said}: {names[number]} {number_text(count)}"
            x = _LEFT + at * step + step * 0.12
            bars.append(Bar(x, y, max(1.0, step * 0.76), height, colour[each], title, href(day, each)))
    every = max(1, -(-len(days) // 10))
    labels = [
        Label(_LEFT + (at + 0.5) * step, _HEIGHT - 6, day_text(day)) for at, day in enumerate(days) if at % every == 0
    ]
    ticks = [Label(_LEFT - 6, base - room * part, number_text(round(top * part)), "end") for part in (0, 0.5, 1)]

    def told(day: str, each: str) -> tuple[str, str] | None:
        count = counts.get((day, each))
        return (number_text(count), href(day, each)) if count else None

    rows = [Row((day_text(day),), tuple([told(day, each) for each in series])) for day in reversed(days)]
    shown = [row for row in rows if any(row.numbers)]
    named = tuple([(name_of(each), colour[each]) for each in series])
    return Columns(WIDTH, _HEIGHT, base, _LEFT, tuple(bars), tuple(labels), tuple(ticks), named, tuple(shown))


@dataclass(frozen=True, slots=True)
class Ribbon:
    """A flow between two boxes."""

    path: str
    title: str
    href: str


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow diagram of three columns of boxes."""

    width: float
    height: float
    boxes: tuple[Bar, ...]
    ribbons: tuple[Ribbon, ...]
    labels: tuple[Label, ...]
    rows: tuple[Row, ...]
    """One for each way from left to right, the most frequent first."""


_BOX, _GAP, _SIDE, _RIGHT = 14.0, 26.0, 180.0, 310.0
_LONGEST = (22, 22, 31)
"""Letters of a label in each column; the whole stands in its box's title. Names of recipients are the longest."""


def flow(
    rows: Sequence[tuple[tuple[str, str, str], int]],
    *,
    number_text: Callable[[int], str],
    names: Callable[[int, str], str],
    href: Callable[[Mapping[int, str]], str],
) -> Flow:
    """Counts of (left, middle, right) as a flow; `names` and `href` are asked by the column's number."""
    totals: list[dict[str, int]] = [{}, {}, {}]
    for path, count in rows:
        for at, name in enumerate(path):
            totals[at][name] = totals[at].get(name, 0) + count
    most = max(map(len, totals))
    height = max(160.0, 46.0 * most)
    whole = sum(totals[0].values()) or 1
    scale = (height - _GAP * (most + 1)) / whole
    places: list[dict[str, float]] = []
    boxes, labels = [], []
    xs = (_SIDE, (_SIDE + WIDTH - _RIGHT - _BOX) / 2, WIDTH - _RIGHT - _BOX)
    for at, column in enumerate(totals):
        y = (height - sum(column.values()) * scale - _GAP * (len(column) - 1)) / 2 + _GAP / 4
        places.append({})
        for name, count in sorted(column.items(), key=lambda item: (-item[1], item[0])):
            places[at][name] = y
            tall = max(1.5, count * scale)
            text = names(at, name)
            boxes.append(Bar(xs[at], y, _BOX, tall, at, f"{text}: {number_text(count)}", href({at: name})))
            labels.append(_label(at, xs[at], y, tall, f"{_short(text, _LONGEST[at])} ({number_text(count)})"))
            y += count * scale + _GAP
    ribbons = [*_ribbons(rows, 0, places, xs, scale, number_text, names, href)]
    ribbons += _ribbons(rows, 1, places, xs, scale, number_text, names, href)
    ways = [
        Row(tuple([names(at, name) for at, name in enumerate(way)]), ((number_text(n), href(dict(enumerate(way)))),))
        for way, n in rows
    ]
    return Flow(WIDTH, height, tuple(boxes), tuple(ribbons), tuple(labels), tuple(ways))


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _label(at: int, x: float, y: float, tall: float, text: str) -> Label:
    if at == 1:  # above its box: beside it the ribbons run
        return Label(x, y - 6, text, "start")
    middle = y + tall / 2 + 4
    return Label(x - 8, middle, text, "end") if at == 0 else Label(x + _BOX + 8, middle, text, "start")


def _ribbons(
    rows: Sequence[tuple[tuple[str, str, str], int]],
    at: int,
    places: Sequence[Mapping[str, float]],
    xs: Sequence[float],
    scale: float,
    number_text: Callable[[int], str],
    names: Callable[[int, str], str],
    href: Callable[[Mapping[int, str]], str],
) -> list[Ribbon]:
    counts: dict[tuple[str, str], int] = {}
    for path, count in rows:
        pair = (path[at], path[at + 1])
        counts[pair] = counts.get(pair, 0) + count
    begins, ends = dict(places[at]), dict(places[at + 1])
    made = []
    order = sorted(counts.items(), key=lambda item: (begins[item[0][0]], ends[item[0][1]]))
    for (left, right), count in order:
        tall = max(1.0, count * scale)
        y1, y2 = begins[left], ends[right]
        begins[left] += count * scale
        ends[right] += count * scale
        x1, x2 = xs[at] + _BOX, xs[at + 1]
        middle = (x1 + x2) / 2
        shape = (
            f"M{x1:.1f} {y1:.1f}C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
            f"V{y2 + tall:.1f}C{middle:.1f} {y2 + tall:.1f} {middle:.1f} {y1 + tall:.1f} {x1:.1f} {y1 + tall:.1f}Z"
        )
        title = f"{names(at, left)} → {names(at + 1, right)}: {number_text(count)}"
        made.append(Ribbon(shape, title, href({at: left, at + 1: right})))
    return made
