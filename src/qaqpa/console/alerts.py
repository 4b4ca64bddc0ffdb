"""Alerts (5.5): what the rules found, what it means, and what somebody said who looked into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from qaqpa.alerts.findings import Rule, Severity
from qaqpa.alerts.records import Alert, AlertState
from qaqpa.alerts.webhook import ACKNOWLEDGED, RAISED
from qaqpa.config.models import ConsoleRole
from qaqpa.console.overview import name_of
from qaqpa.console.page import READERS, Page
from qaqpa.console.visit import Visit, link
from qaqpa.errors import InvalidRequest
from qaqpa.translation import N_

_ON_A_PAGE = 50
_LONGEST_ID = 40
MAY_ACKNOWLEDGE = (ConsoleRole.INVESTIGATOR, ConsoleRole.APPROVER, ConsoleRole.ADMINISTRATOR)

RULES: Mapping[Rule, str] = {
    Rule.VOLUME: N_("Unusual volume"),
    Rule.REFUSALS: N_("Burst of refusals"),
    Rule.SUBJECT: N_("One person asked for by many"),
    Rule.NIGHT: N_("Activity at night"),
    Rule.CHECKPOINT: N_("Checkpoint late"),
    Rule.VERIFICATION: N_("Verification failed"),
    Rule.UPKEEP: N_("Upkeep fails"),
    Rule.WITNESS: N_("Witness silent"),
    Rule.EXPIRY: N_("About to end"),
    Rule.BREAK_GLASS: N_("Sign-in beside the provider"),
}
MEANINGS: Mapping[Rule, str] = {
    Rule.VOLUME: N_(
        "In one hour there was far more than is usual at that hour. Usual is the median of the same hour"
        " on the last ten days of the same kind (working days, or Saturday and Sunday). Look whether "
        "somebody takes out more than their work needs."
    ),
    Rule.REFUSALS: N_(
        "Many requests of one caller were refused within minutes: a system is set wrong, or somebody "
        "tries what is allowed."
    ),
    Rule.SUBJECT: N_(
        "Several services and people asked for the same person within a short time. Look whether each of"
        " them had a reason."
    ),
    Rule.NIGHT: N_("Somebody who should be idle at night was active. Look who it was, and ask them."),
    Rule.CHECKPOINT: N_(
        "Entries have waited too long for a signed checkpoint: until there is one, nobody outside can "
        "hold them against it. Look at the file outside the database and at the log."
    ),
    Rule.VERIFICATION: N_(
        "What stands in the database is not what was entered or signed. Run “qaqpa ledger verify”, keep "
        "the database as it is, and tell whoever answers for security."
    ),
    Rule.UPKEEP: N_("Checkpoints, recovery or jobs have failed for a while: the log says why."),
    Rule.WITNESS: N_(
        "A witness outside does not cosign checkpoints: ask who runs it. If it saw another past of this "
        "ledger, it is right not to."
    ),
    Rule.EXPIRY: N_(
        "When an agreement or a recipient's key ends, nothing is sent to that recipient any more. Get "
        "the new one in time."
    ),
    Rule.BREAK_GLASS: N_(
        "Somebody with a shell made a link that signs a person in without the OpenID provider. Look in the"
        " ledger who made it and for whom, and whether the provider failed then."
    ),
}
"""What each rule means, and what to do first."""
MEASURES = {
    "alone": N_("disclosures"),
    "rows": N_("rows of packages"),
    "looks": N_("looks of a person"),
}
ABOUT = {
    "caller": N_("caller"),
    "recipient": N_("recipient"),
    "person": N_("staff member"),
    "subject": N_("person"),
    "witness": N_("witness"),
    "agreement": N_("agreement with"),
    "key": N_("key of"),
}
GATE = {
    "checkpoint": N_("the last checkpoint"),
    "database": N_("the database as a whole"),
    "tree": N_("the tree over the entries"),
    "entries": N_("entries"),
    "upkeep": N_("checkpoints and recovery"),
    "jobs": N_("jobs"),
    "many": N_("many persons"),
    "console": N_("the console"),
}
FIGURES = {
    "count": N_("Number"),
    "usual": N_("Usual at that hour"),
    "limit": N_("Limit"),
    "hour": N_("Hour"),
    "night": N_("Night that began on"),
    "minutes": N_("Within minutes"),
    "hours": N_("Within hours"),
    "seconds": N_("For seconds"),
    "ends": N_("Ends on"),
    "index": N_("First entry"),
    "code": N_("Code"),
}
_MOMENTS, _DAYS = {"hour"}, {"night", "ends"}
STATES = {
    AlertState.OPEN: (N_("open"), "bad"),
    AlertState.ACKNOWLEDGED: (N_("acknowledged"), "good"),
}
SEVERITIES = {
    Severity.URGENT: (N_("urgent"), "bad"),
    Severity.WARNING: (N_("look into it"), "warn"),
}
MESSAGES = {RAISED: N_("the alert"), ACKNOWLEDGED: N_("its acknowledgement")}
MESSAGE_STATES = {
    "waiting": (N_("waits"), "warn"),
    "accepted": (N_("accepted"), "good"),
    "too_old": (N_("given up"), "bad"),
}
SHOWN = {"open": (AlertState.OPEN,), "all": tuple(AlertState), "acknowledged": (AlertState.ACKNOWLEDGED,)}


@dataclass(frozen=True, slots=True)
class About:
    """What an alert is about, for a page."""

    measure: str
    """A message id, or empty."""
    kind: str
    """A message id."""
    name: str
    """From the ledger or the configuration; empty for the gate itself."""
    is_code: bool
    """Whether it is no more than an id."""
    address: str
    """Of the page that tells more, or empty."""


def about(visit: Visit, alert: Alert) -> About:
    """Its parts, with a link to what is behind it."""
    parts = alert.about.split(":")
    measure = MEASURES[parts.pop(0)] if len(parts) > 1 and parts[0] in MEASURES else ""
    kind, name = parts[0], ":".join(parts[1:])
    if not name:
        return About(measure, GATE.get(kind, kind), "", False, "")
    title = name_of(visit, {"agreement": "recipient"}.get(kind, kind), name)
    is_code = title == name and kind != "person"
    return About(measure, ABOUT.get(kind, kind), title, is_code, _behind(alert, kind, name))


def _behind(alert: Alert, kind: str, name: str) -> str:
    if kind == "subject":
        return link(f"/people/{name}")
    if kind in {"agreement", "key"}:
        return link(f"/recipients/{name}")
    if kind in {"caller", "recipient"} and alert.rule in {Rule.VOLUME, Rule.REFUSALS}:
        return link("/disclosures", **{kind: name}, since=alert.since[:10])
    return ""


async def list_alerts(visit: Visit) -> Response:
    """Open ones first of all; older ones on demand."""
    shown = visit.asked("show", "open")
    rule = visit.asked("rule")
    before = visit.asked("before")
    if shown not in SHOWN or rule not in {"", *Rule} or len(before) > _LONGEST_ID:
        raise InvalidRequest(["show: open, acknowledged or all; rule: one of those listed"])
    alerts = visit.gateway.alerts
    listed = await alerts.listed(
        visit.caller, states=SHOWN[shown], rule=Rule(rule) if rule else None, before=before or None,
        limit=_ON_A_PAGE + 1,
    )  # fmt: skip
    more = listed[_ON_A_PAGE - 1].id if len(listed) > _ON_A_PAGE else ""
    return visit.page(
        "alerts.html", listed=[(each, about(visit, each)) for each in listed[:_ON_A_PAGE]],
        counts=await alerts.counts(), untold=await alerts.untold(), shown=shown, rule=rule, more=more,
        RULES=RULES, STATES=STATES, SEVERITIES=SEVERITIES,
    )  # fmt: skip


async def show_alert(visit: Visit) -> Response:
    """One alert: figures, what the rule means, what became of it."""
    alert, told = await visit.gateway.alerts.find(visit.caller, visit.in_path("alert"))
    figures = [
        (FIGURES[name], _form(name), alert.figures[name]) for name in FIGURES if alert.figures.get(name) is not None
    ]
    return visit.page(
        "alert.html", alert=alert, about=about(visit, alert), figures=figures, told=told, meaning=MEANINGS[alert.rule],
        may_acknowledge=visit.person.may(*MAY_ACKNOWLEDGE), draft=_draft(visit, alert), RULES=RULES, STATES=STATES,
        SEVERITIES=SEVERITIES, MESSAGES=MESSAGES, MESSAGE_STATES=MESSAGE_STATES,
    )  # fmt: skip


def _form(name: str) -> str:
    return "moment" if name in _MOMENTS else "day" if name in _DAYS else "number"


def _draft(visit: Visit, alert: Alert) -> str:
    """Where the draft of a notice to the authority begins with what this alert knows."""
    if not visit.person.may(ConsoleRole.APPROVER):
        return ""
    first = datetime.fromisoformat(alert.since).astimezone(UTC) - timedelta(days=1)
    return link(
        "/breach", alert=alert.id, since=f"{first:%Y-%m-%dT%H:%M}", caller=alert.name("caller"),
        recipient=alert.name("recipient"),
    )  # fmt: skip


async def acknowledge(visit: Visit) -> Response:
    """A person has looked into it, and says what it was; an entry says so."""
    alert = visit.in_path("alert")
    await visit.gateway.alerts.acknowledge(
        visit.caller, alert, person=visit.person.entered, reason=visit.posted("reason")
    )
    return visit.to(f"/alerts/{alert}")


PAGES = (
    Page("GET", "/alerts", list_alerts, READERS),
    Page("GET", "/alerts/{alert}", show_alert, READERS),
    Page("POST", "/alerts/{alert}/acknowledge", acknowledge, MAY_ACKNOWLEDGE),
)
