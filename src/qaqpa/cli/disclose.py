"""`qaqpa disclose` and `qaqpa decide`: one request, from a file or standard input."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated

import typer

from qaqpa.cli import render
from qaqpa.cli.options import CONFIG, HOME, Caller, ConfigFolder, Document, Home, Json, opened, read_document, run
from qaqpa.cli.render import err, out, print_json, speech
from qaqpa.errors import AnswerAwaited
from qaqpa.gateway import Gateway
from qaqpa.gateway.answers import awaiting_answer, decision_answer, disclosure_answer
from qaqpa.model.decision import Decision, Result
from qaqpa.model.disclosure import Disclosure
from qaqpa.model.identifiers import iin_warnings
from qaqpa.model.request import DisclosureRequest, parse

NoWait = Annotated[bool, typer.Option("--no-wait", help="Where the recipient answers later, do not wait for it.")]
_LOOK_EVERY_S = 0.25
_EXIT = {Result.PERMIT: 0, Result.DENY: 1, Result.GAP: 3}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(disclose)
    app.command()(answer)
    app.command()(decide)


def disclose(
    request: Document,
    caller: Caller,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key is never disclosed twice for one caller.")
    ] = None,
    no_wait: NoWait = False,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Disclose one person's data to one recipient for one purpose, if the policy permits, and print the answer."""
    asked = parse(DisclosureRequest, read_document(request))

    async def work() -> Disclosure | AnswerAwaited:
        async with opened(config, home) as gateway:
            try:
                return await gateway.disclose(caller, asked, idempotency_key=idempotency_key)
            except AnswerAwaited as waits:
                return waits if no_wait else await _waited_for(gateway, caller, str(waits.disclosure))

    for warning in iin_warnings(asked.iin):
        err.print(f"[yellow]the IIN is odd[/]: {warning}")
    _show(run(work), as_json=as_json)


def answer(
    disclosure: Annotated[str, typer.Argument(help="The id of a disclosure of this caller's.")],
    caller: Caller,
    no_wait: NoWait = False,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Print what a disclosure was answered; where its recipient answers later, wait for it. Nothing is sent again."""

    async def work() -> Disclosure | AnswerAwaited:
        async with opened(config, home) as gateway:
            try:
                return await gateway.answer(caller, disclosure)
            except AnswerAwaited as waits:
                return waits if no_wait else await _waited_for(gateway, caller, disclosure)

    _show(run(work), as_json=as_json)


async def _waited_for(gateway: Gateway, caller: str, disclosure: str) -> Disclosure:
    """The answer, when it is there. Who breaks off loses nothing: a gateway fetches it all the same."""
    if err.is_terminal:
        err.print(
            f"sent; the recipient answers later: waiting (Ctrl-C, then `qaqpa answer {disclosure}`)", soft_wrap=True
        )
    gateway.jobs.wake()
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        with suppress(AnswerAwaited):
            return await gateway.answer(caller, disclosure)


def _show(done: Disclosure | AnswerAwaited, *, as_json: bool) -> None:
    if isinstance(done, AnswerAwaited):
        if as_json:
            print_json(awaiting_answer(done))
        else:
            told = f"sent, and the recipient answers later: `qaqpa answer {done.disclosure}` prints what it said"
            out.print(told, soft_wrap=True)
        return
    if as_json:
        print_json(disclosure_answer(done, speech.language))
        return
    render.decision(done.decision)
    if done.reused:
        out.print("  sent: nothing, an earlier report serves again; then: " + ", ".join(done.sent), soft_wrap=True)
    else:
        out.print(f"  sent: {', '.join(done.sent)}")
    out.print(f"  withheld: {', '.join(done.withheld) or 'nothing was handed in that the route does not pass'}")
    out.print(f"  cut from the answer: {', '.join(done.cut) or 'nothing'}")
    ended = "reused" if done.reused else "outcome"
    out.print(f"  ledger: intent {done.intent_index}, {ended} {done.outcome_index}; disclosure {done.id}")
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
