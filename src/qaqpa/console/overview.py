"""The first page: what left, to whom, what was refused and why, what waits for somebody. Every figure is a link to the
list behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from starlette.responses import Response

from qaqpa.console import charts
from qaqpa.console.names import CAME, PURPOSES, SENSITIVITIES
from qaqpa.console.page import READERS, Page
from qaqpa.console.signed import last_signed
from qaqpa.console.visit import Visit, link
from qaqpa.errors import InvalidRequest
from qaqpa.ledger.disclosures import DisclosureResult
from qaqpa.ledger.figures import Overview, Period
from qaqpa.model.recall import RecallState
from qaqpa.model.vocabulary import VOCABULARY, FieldPath

_DAYS = 30
_LONGEST_DAYS = 366
_SOON = timedelta(days=30)
_COLOURS = {
    DisclosureResult.DELIVERED: 3, DisclosureResult.REJECTED: 1, DisclosureResult.NOT_SENT: 7,
    DisclosureResult.UNKNOWN: 2, DisclosureResult.OPEN: 5, DisclosureResult.DENY: 4, DisclosureResult.GAP: 6,
    DisclosureResult.REUSED: 0,
}  # fmt: skip
"""Of the style sheet: green is what arrived, red what was denied."""


def day_asked(visit: Visit, name: str) -> date | None:
    """A day of the address's query. Raises InvalidRequest."""
    text = visit.asked(name)
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise InvalidRequest([f"{name}: write the day as 2026-01-31"]) from None


def period_asked(visit: Visit) -> Period:
    """The days that are asked for; the last thirty where none are. Raises InvalidRequest."""
    today = visit.gateway.policy.day(visit.gateway.ledger.clock())
    until = day_asked(visit, "until") or today
    try:
        since = day_asked(visit, "since") or until - timedelta(days=_DAYS - 1)
    except OverflowError:
        raise InvalidRequest(["until: there is no day before it"]) from None
    if not timedelta(0) <= until - since < timedelta(days=_LONGEST_DAYS):
        raise InvalidRequest([f"since, until: at most {_LONGEST_DAYS} days, the earlier one first"])
    return Period(since, until)


async def overview(visit: Visit) -> Response:
    """Figures of a period, and what waits."""
    period = period_asked(visit)
    found = await visit.gateway.reviewing.overview(visit.caller, period)
    results = Counter[str]()
    for each in found.by_day:
        results[each.name] += each.n
    return visit.page(
        "overview.html",
        period=period,
        results=[(each, results[each.value]) for each in DisclosureResult if results[each.value]],
        total=sum(results.values()),
        by_day=_by_day(visit, period, found),
        by_recipient=_by_recipient(visit, period, found),
        flow=_flow(visit, period, found),
        reasons=found.reasons,
        fields=_fields(found),
        recalls=await visit.gateway.reviewing.recalls(visit.caller, RecallState.PROPOSED, RecallState.LATE),
        standing=await visit.gateway.reviewing.standing(visit.caller),
        agreements=_agreements(visit),
        alerts=sum((await visit.gateway.alerts.counts()).values()),
        owed=await visit.gateway.handovers.owed(visit.caller),
        approvals=await visit.gateway.approvals.waiting(visit.caller),
        consents_ending=await visit.gateway.consent_review.count_ending(visit.caller, _soon(visit)),
        soon=_soon(visit),
        signed=await last_signed(visit),
        behind=found.behind,
        guards=visit.gateway.setup.config.guards,
    )


def _span(period: Period) -> dict[str, str]:
    return {"since": str(period.since), "until": str(period.until)}


def _by_day(visit: Visit, period: Period, found: Overview) -> charts.Columns:
    words = visit.house.looks.words(visit.language)
    counts = Counter[tuple[str, str]]()
    for each in found.by_day:
        counts[each.day, each.name] += each.n
    present = [each.value for each in DisclosureResult if any(name == each.value for _, name in counts)]
    colours = {each.value: colour for each, colour in _COLOURS.items()}
    return _columns(
        visit, period, counts, "result", present, lambda name: words.gettext(CAME[DisclosureResult(name)][0]), colours
    )


def _by_recipient(visit: Visit, period: Period, found: Overview) -> charts.Columns:
    counts, totals = Counter[tuple[str, str]](), Counter[str]()
    for each in found.by_day:
        counts[each.day, each.recipient] += each.n
        totals[each.recipient] += each.n
    present = [name for name, _ in totals.most_common()]
    return _columns(visit, period, counts, "recipient", present, lambda name: name_of(visit, "recipient", name))


def _columns(
    visit: Visit,
    period: Period,
    counts: Mapping[tuple[str, str], int],
    what: str,
    series: Sequence[str],
    name_of: Callable[[str], str],
    colours: Mapping[str, int] | None = None,
) -> charts.Columns:
    assert period.since is not None and period.until is not None  # noqa: S101 - `period_asked` gives both
    words = visit.house.looks.words(visit.language)
    return charts.columns(
        [str(period.since + timedelta(days=at)) for at in range((period.until - period.since).days + 1)],
        series,
        counts,
        day_text=lambda day: words.day_and_month(date.fromisoformat(day)),
        number_text=words.number,
        name_of=name_of,
        href=lambda day, name: link("/disclosures", since=day, until=day, **{what: name}),
        colours=colours,
    )


def _flow(visit: Visit, period: Period, found: Overview) -> charts.Flow | None:
    rows = Counter[tuple[str, str, str]]()
    for each in found.flow:
        rows[each.caller, each.purpose, each.recipient] += each.n
    if not rows:
        return None
    words, span = visit.house.looks.words(visit.language), _span(period)
    columns = ("caller", "purpose", "recipient")

    def href(chosen: Mapping[int, str]) -> str:
        return link("/disclosures", kind="intent", **span, **{columns[at]: name for at, name in chosen.items()})

    return charts.flow(
        rows.most_common(60),
        number_text=words.number,
        names=lambda at, name: name_of(visit, columns[at], name),
        href=href,
    )


def name_of(visit: Visit, what: str, code: str) -> str:
    """A caller's, recipient's or purpose's name in the reader's language, where the configuration still knows it."""
    policy = visit.gateway.policy
    if what == "purpose" and code in PURPOSES:
        return visit.house.looks.words(visit.language).gettext(PURPOSES[code])
    known: Mapping[str, Any] = {"caller": policy.callers, "recipient": policy.recipients}.get(what, {})
    return known[code].name.in_language(visit.language) if code in known else code


def _fields(found: Overview) -> list[tuple[str, int, list[tuple[str, int]]]]:
    """Fields that left by sensitivity: how many times any of them did, and each."""
    groups: dict[str, Counter[str]] = {}
    for each in found.fields:
        known = VOCABULARY.get(FieldPath(each.name))
        groups.setdefault(known.sensitivity.value if known else "", Counter())[each.name] += each.n
    ordered = [each for each in (*SENSITIVITIES, "") if each in groups]
    return [(each, sum(groups[each].values()), groups[each].most_common()) for each in ordered]


def _soon(visit: Visit) -> date:
    """The last day of which it is said that what ends then is about to end."""
    return visit.gateway.policy.day(visit.gateway.ledger.clock()) + _SOON


def _agreements(visit: Visit) -> list[tuple[str, date]]:
    """Agreements that end soon, or have ended."""
    ends = [
        (name, each.agreement.expires_on)
        for name, each in visit.gateway.policy.recipients.items()
        if each.agreement is not None and each.agreement.expires_on is not None
    ]
    return sorted((each for each in ends if each[1] <= _soon(visit)), key=lambda each: each[1])


PAGES = (Page("GET", "/", overview, READERS),)
