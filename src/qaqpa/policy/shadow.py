"""A draft of the policy beside the one in force: what it would decide on the same facts, where that differs."""

from __future__ import annotations

from collections.abc import Mapping

from qaqpa.model.decision import Decision, Shadow
from qaqpa.model.vocabulary import FieldPath
from qaqpa.policy.compile import Policy, Route
from qaqpa.policy.decide import decide
from qaqpa.policy.facts import Facts

LARGEST = 64
"""At most so many reasons are noted: an entry has a largest size, and no draft may make one too large."""


def shadow_of(decision: Decision, route: Route | None, facts: Facts, draft: Policy, digest: str) -> Shadow | None:
    """What `draft` decides on the facts of `decision`; None where result, reasons and fields are the same."""
    other = draft.find(facts.asked)
    return difference(decision, route, decide(draft, other, facts), other, facts.present, digest)


def difference(
    decision: Decision,
    route: Route | None,
    drafted: Decision,
    other: Route | None,
    present: frozenset[FieldPath],
    digest: str,
) -> Shadow | None:
    """Where `drafted`, made by a draft on its route `other`, differs from `decision` on `route`; on the same facts,
    `present` being the fields handed in. None where result, reasons and fields are the same.
    """
    leaves, would_leave = _leaving(decision, route, present), _leaving(drafted, other, present)
    if drafted.result is decision.result and would_leave == leaves and drafted.blocking == decision.blocking:
        return None
    return Shadow(
        config=digest,
        result=drafted.result,
        reasons=drafted.blocking[:LARGEST],
        added=tuple(sorted(would_leave.keys() - leaves.keys())),
        removed=tuple(sorted(leaves.keys() - would_leave.keys())),
        changed=tuple(sorted(path for path in leaves.keys() & would_leave.keys() if leaves[path] != would_leave[path])),
    )


_Form = tuple[str | None, int | None]
"""A rule's transform and its size: quicker to compare than the rule."""


def _leaving(decision: Decision, route: Route | None, present: frozenset[FieldPath]) -> Mapping[FieldPath, _Form]:
    """Of what was handed in, the fields that the route lets through, and how; none where nothing may leave."""
    if route is None or not decision.permits:
        return {}
    return {path: (rule.transform, rule.size) for path, rule in route.fields.items() if path in present}
