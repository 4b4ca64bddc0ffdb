"""`qaqpa recipient`: who may receive, and stopping one at once."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from qaqpa.cli.options import CONFIG, HOME, Caller, ConfigFolder, Home, Json, Person, Reason, opened, run
from qaqpa.cli.render import out, print_json, speech
from qaqpa.gateway.compliance import Suspension

app = typer.Typer(help="List recipients; suspend or resume one.", no_args_is_help=True)

Recipient = Annotated[str, typer.Argument(help="The recipient's id.")]


@app.command("list")
def list_recipients(config: ConfigFolder = CONFIG, home: Home = HOME, as_json: Json = False) -> None:
    """List recipients with agreement, seal and state."""

    async def work() -> tuple[dict[str, Suspension], dict[str, str], list[dict[str, object]]]:
        async with opened(config, home) as gateway:
            rows: list[dict[str, object]] = [
                {
                    "recipient": each.id,
                    "name": each.name.in_language(speech.language),
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
    for row in rows:
        colour = {"ready": "green", "suspended": "red"}.get(str(row["state"]), "yellow")
        why = f": {escape(str(row['why']))}" if row["why"] else ""
        out.print(f"[bold]{row['recipient']}[/]  [{colour}]{row['state']}[/]{why}", soft_wrap=True)
        until = row["agreement_expires_on"] or "without end"
        out.print(
            f"  {row['name']}, {row['kind']}, {row['country']}; agreement {row['agreement'] or 'none'} until {until}; "
            f"sealed {row['seal']}; routes: {row['routes']}",
            soft_wrap=True,
        )


@app.command()
def suspend(
    recipient: Recipient,
    caller: Caller,
    person: Person,
    reason: Reason,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
) -> None:
    """Send nothing to a recipient from now on (5.5), in every running gateway; what waits for its turn is not sent."""

    async def work() -> None:
        async with opened(config, home) as gateway:
            await gateway.suspend(caller, recipient, person=person, reason=reason)

    run(work)
    out.print(f"[red]suspended[/] {recipient}: nothing is sent to it until somebody with the role operate says")
    out.print(f"  qaqpa recipient resume {recipient} --caller ... --person ... --reason ...")


@app.command()
def resume(
    recipient: Recipient,
    caller: Caller,
    person: Person,
    reason: Reason,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
) -> None:
    """Send to a suspended recipient again."""

    async def work() -> None:
        async with opened(config, home) as gateway:
            await gateway.resume(caller, recipient, person=person, reason=reason)

    run(work)
    out.print(f"[green]resumed[/] {recipient}")
