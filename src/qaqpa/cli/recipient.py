"""`qaqpa recipient`: who may receive, and stopping one at once."""

from __future__ import annotations

from typing import Annotated

import typer

from qaqpa.cli.options import CONFIG, HOME, ConfigFolder, Home, Json, opened, run
from qaqpa.cli.render import LANGUAGE, out, print_json, table
from qaqpa.gateway.gateway import Suspension

app = typer.Typer(help="List recipients; suspend or resume one.", no_args_is_help=True)

Recipient = Annotated[str, typer.Argument(help="The recipient's id.")]
Person = Annotated[str, typer.Option(help="Who decides this; entered in the ledger.")]
Reason = Annotated[str, typer.Option(help="Why; entered in the ledger, so name no data subject.")]


@app.command("list")
def list_recipients(config: ConfigFolder = CONFIG, home: Home = HOME, as_json: Json = False) -> None:
    """List recipients with agreement, seal and state."""

    async def work() -> tuple[dict[str, Suspension], dict[str, str], list[dict[str, object]]]:
        async with opened(config, home) as gateway:
            rows: list[dict[str, object]] = [
                {
                    "recipient": each.id,
                    "name": each.name.in_language(LANGUAGE),
                    "kind": each.kind,
                    "country": each.country,
                    "agreement": each.agreement.number if each.agreement else None,
                    "agreement_expires_on": str(each.agreement.expires_on)
                    if each.agreement and each.agreement.expires_on
                    else None,
                    "seal": each.seal.kind.value,
                    "routes": len(each.routes),
                }
                for each in gateway.policy.recipients.values()
            ]
            return await gateway.suspensions(), gateway.unready, rows

    suspended, unready, rows = run(work)
    for row in rows:
        name = str(row["recipient"])
        stop = suspended.get(name)
        row["state"] = "suspended" if stop else "not configured" if name in unready else "ready"
        row["why"] = f"{stop.reason} ({stop.person}, {stop.since})" if stop else unready.get(name)
    if as_json:
        print_json(rows)
        return
    shown = table("recipient", "kind", "country", "agreement", "until", "seal", "routes", "state")
    for row in rows:
        colour = {"ready": "green", "suspended": "red"}.get(str(row["state"]), "yellow")
        shown.add_row(
            str(row["recipient"]),
            str(row["kind"]),
            str(row["country"]),
            str(row["agreement"] or "none"),
            str(row["agreement_expires_on"] or "no end"),
            str(row["seal"]),
            str(row["routes"]),
            f"[{colour}]{row['state']}[/]" + (f": {row['why']}" if row["why"] else ""),
        )
    out.print(shown)


@app.command()
def suspend(
    recipient: Recipient, person: Person, reason: Reason, config: ConfigFolder = CONFIG, home: Home = HOME
) -> None:
    """Send nothing to a recipient from now on (5.5). Running gateways obey at their next request."""

    async def work() -> None:
        async with opened(config, home) as gateway:
            await gateway.suspend(recipient, person=person, reason=reason)

    run(work)
    out.print(f"[red]suspended[/] {recipient}: nothing is sent to it until `qaqpa recipient resume {recipient}`")


@app.command()
def resume(
    recipient: Recipient, person: Person, reason: Reason, config: ConfigFolder = CONFIG, home: Home = HOME
) -> None:
    """Send to a suspended recipient again."""

    async def work() -> None:
        async with opened(config, home) as gateway:
            await gateway.resume(recipient, person=person, reason=reason)

    run(work)
    out.print(f"[green]resumed[/] {recipient}")
