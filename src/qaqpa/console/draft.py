"""The draft of a policy: what it says otherwise, and on which recorded decisions it would have decided otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import Response

from qaqpa.config.models import GuardConfig
from qaqpa.console.page import READERS, Page
from qaqpa.console.policy import common
from qaqpa.console.visit import Visit
from qaqpa.errors import InvalidRequest
from qaqpa.gateway.setup import Setup
from qaqpa.ledger.entries import Kind
from qaqpa.policy import law
from qaqpa.policy.changes import changes, configured_guards

_SHOWN = 200


def guards_of(setup: Setup) -> dict[str, GuardConfig]:
    """Conditions of the policy in force, and those that only the draft has."""
    draft = setup.draft
    return ({} if draft is None or draft.policy is None else configured_guards(draft.policy)) | dict(
        setup.config.guards
    )


async def read_draft(visit: Visit) -> Response:
    """The draft beside the policy in force."""
    setup = visit.gateway.setup
    drafted = setup.draft
    differences = [] if drafted is None or drafted.policy is None else changes(setup.policy, drafted.policy)
    return visit.page(
        "policy_draft.html",
        differences=differences,
        effects=Counter(each.effect for each in differences),
        failures=visit.gateway.shadow.failures,
        drafted=drafted,
        guards=guards_of(setup),
        of_draft=True,
        **common(visit),
    )


async def read_shadows(visit: Visit) -> Response:
    """Decisions in the ledger on which a draft differed."""
    before = visit.asked("before")
    if before and not (before.isascii() and before.isdigit() and len(before) < 16):
        raise InvalidRequest(["before: must be an index of the ledger"])
    found = await visit.gateway.compliance.shadows(visit.caller, int(before) if before else None)
    items = [_item(entry.content, entry.index) for entry in found.differing]
    return visit.page(
        "policy_shadows.html",
        found=found,
        items=items[:_SHOWN],
        shown=_SHOWN,
        counts=_counted(items),
        known_guards={*law.GUARDS, *visit.gateway.setup.config.guards},
        **common(visit),
    )


def _item(entry: Mapping[str, Any], index: int) -> dict[str, Any]:
    """One decision: its route, what was decided, and what the draft says instead."""
    shadow = entry["shadow"]
    result = entry["result"] if entry["kind"] == Kind.REFUSAL else "permit"
    return {
        "index": index,
        **{name: entry[name] for name in ("time", "caller", "recipient", "operation", "purpose")},
        "from": result,
        "to": shadow["result"],
        "reasons": shadow["reasons"],
        "fields": shadow["fields"],
        "config": shadow["config"],
    }


def _counted(items: Iterable[Mapping[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """How often each kind of difference, the most frequent first."""
    counts: Counter[tuple[Any, ...]] = Counter()
    kinds: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in items:
        reasons = tuple((each["guard"], each["clause"]) for each in item["reasons"])
        fields = tuple(tuple(item["fields"][name]) for name in ("added", "removed", "changed"))
        key = (
            *(item[name] for name in ("caller", "recipient", "operation", "purpose", "from", "to")), reasons, fields,
        )  # fmt: skip
        counts[key] += 1
        kinds.setdefault(key, dict(item))
    return [(kinds[key], count) for key, count in counts.most_common()]


PAGES = (
    Page("GET", "/policy/draft", read_draft, READERS),
    Page("GET", "/policy/shadow", read_shadows, READERS),
)
