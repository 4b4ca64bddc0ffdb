"""Cut data to what a route's clause allows (policy 3.2): an allow-list by dotted path, never a block-list.

Pure: the same walk cuts what goes out (route fields, transformed where the route says so) and what comes
back (route returns). What is cut is named, so that the ledger and the caller can say what was withheld.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from qaqpa.config.recipients import FieldRule
from qaqpa.model.consent import KdpToken
from qaqpa.model.disclosure import Extract, Json
from qaqpa.model.vocabulary import VOCABULARY, FieldPath

_REGION = re.compile(
    r"""(?:\d{6}[,\s]+)?(?:Республика\ Казахстан|Қазақстан\ Республикасы)?[,\s]*(?:\d{6}[,\s]+)?(?:г\.\s*)?
    (?P<region>
        (?:Астана|Алматы|Шымкент|Нур-Султан)(?:\ қаласы|\ қ\.)?
        | (?:Абай|Ақмола|Ақтөбе|Алматы|Атырау|Батыс\ Қазақстан|Жамбыл|Жетісу|Қарағанды|Қостанай|Қызылорда|Маңғыстау
            |Павлодар|Солтүстік\ Қазақстан|Түркістан|Ұлытау|Шығыс\ Қазақстан)\ облысы
        | (?:Акмолинская|Актюбинская|Алматинская|Атырауская|Западно-Казахстанская|Жамбылская|Карагандинская
            |Костанайская|Кызылординская|Мангистауская|Павлодарская|Северо-Казахстанская|Туркестанская
            |Восточно-Казахстанская)\ обл(?:асть|\.)
        | (?:область|обл\.)\ (?:Абай|Жетісу|Жетысу|Ұлытау|Улытау)
    )(?=\s*(?:,|$))""",
    re.VERBOSE | re.IGNORECASE,
)
"""A region or city of republican significance at the head of an address, behind postal index and country, with the
comma or the end after it."""


@dataclass(frozen=True, slots=True)
class Context:
    """What transforms need beside the value."""

    today: date
    pseudonym_key: bytes | None = None
    """Random per handover, so that pseudonyms of two handovers cannot be joined."""


def _mask(value: str, _size: int, _context: Context) -> str:
    return (value[:1] if len(value) > 1 else "") + "***"


def _year_of(value: str, _size: int, _context: Context) -> str:
    return value[:4]


def _age_band(value: str, size: int, context: Context) -> str | None:
    born = date.fromisoformat(value[:10])
    age = context.today.year - born.year - ((context.today.month, context.today.day) < (born.month, born.day))
    if age < 0:
        return None
    low = age - age % size
    return f"{low}-{low + size - 1}"


def _region_of(value: str, _size: int, _context: Context) -> str | None:
    # An address that does not begin with a region stays behind: its first word may be a street (Абай даңғылы).
    found = _REGION.match(value)
    region = found["region"] if found else None
    return region.title() if region and region.isupper() else region


def _bucket(value: str | int, size: int, _context: Context) -> str:
    whole, dot, part = value.partition(".") if type(value) is str else (str(value), "", "")
    # A plain sum is floored by its digits, which is five times as quick.
    plain = whole.isdecimal() and part.isdecimal() is (dot == ".")
    low = (int(whole) if plain else math.floor(Decimal(value))) // size * size
    return f"{low}-{low + size - 1}"


def _pseudonym(value: str, _size: int, context: Context) -> str:
    if context.pseudonym_key is None:
        raise TypeError("a pseudonym needs the key of its handover")
    return hmac.new(context.pseudonym_key, value.encode(), hashlib.sha256).hexdigest()[:24]


Transform = Callable[[Json, int, Context], Json]
TRANSFORMS: Mapping[str, tuple[Transform, frozenset[type]]] = {
    "mask": (_mask, frozenset({str})),
    "year_of": (_year_of, frozenset({date})),
    "age_band": (_age_band, frozenset({date})),
    "region_of": (_region_of, frozenset({str})),
    "bucket": (_bucket, frozenset({Decimal, int})),
    "pseudonym": (_pseudonym, frozenset({str})),
}
"""Each transform and the types of field that it makes sense for; None from one withholds the field."""


_KNOWN = {str(path): path for path in VOCABULARY}
_UNKNOWN = FieldPath("unknown")
_NESTED = frozenset({dict, list})


class _Cut:
    """One walk over one tree."""

    def __init__(self, change: Callable[[FieldPath, Json], Json]) -> None:
        self.change = change
        self.kept: set[FieldPath] = set()
        self.dropped: set[FieldPath] = set()

    def walk(self, node: Json, path: str) -> Json:
        # JSON values: plain dictionaries and lists, as pydantic dumps them. Asked by type, because this runs for every
        # value of every request, three times.
        kind = type(node)
        if kind is dict:
            return self._group(node, f"{path}." if path else "")
        if kind is list and (not node or any(type(item) in _NESTED for item in node)):
            return [item for item in (self.walk(each, path) for each in node) if item is not None] or None
        if node is None:
            return None
        # A name outside the vocabulary may itself be personal: it is dropped and not repeated.
        known = _KNOWN.get(path, _UNKNOWN)
        changed = self.change(known, node)
        (self.dropped if changed is None else self.kept).add(known)
        return changed

    def _group(self, group: dict[str, Json], prefix: str) -> Json:
        walk, kept = self.walk, {}
        for key, value in group.items():
            # A name that holds a dot, or nothing, could pass for a path that it is not.
            changed = walk(value, prefix + key if key.isidentifier() else "?")
            if changed is not None:
                kept[key] = changed
        return kept or None


def present(data: Mapping[str, Json]) -> frozenset[FieldPath]:
    """Paths of the fields that `data` holds."""
    found: set[str] = set()
    _collect(data, "", found)
    return frozenset(_KNOWN.get(path, _UNKNOWN) for path in found)


def _collect(node: Json, path: str, found: set[str]) -> None:
    """The same walk as `_Cut.walk`, without a verdict on each value."""
    kind = type(node)
    if kind is dict:
        prefix = f"{path}." if path else ""
        for key, value in node.items():
            inner = prefix + key if key.isidentifier() else "?"
            if type(value) in _NESTED:
                _collect(value, inner, found)
            elif value is not None:
                found.add(inner)
    elif kind is list and (not node or any(type(item) in _NESTED for item in node)):
        for each in node:
            _collect(each, path, found)
    elif node is not None:
        found.add(path)


def minimise(
    data: Mapping[str, Json],
    rules: Mapping[FieldPath, FieldRule],
    *,
    consent_confirmed: bool,
    context: Context,
    kdp: KdpToken | None = None,
) -> Extract:
    """What of `data` (nested groups, JSON values) the route's `rules` let through; `kdp` where the route passes it."""

    def pass_or_withhold(path: FieldPath, value: Json) -> Json:
        rule = rules.get(path)
        if rule is None or rule.transform is None:
            return value if rule is not None else None
        transform, _ = TRANSFORMS[rule.transform]
        return transform(value, rule.size or 0, context)

    cut = _Cut(pass_or_withhold)
    kept = cut.walk(data, "") or {}
    return Extract(
        data=kept,
        fields=tuple(sorted(cut.kept)),
        # A field of a list may be passed for one item and withheld for another; it counts as passed.
        withheld=tuple(sorted(cut.dropped - cut.kept)),
        consent_confirmed=consent_confirmed,
        kdp=kdp,
    )


_NOTHING: Mapping[FieldPath, Json] = {}


@dataclass(frozen=True, slots=True)
class Cut:
    """What leaves of a flat row: values by path. `fields` and `withheld` are as in `Extract`."""

    values: Mapping[str, Json] = field(repr=False)
    fields: tuple[FieldPath, ...]
    withheld: tuple[FieldPath, ...]

    def extract(self, *, consent_confirmed: bool, kdp: KdpToken | None = None) -> Extract:
        """The same in nested groups."""
        data = _grown(_tree(self.values), self.values)
        return Extract(data, self.fields, self.withheld, consent_confirmed, kdp)


class RowShape:
    """Rows that hold values at the same paths: what passes of them, and under which names."""

    def __init__(self, paths: tuple[str, ...], rules: Mapping[FieldPath, FieldRule], context: Context) -> None:
        known = {path: _KNOWN.get(path, _UNKNOWN) for path in paths}
        self.present = frozenset(known.values())
        """Paths of the fields that such a row holds."""
        passed = [(path, rules[known[path]]) for path in paths if known[path] in rules]
        self._fields = tuple(sorted(FieldPath(path) for path, _ in passed))
        self._withheld = tuple(sorted(self.present - set(self._fields)))
        self._context = context
        self._passed = [path for path, _ in passed]
        self._changed: list[tuple[FieldPath, Transform, int]] = [
            (FieldPath(path), TRANSFORMS[rule.transform][0], rule.size or 0)
            for path, rule in passed
            if rule.transform is not None
        ]

    def cut(self, row: Mapping[str, Json], instead: Mapping[FieldPath, Json] = _NOTHING) -> Cut:
        """What `minimise` makes of this row's nested form, still flat; `instead` holds what some transformed fields are
        to be made (by `anonymity`). Raises TypeError where a cell holds a list or a group.
        """
        kept = {path: row[path] for path in self._passed}
        if not _NESTED.isdisjoint(map(type, kept.values())):
            raise TypeError("a cell holds one value")
        fields, withheld = self._fields, self._withheld
        if self._changed:
            unsaid: set[FieldPath] = set()
            for path, transform, size in self._changed:
                changed = instead[path] if path in instead else transform(kept[path], size, self._context)
                kept[path] = changed
                if changed is None:
                    unsaid.add(path)
                    del kept[path]
            if unsaid:
                fields = tuple(path for path in fields if path not in unsaid)
                withheld = tuple(sorted({*withheld, *unsaid}))
        return Cut(kept, fields, withheld)

    def extract(
        self,
        row: Mapping[str, Json],
        *,
        consent_confirmed: bool,
        kdp: KdpToken | None = None,
        instead: Mapping[FieldPath, Json] = _NOTHING,
    ) -> Extract:
        """The same in nested groups."""
        return self.cut(row, instead).extract(consent_confirmed=consent_confirmed, kdp=kdp)


_Tree = dict[str, Any]
"""Names of a group → the path of a field, or the tree of an inner group."""


def _tree(paths: Iterable[str]) -> _Tree:
    tree: _Tree = {}
    for path in paths:
        *groups, leaf = path.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = path
    return tree


def _grown(tree: _Tree, row: Mapping[str, Json]) -> dict[str, Json]:
    return {name: row[inner] if type(inner) is str else _grown(inner, row) for name, inner in tree.items()}


class RowMinimiser:
    """`minimise` for many flat rows (`{path: value}`) of one route: what follows from their paths is found once."""

    def __init__(self, rules: Mapping[FieldPath, FieldRule], context: Context) -> None:
        self._rules, self._context = rules, context
        self._shapes: dict[tuple[str, ...], RowShape] = {}

    def shape(self, row: Mapping[str, Json]) -> RowShape:
        """The shape of `row`, which all rows share that hold values at the same paths; None is no value."""
        paths = tuple([path for path, value in row.items() if value is not None])
        found = self._shapes.get(paths)
        if found is None:
            if len(self._shapes) >= _SHAPES:
                self._shapes.clear()
            found = self._shapes[paths] = RowShape(paths, self._rules, self._context)
        return found


_SHAPES = 4_096
"""Remembered at most: columns that are filled at random have very many."""


def cut_report(
    report: Mapping[str, Json], returns: frozenset[FieldPath]
) -> tuple[Mapping[str, Json], tuple[FieldPath, ...], tuple[FieldPath, ...]]:
    """The answer as the route returns it, the paths in it, and the paths cut from it."""
    cut = _Cut(lambda path, value: value if path in returns else None)
    kept = cut.walk(report, "report") or {}
    return kept, tuple(sorted(cut.kept)), tuple(sorted(cut.dropped - cut.kept))
