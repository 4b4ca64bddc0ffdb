"""The policy as it decides: in words, as a matrix, by field, by condition, by clause, by version (3.4(2), 9.2).

It is read from the configuration that this gateway decides by; nobody's data are in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from starlette.responses import Response

from qaqpa.console.page import READERS, Page
from qaqpa.console.visit import Visit
from qaqpa.errors import NotFound
from qaqpa.model.vocabulary import VOCABULARY, Field, FieldPath
from qaqpa.policy import Policy, Route, law
from qaqpa.policy.matrix import in_order


def in_clauses_order(clause: str) -> list[int]:
    """1.1(2) before 1.1(10)."""
    return [int(number) for number in re.findall(r"\d+", clause)]


def today(visit: Visit) -> date:
    """The legal day."""
    return visit.gateway.policy.day(visit.gateway.ledger.clock())


def common(visit: Visit) -> dict[str, Any]:
    """What every page about the policy shows."""
    policy = visit.gateway.policy
    return {
        "policy": policy,
        "today": today(visit),
        "version": policy.version_on(today(visit)),
        "draft": visit.gateway.setup.draft,
        "VOCABULARY": VOCABULARY,
    }


# --- in words ----------------------------------------------------------------------------------------


async def read_policy(visit: Visit) -> Response:
    """All of it, purpose by purpose."""
    policy = visit.gateway.policy
    purposes = sorted(policy.purposes, key=lambda name: in_clauses_order(policy.purposes[name]))
    used = {purpose: [route for asked, route in in_order(policy) if asked.purpose == purpose] for purpose in purposes}
    return visit.page(
        "policy.html",
        used={purpose: routes for purpose, routes in used.items() if routes},
        unused=[purpose for purpose, routes in used.items() if not routes],
        by_law=law.GUARDS,
        version_now=next((each for each in policy.versions if each.id == policy.version_on(today(visit))), None),
        groups=by_group,
        anchor=anchor,
        **common(visit),
    )


def by_group(paths: Sequence[FieldPath]) -> list[tuple[str, list[FieldPath]]]:
    """Fields under their groups, in the order of the vocabulary."""
    ordered = [path for path in VOCABULARY if path in set(paths)]
    return [(group, list(found)) for group, found in groupby(ordered, key=group_of)]


def group_of(path: str) -> str:
    """The first part of a path."""
    return path.partition(".")[0]


def anchor(route: Route) -> str:
    """Where a route stands on the page; names of the configuration are slugs."""
    return f"{route.caller}.{route.recipient.id}.{route.operation.name}.{route.purpose}"


# --- the matrix --------------------------------------------------------------------------------------


async def read_matrix(visit: Visit) -> Response:
    """Clauses and fields by routes."""
    policy = visit.gateway.policy
    chosen = {name: visit.asked(name) for name in ("caller", "recipient", "purpose")}
    routes = [
        route
        for asked, route in in_order(policy)
        if all(not value or getattr(asked, name) == value for name, value in chosen.items())
    ]
    passed = [path for path in VOCABULARY if any(path in route.fields for route in routes)]
    cited = {clause for route in routes for clause in _cited_by(policy, route)}
    return visit.page(
        "policy_matrix.html",
        routes=routes,
        passed=by_group(passed),
        count=len(passed),
        cited=sorted(cited, key=in_clauses_order),
        cites={anchor(route): _cited_by(policy, route) for route in routes},
        chosen=chosen,
        choices=_choices(policy),
        anchor=anchor,
        **common(visit),
    )


def _cited_by(policy: Policy, route: Route) -> dict[str, list[str]]:
    """What of a route cites each clause: the route itself, or conditions of it."""
    found: dict[str, list[str]] = {clause: ["route"] for clause in route.clauses}
    for name in policy.guards_of_law(route):
        found.setdefault(law.GUARDS[name], []).append(name)
    for guard in route.guards:
        found.setdefault(guard.config.clause, []).append(guard.name)
    return found


def _choices(policy: Policy) -> dict[str, list[str]]:
    return {
        name: sorted({getattr(asked, name) for asked in policy.routes}) for name in ("caller", "recipient", "purpose")
    }


# --- fields ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Use:
    """Who may get a field, and who sends it to us."""

    field: Field
    passes: list[Route]
    returns: list[Route]


def _uses(policy: Policy, field: Field) -> Use:
    routes = [route for _, route in in_order(policy)]
    return Use(
        field,
        [route for route in routes if field.path in route.fields],
        [route for route in routes if field.path in route.returns],
    )


async def read_fields(visit: Visit) -> Response:
    """The vocabulary, and who may get what of it."""
    policy = visit.gateway.policy
    uses = [_uses(policy, field) for field in VOCABULARY.values()]
    return visit.page(
        "policy_fields.html",
        groups=[(group, list(found)) for group, found in groupby(uses, key=lambda use: group_of(use.field.path))],
        leaving=sum(bool(use.passes) for use in uses),
        returned=sum(bool(use.returns) and not use.passes for use in uses),
        unused=sum(not use.passes and not use.returns for use in uses),
        anchor=anchor,
        **common(visit),
    )


async def read_field(visit: Visit) -> Response:
    """One field."""
    field = VOCABULARY.get(FieldPath(visit.in_path("field")))
    if field is None:
        raise NotFound("the vocabulary has no such field")
    use = _uses(visit.gateway.policy, field)
    return visit.page("policy_field.html", use=use, anchor=anchor, **common(visit))


# --- conditions and clauses --------------------------------------------------------------------------


def routes_asking(policy: Policy, guard: str) -> list[Route]:
    """Routes that meet a condition, of law or of the configuration."""
    return [
        route
        for _, route in in_order(policy)
        if guard in policy.guards_of_law(route) or any(each.name == guard for each in route.guards)
    ]


async def read_guards(visit: Visit) -> Response:
    """Every condition."""
    policy, guards = visit.gateway.policy, visit.gateway.setup.config.guards
    counts = {name: len(routes_asking(policy, name)) for name in (*law.GUARDS, *guards)}
    return visit.page("policy_guards.html", guards=guards, by_law=law.GUARDS, counts=counts, **common(visit))


async def read_guard(visit: Visit) -> Response:
    """One condition."""
    name, policy = visit.in_path("guard"), visit.gateway.policy
    config = visit.gateway.setup.config.guards.get(name)
    if config is None and name not in law.GUARDS:
        raise NotFound("there is no such condition in the policy")
    needs = {guard.name: guard.needs for route in policy.routes.values() for guard in route.guards}
    return visit.page(
        "policy_guard.html",
        name=name,
        guard=config,
        clause=law.GUARDS[name] if config is None else config.clause,
        needs=needs.get(name, ()),
        routes=routes_asking(policy, name),
        anchor=anchor,
        **common(visit),
    )


async def read_clauses(visit: Visit) -> Response:
    """Each clause, and what of the gate rests on it."""
    policy, guards = visit.gateway.policy, visit.gateway.setup.config.guards
    rows = [
        {
            "clause": clause,
            "text": policy.clauses[clause],
            "routes": [route for _, route in in_order(policy) if clause in route.clauses],
            "guards": [name for name, cited in law.GUARDS.items() if cited == clause]
            + [name for name, config in guards.items() if config.clause == clause],
            "fields": sum(field.clause == clause for field in VOCABULARY.values()),
        }
        for clause in sorted(policy.clauses, key=in_clauses_order)
    ]
    return visit.page("policy_clauses.html", rows=rows, by_law=law.GUARDS, anchor=anchor, **common(visit))


PAGES = (
    Page("GET", "/policy", read_policy, READERS),
    Page("GET", "/policy/matrix", read_matrix, READERS),
    Page("GET", "/policy/fields", read_fields, READERS),
    Page("GET", "/policy/fields/{field}", read_field, READERS),
    Page("GET", "/policy/conditions", read_guards, READERS),
    Page("GET", "/policy/conditions/{guard}", read_guard, READERS),
    Page("GET", "/policy/clauses", read_clauses, READERS),
)
