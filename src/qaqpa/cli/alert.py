"""`qaqpa alert`: what rules on the ledger and the gate itself found (5.5), and who has seen to it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from qaqpa.alerts.findings import Severity
from qaqpa.alerts.records import Alert, AlertState
from qaqpa.cli.options import CONFIG, HOME, Caller, ConfigFolder, Home, Json, Person, Reason, opened, run
from qaqpa.cli.render import out, print_json, table

app = typer.Typer(help="Alerts: unusual volume, bursts of refusals, late checkpoints (5.5).", no_args_is_help=True)


@app.command(name="list")
def list_alerts(
    caller: Caller,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were acknowledged.")] = False,
    limit: Annotated[int, typer.Option(help="The latest so many.", min=1, max=1_000)] = 100,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Open alerts, the latest first."""
    states = tuple(AlertState) if everything else (AlertState.OPEN,)

    async def work() -> list[Alert]:
        async with opened(config, home) as gateway:
            return await gateway.alerts.listed(caller, states=states, limit=limit)

    found = run(work)
    if as_json:
        print_json({"alerts": [_plain(each) for each in found]})
        return
    if not found:
        out.print("[green]none[/] is open")
        return
    shown = table("alert", "rule", "about", "since", "last", "state")
    for each in found:
        colour = "red" if each.severity is Severity.URGENT else "yellow"
        about = escape(each.about)
        shown.add_row(each.id, f"[{colour}]{each.rule.value}[/]", about, each.since, each.last, each.state.value)
    out.print(shown)


@app.command()
def acknowledge(
    alert: Annotated[str, typer.Argument(help="The alert's id (`qaqpa alert list`).")],
    caller: Caller,
    person: Person,
    reason: Reason,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """A person has looked into it, and says what it was; an entry says so."""

    async def work() -> Alert:
        async with opened(config, home) as gateway:
            return await gateway.alerts.acknowledge(caller, alert, person=person, reason=reason)

    found = run(work)
    if as_json:
        print_json(_plain(found))
    else:
        out.print(f"[green]acknowledged[/] {found.id}: {found.rule.value}, {escape(found.about)}", soft_wrap=True)


def _plain(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id, "rule": alert.rule.value, "severity": alert.severity.value, "about": alert.about,
        "state": alert.state.value, "since": alert.since, "last": alert.last, "figures": dict(alert.figures),
        "acknowledged": alert.acknowledged, "person": alert.person, "reason": alert.reason,
    }  # fmt: skip
