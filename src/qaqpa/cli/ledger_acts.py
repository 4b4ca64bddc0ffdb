"""`qaqpa ledger`, what people do beside reading: settle, archive, accept a clock, run a witness."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from qaqpa import files
from qaqpa.cli.asked import Told, say_asked, told
from qaqpa.cli.options import (
    CONFIG,
    HOME,
    Caller,
    ConfigFolder,
    Home,
    Json,
    Person,
    Reason,
    at_shell,
    existing_store,
    opened,
    run,
    setup,
)
from qaqpa.cli.render import err, out, print_json, table
from qaqpa.errors import InvalidRequest, NotConfigured, NotPossible
from qaqpa.ledger.agreed import Act
from qaqpa.ledger.archive import Archived
from qaqpa.ledger.recovery import Unsettled
from qaqpa.model.words import OutcomeResult
from qaqpa.tlog.notes import VerifierKey
from qaqpa.witness import Witness, create_key, serve


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("open")(list_open)
    app.command()(settle)
    app.command()(evidence)
    app.command()(archive)
    app.command("accept-clock")(accept_clock)
    app.command()(witness)


def list_open(caller: Caller, config: ConfigFolder = CONFIG, home: Home = HOME, as_json: Json = False) -> None:
    """List disclosures without an outcome that is known: their data may have left, or their answer is awaited."""

    async def work() -> list[Unsettled]:
        async with opened(config, home) as gateway:
            return await gateway.compliance.unsettled(caller)

    existing_store(setup(config, home))
    found = run(work)
    if as_json:
        print_json(
            [
                {
                    "disclosure": each.disclosure,
                    "intent": each.intent,
                    "since": each.since,
                    "recipient": each.recipient,
                    "state": each.state,
                }
                for each in found
            ]
        )
        return
    if not found:
        out.print("[green]nothing is open[/]: it is known of every disclosure what came of it")
        return
    shown = table("disclosure", "intent", "since", "recipient", "state")
    for each in found:
        shown.add_row(
            each.disclosure,
            "" if each.intent is None else str(each.intent),
            each.since,
            escape(each.recipient),
            each.state,
        )
    out.print(shown)
    states = {each.state for each in found}
    out.print()
    if "unknown" in states:
        out.print(
            "unknown: ask the recipient what it has received, then: qaqpa ledger settle DISCLOSURE --result ...",
            soft_wrap=True,
        )
    if "open" in states:
        out.print("open: under way, or cut off; then it becomes unknown when a gateway opens", soft_wrap=True)
    if "awaited" in states:
        out.print("awaited: the recipient answers later, and a running gateway asks for it", soft_wrap=True)


class Found(StrEnum):
    """What a person may find out."""

    DELIVERED = OutcomeResult.DELIVERED
    REJECTED = OutcomeResult.REJECTED
    NOT_SENT = OutcomeResult.NOT_SENT


def settle(
    disclosure: Annotated[str, typer.Argument(help="The disclosure's id.")],
    result: Annotated[Found, typer.Option(help="What came of it.")],
    caller: Caller,
    person: Person,
    reason: Reason,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Ask that it be entered what came of a disclosure that ended unknown; somebody else agrees (`qaqpa approval`)."""
    what = {"disclosure": disclosure, "result": result.value}

    async def work() -> Told:
        async with opened(config, home) as gateway:
            return told(gateway, await gateway.approvals.ask(caller, at_shell(person), Act.SETTLE, what, reason))

    say_asked(run(work), caller, as_json=as_json)


def evidence(
    disclosure: Annotated[str, typer.Argument(help="The disclosure's id.")],
    file: Annotated[Path, typer.Option("--to", help="New file that the answer is written to.")],
    caller: Caller,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
) -> None:
    """Write the signed answer to a disclosure to a file, byte for byte as it came. It holds personal data."""

    async def work() -> bytes:
        async with opened(config, home) as gateway:
            return await gateway.compliance.evidence(caller, disclosure)

    existing_store(setup(config, home))
    answer = run(work)
    try:
        files.write_new(file, answer)
    except OSError as error:
        raise NotPossible([f"{file}: cannot be written: {error.strerror}"]) from None
    out.print(f"[green]written[/] {len(answer)} bytes to {file}; only its owner may read it", soft_wrap=True)


def archive(
    month: Annotated[str, typer.Argument(help="A month that is over, e.g. 2026-01.")],
    folder: Annotated[Path, typer.Option("--to", help="Folder that the file is written to.")],
    caller: Caller,
    person: Person,
    reason: Reason,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
) -> None:
    """Move the bodies of an old month to a file. They still verify: `qaqpa ledger verify --archives FOLDER`."""
    year, dash, number = month.partition("-")
    if not (dash and year.isdecimal() and len(year) == 4 and number.isdecimal() and 1 <= int(number) <= 12):
        raise InvalidRequest(["month: is written as 2026-01"])

    async def work() -> Archived:
        async with opened(config, home) as gateway:
            return await gateway.compliance.archive(
                caller, int(year) * 100 + int(number), folder, person=person, reason=reason
            )

    found = run(work)
    out.print(f"[green]moved[/] {found.entries} entries to {folder / found.file}", soft_wrap=True)
    out.print(
        f"SHA-256 {found.sha256}; keep the file: the ledger holds only the hashes of what is in it", soft_wrap=True
    )


def accept_clock(
    caller: Caller, person: Person, reason: Reason, config: ConfigFolder = CONFIG, home: Home = HOME
) -> None:
    """Go on from the clock as it is, where it had run ahead before and the ledger now holds a later time."""

    async def work() -> None:
        async with opened(config, home) as gateway:
            await gateway.compliance.accept_clock(caller, person=person, reason=reason)

    run(work)
    out.print("[green]accepted[/]: the ledger goes on from the clock as it is now; that is entered, too")


def witness(
    log: Annotated[list[str], typer.Option(help="Verifier key of a ledger to cosign; may be given several times.")],
    name: Annotated[str, typer.Option(help="The witness's name: a host name of yours and a path, never changed.")],
    state: Annotated[Path, typer.Option(help="Folder of its key and of what it saw.")] = Path("witness"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8443,
    certificate: Annotated[
        Path | None, typer.Option(help="PEM file with certificate chain and key; without it plain HTTP, for a proxy.")
    ] = None,
) -> None:
    """Run a witness for other people's ledgers: it cosigns only what extends what it saw (C2SP tlog-witness)."""
    tls = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            tls.load_cert_chain(certificate)
        except (OSError, ssl.SSLError):
            raise NotConfigured(f"{certificate} is not a PEM file with a certificate and its key") from None
    key = state / "witness.pem"
    if not key.exists():
        create_key(key, name)
    made = Witness(name, key, state, {each.name: [each] for each in map(VerifierKey.parse, log)})
    if tls is None and not _is_own_machine(host):
        err.print(
            f"[yellow]caution[/]: plain HTTP at {escape(host)}, which others reach: give --certificate, or listen on "
            "127.0.0.1 behind a proxy that speaks TLS",
            soft_wrap=True,
        )

    def listening(host: str, port: int) -> None:
        out.print(f"[bold]{made.key}[/]", soft_wrap=True)
        out.print(
            f"listening on {host}:{port}; give that key to the ledgers' operators (ledger.witnesses). Ctrl-C ends this"
        )

    asyncio.run(serve(made, host, port, tls, listening=listening))


def _is_own_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
