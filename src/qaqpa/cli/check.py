"""`qaqpa check`: every problem of the configuration, or the register of what it allows."""

from __future__ import annotations

import typer
from rich.markup import escape

from qaqpa.cli.options import CONFIG, HOME, ConfigFolder, Home, Json, setup
from qaqpa.cli.render import out, print_json, speech, table
from qaqpa.gateway import Setup
from qaqpa.gateway.setup import Drafted
from qaqpa.policy import Route
from qaqpa.policy.law import GUARDS


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(check)


def check(config: ConfigFolder = CONFIG, home: Home = HOME, as_json: Json = False) -> None:
    """Check the configuration: print every problem, or the register of routes, fields, clauses and guards."""
    made = setup(config, home)
    if as_json:
        routes = [_row(route) for route in made.policy.routes.values()]
        print_json({"routes": routes, "unset": list(made.unset()), "draft": _draft(made.draft)})
        return
    _print_register(made)


def _row(route: Route) -> dict[str, object]:
    return {
        "recipient": route.recipient.id,
        "caller": route.caller,
        "operation": route.operation.name,
        "purpose": route.purpose,
        "ground": route.ground.value,
        "clauses": list(route.clauses),
        "fields": {path: rule.transform or "as it is" for path, rule in route.fields.items()},
        "guards": [*route.by_law, *(guard.name for guard in route.guards)],
        "returns": sorted(route.returns),
    }


def _draft(draft: Drafted | None) -> dict[str, object] | None:
    if draft is None:
        return None
    problems = [str(problem) for problem in draft.problems]
    return {"folder": str(draft.folder), "config": draft.digest, "problems": problems}


def _print_draft(draft: Drafted | None) -> None:
    if draft is None:
        return
    if draft.policy is not None:
        out.print(
            f"\nThe draft in {draft.folder} has no problems: every decision is also tried under it.", soft_wrap=True
        )
        return
    count = len(draft.problems)
    out.print(
        f"\n[yellow]{count} problem{'s' if count != 1 else ''} in the draft[/]: it is not evaluated; disclosures go on "
        "under the policy in force.",
        soft_wrap=True,
    )
    for problem in draft.problems:
        out.print(f"  {escape(str(problem))}", soft_wrap=True)


def _print_register(made: Setup) -> None:
    for recipient in made.policy.recipients.values():
        routes = [route for route in made.policy.routes.values() if route.recipient.id == recipient.id]
        agreement = recipient.agreement
        ends = f"until {agreement.expires_on}" if agreement and agreement.expires_on else "without end"
        held = f"agreement {agreement.number} {ends}" if agreement else "no agreement"
        out.print(f"[bold]{recipient.id}[/]  {recipient.name.in_language(speech.language)}, {recipient.kind}, {held}")
        register = table("route", "fields that leave", "guards, with their clauses")
        for route in routes:
            register.add_row(
                f"[bold]{route.operation.name}[/]\nby {route.caller}\nfor {route.purpose}\n"
                f"on {route.ground.value}\n{', '.join(route.clauses)}\n"
                f"[dim]returns {len(route.returns)} field{'s' if len(route.returns) != 1 else ''}[/]",
                "\n".join(
                    path + (f" [dim]as {rule.transform}[/]" if rule.transform else "")
                    for path, rule in route.fields.items()
                ),
                "\n".join(
                    [f"[dim]{name} {GUARDS[name]}[/]" for name in route.by_law]
                    + [f"{guard.name} {guard.config.clause}" for guard in route.guards]
                ),
            )
            register.add_row()
        out.print(register)
    out.print("[dim]Guards in grey are law's own: no configuration can remove them.[/]")
    unset = list(made.unset())
    if unset:
        out.print("\n[yellow]Not set yet[/]: nothing can be sent to these recipients until it is.")
        for recipient_id, what in unset:
            out.print(f"  {recipient_id}: {what}")
    _print_draft(made.draft)
    count = len(made.policy.routes)
    out.print(f"\n[green]No problems.[/] {count} routes to {len(made.policy.recipients)} recipients.")
