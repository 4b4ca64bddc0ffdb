"""`qaqpa disclose` and `qaqpa decide`: one request, from a file or standard input."""

from __future__ import annotations

from typing import Annotated

import typer

from qaqpa.cli import render
from qaqpa.cli.options import CONFIG, HOME, Caller, ConfigFolder, Document, Home, Json, opened, read_document, run
from qaqpa.cli.render import err, out, print_json, speech
from qaqpa.gateway.answers import decision_answer, disclosure_answer
from qaqpa.model.decision import Decision, Result
from qaqpa.model.disclosure import Disclosure
from qaqpa.model.identifiers import iin_warnings
from qaqpa.model.request import DisclosureRequest, parse

_EXIT = {Result.PERMIT: 0, Result.DENY: 1, Result.GAP: 3}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(disclose)
    app.command()(decide)


def disclose(
    request: Document,
    caller: Caller,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key is never disclosed twice for one caller.")
    ] = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Disclose one person's data to one recipient for one purpose, if the policy permits, and print the answer."""
    asked = parse(DisclosureRequest, read_document(request))

    async def work() -> Disclosure:
        async with opened(config, home) as gateway:
            return await gateway.disclose(caller, asked, idempotency_key=idempotency_key)

    for warning in iin_warnings(asked.iin):
        err.print(f"[yellow]the IIN is odd[/]: {warning}")
    done = run(work)
    if as_json:
        print_json(disclosure_answer(done, speech.language))
        return
    render.decision(done.decision)
    out.print(f"  sent: {', '.join(done.sent)}")
    out.print(f"  withheld: {', '.join(done.withheld) or 'nothing was handed in that the route does not pass'}")
    out.print(f"  cut from the answer: {', '.join(done.cut) or 'nothing'}")
    out.print(f"  ledger: intent {done.intent_index}, outcome {done.outcome_index}; disclosure {done.id}")
    print_json(done.report)


def decide(
    request: Document, caller: Caller, config: ConfigFolder = CONFIG, home: Home = HOME, as_json: Json = False
) -> None:
    """Say what would be decided on a request. Nothing is sent and nothing is entered in the ledger."""
    asked = parse(DisclosureRequest, read_document(request))

    async def work() -> Decision:
        async with opened(config, home) as gateway:
            return await gateway.decide(caller, asked)

    decided = run(work)
    if as_json:
        print_json(decision_answer(decided, speech.language))
    else:
        render.decision(decided)
    raise typer.Exit(_EXIT[decided.result])
