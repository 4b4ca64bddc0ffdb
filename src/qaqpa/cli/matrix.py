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
from qaqpa.model.words import Words
from qaqpa.policy import Policy, Route
from qaqpa.policy.law import GUARDS

_LAW, _OPERATOR = "law", "operator"


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
        for asked in sorted(policy.routes, key=lambda each: (each.caller, each.recipient, each.operation, each.purpose))
        if all(text is None or getattr(asked, name) == text for name, text in wanted.items())
        for row in [_row(policy, policy.routes[asked])]
    ]
    day = policy.day(datetime.now(UTC))
    if as_json:
        clauses = sorted({clause for row in rows for clause in [*row["clauses"], *_clauses_of(row)]})
        print_json(
            {
                "day": day.isoformat(),
                "policy": policy.version_on(day),
                "routes": rows,
                "clauses": {clause: _said(policy.clauses[clause]) for clause in clauses},
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


def _said(words: Words) -> dict[str, str]:
    return {"ru": words.ru, "kk": words.kk, "en": words.en}


def _row(policy: Policy, route: Route) -> dict[str, Any]:
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
        "fields": {path: rule.transform or "as it is" for path, rule in route.fields.items()},
        "guards": [
            *({"guard": name, "by": _LAW, "clause": GUARDS[name]} for name in route.by_law),
            *(
                {
                    "guard": guard.name,
                    "by": _OPERATOR,
                    "clause": guard.config.clause,
                    "instrument": guard.config.instrument,
                    "effective": None if guard.config.effective is None else guard.config.effective.isoformat(),
                    "until": None if guard.config.until is None else guard.config.until.isoformat(),
                    "expect": _said(guard.config.expect),
                    "otherwise": _said(guard.config.otherwise),
                }
                for guard in route.guards
            ),
        ],
        "returns": sorted(route.returns),
        "reuse_for_s": None if route.reuse_for is None else int(route.reuse_for.total_seconds()),
    }


def _print(policy: Policy, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        out.print(f"{_route(row)}  [dim]on {row['ground']}[/]", soft_wrap=True)
    for row in rows:
        out.print(f"\n[bold]{_route(row)}[/]", soft_wrap=True)
        for clause in row["clauses"]:
            out.print(f"  {clause} {escape(policy.clauses[clause].in_language(speech.language))}", soft_wrap=True)
        out.print("  [bold]leaves[/]")
        for path, form in row["fields"].items():
            out.print(f"    {path}" + ("" if form == "as it is" else f" [dim]as {form}[/]"))
        out.print("  [bold]only if[/]")
        for guard in row["guards"]:
            _print_guard(guard)
        out.print(f"  [bold]comes back[/] {', '.join(row['returns']) or 'nothing'}", soft_wrap=True)


def _route(row: dict[str, Any]) -> str:
    return f"{row['caller']} → {row['recipient']}: {row['operation']} for {row['purpose']}"


def _print_guard(guard: dict[str, Any]) -> None:
    if guard["by"] == _LAW:
        out.print(f"    [dim]{guard['guard']} ({guard['clause']}), always[/]")
        return
    law = f", {guard['instrument']}" if guard["instrument"] else ""
    dates = "".join(f" {word} {guard[key]}" for word, key in (("from", "effective"), ("until", "until")) if guard[key])
    says = escape(guard["expect"][speech.language])
    out.print(f"    {guard['guard']} ({guard['clause']}{law}){dates} [dim]{says}[/]", soft_wrap=True)
