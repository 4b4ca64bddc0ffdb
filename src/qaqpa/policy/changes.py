"""What one policy says that another does not: a draft beside the policy in force, as a list for people to read.

Compared by meaning and not by file: a route that moved to another line, or a comment, is no change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from qaqpa.config.models import GuardConfig
from qaqpa.config.recipients import FieldRule, RecipientFile
from qaqpa.model.decision import Asked
from qaqpa.model.vocabulary import FieldPath
from qaqpa.policy.compile import Policy, Route
from qaqpa.policy.matrix import in_order


class What(StrEnum):
    """What changes."""

    VERSION_ADDED = "version_added"
    VERSION_REMOVED = "version_removed"
    VERSION_CHANGED = "version_changed"
    CLAUSE_ADDED = "clause_added"
    CLAUSE_REMOVED = "clause_removed"
    CLAUSE_REWORDED = "clause_reworded"
    GUARD_ADDED = "guard_added"
    GUARD_REMOVED = "guard_removed"
    GUARD_CONDITION = "guard_condition"
    GUARD_DATES = "guard_dates"
    GUARD_CITES = "guard_cites"
    """Another clause or law."""
    GUARD_REWORDED = "guard_reworded"
    RECIPIENT_ADDED = "recipient_added"
    RECIPIENT_REMOVED = "recipient_removed"
    RECIPIENT_CHANGED = "recipient_changed"
    """Something that guards or law ask of it."""
    AGREEMENT = "agreement"
    ROUTE_ADDED = "route_added"
    ROUTE_REMOVED = "route_removed"
    ROUTE_GROUND = "route_ground"
    ROUTE_CLAUSES = "route_clauses"
    FIELDS_ADDED = "fields_added"
    FIELDS_REMOVED = "fields_removed"
    FIELDS_CHANGED = "fields_changed"
    """They leave in another form."""
    CONDITIONS_ADDED = "conditions_added"
    CONDITIONS_REMOVED = "conditions_removed"
    RETURNS_ADDED = "returns_added"
    RETURNS_REMOVED = "returns_removed"
    ROUTE_TERMS = "route_terms"
    """How long a report serves again, how alike rows are, whether the token travels."""


WIDER = frozenset({
    What.ROUTE_ADDED, What.FIELDS_ADDED, What.CONDITIONS_REMOVED, What.RETURNS_ADDED, What.RECIPIENT_ADDED,
})  # fmt: skip
"""More may leave, or come back, or on fewer conditions."""
NARROWER = frozenset({
    What.ROUTE_REMOVED, What.FIELDS_REMOVED, What.CONDITIONS_ADDED, What.RETURNS_REMOVED, What.RECIPIENT_REMOVED,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One difference."""

    what: What
    about: str
    """The id of a version, clause, guard or recipient; of a route `caller recipient operation purpose`."""
    names: tuple[str, ...] = ()
    """Fields, guards or keys that it is about."""
    old: Any = None
    new: Any = None

    @property
    def effect(self) -> str:
        """`wider`, `narrower`, or `other` where the words alone do not tell."""
        if self.what is What.FIELDS_CHANGED:
            # Less of a field leaves in any other form than as it is; of two such forms the words must be read.
            if all(self.old[path].transform is None for path in self.names):
                return "narrower"
            return "wider" if any(self.new[path].transform is None for path in self.names) else "other"
        return "wider" if self.what in WIDER else "narrower" if self.what in NARROWER else "other"


def changes(old: Policy, new: Policy) -> list[Change]:
    """Every difference between what `old` says and what `new` says: routes first."""
    return [
        *_routes(old, new), *_recipients(old.recipients, new.recipients), *_guards(old, new), *_texts(old, new),
    ]  # fmt: skip


def name_of(asked: Asked) -> str:
    """A route in one word of four."""
    return f"{asked.caller} {asked.recipient} {asked.operation} {asked.purpose}"


def _routes(old: Policy, new: Policy) -> Iterator[Change]:
    for asked, route in in_order(new):
        before = old.find(asked)
        if before is None:
            yield Change(What.ROUTE_ADDED, name_of(asked), tuple(route.fields))
        else:
            yield from _route(name_of(asked), before, route)
    yield from (Change(What.ROUTE_REMOVED, name_of(asked)) for asked, _ in in_order(old) if new.find(asked) is None)


def _route(name: str, old: Route, new: Route) -> Iterator[Change]:
    if (old.ground, old.service) != (new.ground, new.service):
        yield Change(What.ROUTE_GROUND, name, old=(old.ground.value, old.service), new=(new.ground.value, new.service))
    if set(old.clauses) != set(new.clauses):
        yield Change(What.ROUTE_CLAUSES, name, old=old.clauses, new=new.clauses)
    yield from _sets(name, What.FIELDS_ADDED, What.FIELDS_REMOVED, old.fields, new.fields)
    forms = tuple(path for path in new.fields if path in old.fields and _form(old, path) != _form(new, path))
    if forms:
        yield Change(What.FIELDS_CHANGED, name, forms, _forms(old, forms), _forms(new, forms))
    conditions = [guard.name for guard in old.guards], [guard.name for guard in new.guards]
    yield from _sets(name, What.CONDITIONS_ADDED, What.CONDITIONS_REMOVED, *conditions)
    yield from _sets(name, What.RETURNS_ADDED, What.RETURNS_REMOVED, sorted(old.returns), sorted(new.returns))
    terms = tuple(key for key in ("reuse_for", "kdp", "k", "quasi") if getattr(old, key) != getattr(new, key))
    if terms:
        yield Change(What.ROUTE_TERMS, name, terms, _terms(old, terms), _terms(new, terms))


def _form(route: Route, path: FieldPath) -> tuple[str | None, int | None]:
    rule = route.fields[path]
    return rule.transform, rule.size


def _forms(route: Route, paths: Iterable[FieldPath]) -> dict[str, FieldRule]:
    return {path: route.fields[path] for path in paths}


def _terms(route: Route, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(route, name) for name in names}


def _sets(name: str, added: What, removed: What, old: Iterable[str], new: Iterable[str]) -> Iterator[Change]:
    old, new = tuple(old), tuple(new)
    if more := tuple(each for each in new if each not in old):
        yield Change(added, name, more)
    if fewer := tuple(each for each in old if each not in new):
        yield Change(removed, name, fewer)


_OF_RECIPIENT = ("kind", "country", "legal_form", "state_majority", "affiliated", "cessions")
"""What law and guards ask of a recipient."""


def _recipients(old: Mapping[str, RecipientFile], new: Mapping[str, RecipientFile]) -> Iterator[Change]:
    yield from (Change(What.RECIPIENT_ADDED, name) for name in new if name not in old)
    yield from (Change(What.RECIPIENT_REMOVED, name) for name in old if name not in new)
    for name, recipient in new.items():
        if (before := old.get(name)) is None:
            continue
        if before.agreement != recipient.agreement:
            yield Change(What.AGREEMENT, name, old=before.agreement, new=recipient.agreement)
        if differing := tuple(key for key in _OF_RECIPIENT if getattr(before, key) != getattr(recipient, key)):
            yield Change(What.RECIPIENT_CHANGED, name, differing)


def configured_guards(policy: Policy) -> dict[str, GuardConfig]:
    """The guards that some route asks for."""
    return {guard.name: guard.config for route in policy.routes.values() for guard in route.guards}


def _guards(old: Policy, new: Policy) -> Iterator[Change]:
    before, after = configured_guards(old), configured_guards(new)
    yield from (Change(What.GUARD_ADDED, name, new=config) for name, config in after.items() if name not in before)
    yield from (Change(What.GUARD_REMOVED, name, old=config) for name, config in before.items() if name not in after)
    for name, config in after.items():
        known = before.get(name)
        for what, keys in _OF_GUARD.items():
            if known is not None and any(getattr(known, key) != getattr(config, key) for key in keys):
                yield Change(what, name, old=known, new=config)


_OF_GUARD = {
    What.GUARD_CONDITION: ("when",),
    What.GUARD_DATES: ("effective", "until"),
    What.GUARD_CITES: ("clause", "instrument"),
    What.GUARD_REWORDED: ("expect", "otherwise"),
}


def _texts(old: Policy, new: Policy) -> Iterator[Change]:
    before, after = ({each.id: each for each in policy.versions} for policy in (old, new))
    yield from (Change(What.VERSION_ADDED, name, new=each) for name, each in after.items() if name not in before)
    yield from (Change(What.VERSION_REMOVED, name, old=each) for name, each in before.items() if name not in after)
    for name in sorted(after.keys() & before.keys()):
        if before[name] != after[name]:
            yield Change(What.VERSION_CHANGED, name, old=before[name], new=after[name])
    clauses = old.clauses, new.clauses
    yield from (Change(What.CLAUSE_ADDED, name) for name in clauses[1] if name not in clauses[0])
    yield from (Change(What.CLAUSE_REMOVED, name) for name in clauses[0] if name not in clauses[1])
    for name, text in clauses[1].items():
        if name in clauses[0] and clauses[0][name] != text:
            yield Change(What.CLAUSE_REWORDED, name, old=clauses[0][name], new=text)
