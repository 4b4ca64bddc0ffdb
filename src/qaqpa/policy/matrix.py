"""What the policy says, route by route, as plain values: for people to read, to print, and to hold against another.

Everything that is asked before anything leaves stands in a route's row; what no row allows is denied (3.4(2)).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qaqpa.model.decision import Asked
from qaqpa.model.words import Words
from qaqpa.policy.compile import Policy, Route
from qaqpa.policy.guards import Guard
from qaqpa.policy.law import GUARDS

LAW, OPERATOR = "law", "operator"
AS_IT_IS = "as it is"


def in_order(policy: Policy) -> Iterator[tuple[Asked, Route]]:
    """Every route, by caller, recipient, operation and purpose."""
    order = sorted(policy.routes, key=lambda each: (each.caller, each.recipient, each.operation, each.purpose))
    return ((asked, policy.routes[asked]) for asked in order)


def row(policy: Policy, route: Route) -> dict[str, Any]:
    """A route, with everything that is asked before anything leaves."""
    agreement = route.recipient.agreement
    return {
        "caller": route.caller,
        "recipient": route.recipient.id,
        "operation": route.operation.name,
        "purpose": route.purpose,
        "ground": route.ground.value,
        "service": route.service,
        "clauses": list(route.clauses),
        "agreement": None if agreement is None else agreement.number,
        "fields": {path: rule.transform or AS_IT_IS for path, rule in route.fields.items()},
        "guards": [
            *({"guard": name, "by": LAW, "clause": GUARDS[name]} for name in policy.guards_of_law(route)),
            *map(_guard, route.guards),
        ],
        "returns": sorted(route.returns),
        "reuse_for_s": None if route.reuse_for is None else int(route.reuse_for.total_seconds()),
    }


def _guard(guard: Guard) -> dict[str, Any]:
    config = guard.config
    return {
        "guard": guard.name,
        "by": OPERATOR,
        "clause": config.clause,
        "instrument": config.instrument,
        "effective": None if config.effective is None else config.effective.isoformat(),
        "until": None if config.until is None else config.until.isoformat(),
        "expect": said(config.expect),
        "otherwise": said(config.otherwise),
    }


def said(words: Words) -> dict[str, str]:
    """A sentence by language."""
    return {"ru": words.ru, "kk": words.kk, "en": words.en}
