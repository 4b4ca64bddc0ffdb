"""`qaqpa consent`: record, show and withdraw consents."""

from __future__ import annotations

from typing import Annotated

import typer

from qaqpa.cli.options import CONFIG, HOME, Caller, ConfigFolder, Document, Home, Json, opened, read_document, run
from qaqpa.cli.render import out, print_json, table
from qaqpa.gateway.answers import Answer, consent_answer
from qaqpa.gateway.gateway import utc_now
from qaqpa.model.consent import Consent, ConsentRequest
from qaqpa.model.request import parse

app = typer.Typer(help="Record, show and withdraw consents (clauses 6.1 and 7.1(3)).", no_args_is_help=True)

ConsentId = Annotated[str, typer.Argument(help="The consent's id.")]


@app.command()
def record(
    consent: Document, caller: Caller, config: ConfigFolder = CONFIG, home: Home = HOME, as_json: Json = False
) -> None:
    """Record a consent that a person has given."""
    request = parse(ConsentRequest, read_document(consent))

    async def work() -> Consent:
        async with opened(config, home) as gateway:
            return await gateway.record_consent(caller, request)

    _print(run(work), as_json=as_json)


@app.command()
def show(
    consent: ConsentId, caller: Caller, config: ConfigFolder = CONFIG, home: Home = HOME, as_json: Json = False
) -> None:
    """Show a consent: its terms and status. Who gave it is not shown."""

    async def work() -> Consent:
        async with opened(config, home) as gateway:
            return await gateway.consent(caller, consent)

    _print(run(work), as_json=as_json)


@app.command()
def withdraw(
    consent: ConsentId,
    caller: Caller,
    duties_met: Annotated[
        bool,
        typer.Option("--duties-met/--duties-open", help="Whether every duty under the contract is met (7.1(3))."),
    ],
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Withdraw a consent; while duties under the contract are open it is pending until --duties-met is said."""

    async def work() -> Consent:
        async with opened(config, home) as gateway:
            return await gateway.withdraw_consent(caller, consent, duties_met=duties_met)

    _print(run(work), as_json=as_json)


def _print(consent: Consent, *, as_json: bool) -> None:
    answer: Answer = consent_answer(consent, consent.status(utc_now()).value)
    if as_json:
        print_json(answer)
        return
    shown = table("consent", consent.id)
    terms = consent.terms
    for name, value in (
        ("status", answer["status"]),
        ("given", terms.given_at.isoformat()),
        ("expires", terms.expires_at.isoformat() if terms.expires_at else "never"),
        ("purposes", ", ".join(terms.purposes)),
        ("third parties", ", ".join(terms.third_parties)),
        ("fields", ", ".join(terms.fields)),
        ("across the border", "yes" if terms.cross_border else "no"),
        ("publication", "yes" if terms.publication else "no"),
        ("operator", f"BIN {terms.operator_bin}"),
        ("policy accepted", terms.policy),
        ("withdrawal asked", answer["withdrawal_asked_at"] or "no"),
        ("withdrawn", answer["withdrawn_at"] or "no"),
    ):
        shown.add_row(name, str(value))
    out.print(shown)
