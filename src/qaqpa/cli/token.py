"""`qaqpa token`: API tokens of callers."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from qaqpa.cli.options import CONFIG, HOME, Caller, ConfigFolder, Home, Json, Person, Reason, opened, run
from qaqpa.cli.render import err, out, print_json, table
from qaqpa.service import tokens
from qaqpa.service.tokens import Token

app = typer.Typer(help="Make, list and revoke the API tokens of callers.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """API tokens."""


@app.command()
def make(
    of: Annotated[str, typer.Argument(help="Whose token it is: a name in callers.toml.")],
    caller: Caller,
    person: Person,
    reason: Reason,
    days: Annotated[int, typer.Option(min=1, max=3_650, help="How long it lives.")] = 90,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Make a token. Its text is shown this once and kept nowhere; making it is an entry."""

    async def work() -> tuple[str, str]:
        async with opened(config, home) as gateway:
            return await tokens.make_for(
                gateway, of, caller=caller, person=person, reason=reason, lifetime=timedelta(days=days)
            )

    token, text = run(work)
    if as_json:
        print_json({"id": token, "caller": of, "token": text})
        return
    err.print(f"[green]made[/] token {token} of {of} for {days} days; this is its text, shown once:")
    print(text)  # noqa: T201 - alone on standard output, so that a script can take it


@app.command("list")
def list_tokens(config: ConfigFolder = CONFIG, home: Home = HOME, as_json: Json = False) -> None:
    """List every token that was made, without its text."""

    async def work() -> list[Token]:
        async with opened(config, home) as gateway:
            return await gateway.store.read(tokens.listed)

    found = run(work)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    shown = table("token", "caller", "made", "expires", "revoked")
    for each in found:
        shown.add_row(each.id, each.caller, each.made, each.expires, each.revoked or "no")
    out.print(shown if found else "no token was made yet: qaqpa token make CALLER ...")


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(help="Its id, as `qaqpa token list` shows it.")],
    caller: Caller,
    person: Person,
    reason: Reason,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
) -> None:
    """Revoke a token. Running services believe it no longer after a few seconds; revoking it is an entry."""

    async def work() -> None:
        async with opened(config, home) as gateway:
            await tokens.revoke_for(gateway, token, caller=caller, person=person, reason=reason)

    run(work)
    out.print(f"[green]revoked[/] {token}; services take up to {tokens.HOT_S:g} s to notice")
