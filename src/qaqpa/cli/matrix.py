"""`qaqpa policy show`: who may disclose what to whom and why, clause by clause. Everything else is denied (3.4(2))."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from qaqpa.cli.options import CONFIG, HOME, ConfigFolder, Home, Json, setup
from qaqpa.cli.render import out, print_json, speech
from qaqpa.errors import ConfigError
from qaqpa.gateway.setup import load_drafted
from qaqpa.policy import Policy
from qaqpa.policy.law import GUARDS
from qaqpa.policy.matrix import AS_IT_IS, LAW, in_order, said
from qaqpa.policy.matrix import row as row_of


def show(
    of: Annotated[str | None, typer.Option(help="Only what this caller may.")] = None,
    recipient: Annotated[str | None, typer.Option(help="Only to this recipient.")] = None,
    purpose: Annotated[str | None, typer.Option(help="Only for this purpose.")] = None,
    draft: Annotated[
        Path | None, typer.Option(help="Show the policy of this folder (policy/ and recipients/) instead.")
    ] = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Print the matrix: caller, recipient, operation, purpose → ground, clauses, fields, guards. Opens no ledger."""
    made = setup(config, home)
    policy = made.policy
    if draft is not None:
        drafted = load_drafted(draft, made.config)
        if drafted.policy is None:
            raise ConfigError(drafted.problems)
        policy = drafted.policy
    wanted = {"caller": of, "recipient": recipient, "purpose": purpose}
    rows = [
        row
        for asked, route in in_order(policy)
        if all(text is None or getattr(asked, name) == text for name, text in wanted.items())
        for row in [row_of(policy, route)]
    ]
    day = policy.day(datetime.now(UTC))
    if as_json:
        clauses = sorted({clause for row in rows for clause in [*row["clauses"], *_clauses_of(row)]})
        print_json(
            {
                "day": day.isoformat(),
                "policy": policy.version_on(day),
                "routes": rows,
                "clauses": {clause: said(policy.clauses[clause]) for clause in clauses},
                "otherwise": {"result": "deny", "guard": "route_known", "clause": GUARDS["route_known"]},
            }
        )
        return
    _print(policy, rows)
    version = policy.version_on(day) or "none"
    out.print(f"\nPolicy {version} is in force on {day}. {len(rows)} of {len(policy.routes)} routes are shown.")
    out.print(f"What no route allows is denied ({GUARDS['route_known']}).")


def _clauses_of(row: dict[str, Any]) -> list[str]:
    return [guard["clause"] for guard in row["guards"]]


def _print(policy: Policy, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        out.print(f"{_route(row)}  [dim]on {row['ground']}[/]", soft_wrap=True)
    for row in rows:
        out.print(f"\n[bold]{_route(row)}[/]", soft_wrap=True)
        for clause in row["clauses"]:
            out.print(f"  {clause} {escape(policy.clauses[clause].in_language(speech.language))}", soft_wrap=True)
        out.print("  [bold]leaves[/]")
        for path, form in row["fields"].items():
            out.print(f"    {path}" + ("" if form == AS_IT_IS else f" [dim]as {form}[/]"))
        out.print("  [bold]only if[/]")
        for guard in row["guards"]:
            _print_guard(guard)
        out.print(f"  [bold]comes back[/] {', '.join(row['returns']) or 'nothing'}", soft_wrap=True)


def _route(row: dict[str, Any]) -> str:
    return f"{row['caller']} → {row['recipient']}: {row['operation']} for {row['purpose']}"


def _print_guard(guard: dict[str, Any]) -> None:
    if guard["by"] == LAW:
        out.print(f"    [dim]{guard['guard']} ({guard['clause']}), always[/]")
        return
    law = f", {guard['instrument']}" if guard["instrument"] else ""
    dates = "".join(f" {word} {guard[key]}" for word, key in (("from", "effective"), ("until", "until")) if guard[key])
    says = escape(guard["expect"][speech.language])
    out.print(f"    {guard['guard']} ({guard['clause']}{law}){dates} [dim]{says}[/]", soft_wrap=True)
