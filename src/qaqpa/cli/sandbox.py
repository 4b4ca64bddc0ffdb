"""`qaqpa sandbox`: stand-ins of the third parties, for trying and testing. Real TLS servers on this machine."""

from __future__ import annotations

import asyncio
import shlex
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from qaqpa.cli.options import CONFIG, HOME, ConfigFolder, Home, Json, make_private, run, setup
from qaqpa.cli.render import err, out, print_json
from qaqpa.demo import NOT_DONE, consents_for, handovers_for, passphrase, requests_for
from qaqpa.errors import NotFound
from qaqpa.gateway import Setup
from qaqpa.testing.checking import Checked, checker
from qaqpa.testing.faults import Fault
from qaqpa.testing.people import people
from qaqpa.testing.registers import as_csv, debtors
from qaqpa.testing.sandbox import Sandbox

if TYPE_CHECKING:
    from qaqpa.testing.sftp_recipient import SftpRecipient

GROUP = "qaqpa.sandboxes"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sandbox)


def sandbox(
    names: Annotated[
        list[str] | None, typer.Argument(help="Recipients to stand in for; all that are installed when absent.")
    ] = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    fault: Annotated[Fault, typer.Option(help="What every answer suffers from.")] = Fault.NONE,
    attached: Annotated[
        bool,
        typer.Option(
            "--attached",
            help="End when standard input closes, and obey lines on it (`NAME FAULT TIMES`, ...); for programs.",
        ),
    ] = False,
    receipts: Annotated[
        bool, typer.Option("--receipts/--no-receipts", help="Whether packages are acknowledged as they come.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Run stand-ins of the third parties until interrupted, and say how a gateway finds them.

    HOME/sandbox gets their certificates and call logs, shell lines that point a gateway at them (env), and example
    documents of a made-up person (examples). Synthetic people only: never send real data to a stand-in.
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    for name in names or ():
        if name not in found:
            raise NotFound(f"there is no sandbox {name} (there are: {', '.join(sorted(found))})")

    make_private(home)

    async def work() -> None:
        from qaqpa.testing.sftp_recipient import STANDS  # noqa: PLC0415 - asyncssh calls a compiler when imported

        async with AsyncExitStack() as stack:
            running: dict[str, Sandbox[Any]] = {}
            packages: dict[str, SftpRecipient] = {}
            for name in sorted(names or found):
                folder = home / "sandbox" / name
                folder.mkdir(parents=True, exist_ok=True)
                made: Sandbox[Any] = found[name].load()(directory=folder.resolve(), log=folder / "calls.jsonl")
                made.fault = fault
                running[name] = await stack.enter_async_context(made)
                if name in STANDS:
                    packages[name] = await stack.enter_async_context(_sftp(name, folder, acknowledges=receipts))
            environment = {key: value for made in running.values() for key, value in made.environment.items()}
            for takes in packages.values():
                environment |= takes.environment
            environment["QAQPA_PASSPHRASE"] = passphrase(home)
            _write_examples(home / "sandbox" / "examples", setup(config, home), running)
            _announce(home, running, packages, environment, as_json=as_json)
            if attached:
                await _obey(running, packages)
            else:
                await asyncio.Event().wait()

    run(work)


def _sftp(name: str, folder: Path, *, acknowledges: bool) -> SftpRecipient:
    """A recipient's SFTP server, which opens what it gets and, if wanted, acknowledges it at once."""
    from qaqpa.testing.sftp_recipient import STANDS, SftpRecipient  # noqa: PLC0415

    made: SftpRecipient

    def opened(path: Path) -> Checked:
        found = checker(made.pair)(path)
        if acknowledges:
            made.acknowledge(path.name)
        return found

    home = folder.resolve() / "sftp"
    made = SftpRecipient(directory=home, log=folder / "packages.jsonl", variables=STANDS[name], open_package=opened)
    return made


def _write_examples(folder: Path, made: Setup, running: dict[str, Sandbox[Any]]) -> None:
    """A consent, a request and a debtor's file of a person whom every stand-in knows, dated today."""
    now = datetime.now(UTC)
    operator = made.config.gateway.operator
    known = (each for each in people(100, today=now.date()) if all(stand.knows(each.iin) for stand in running.values()))
    person = next(known)
    documents = {
        "consent": next(consents_for(person, "good", operator={"name": operator.name, "bin": operator.bin}, now=now)),
        "request": next(requests_for(person, "good")),
        "handover": handovers_for(0, person, now.date()),
    }
    folder.mkdir(exist_ok=True)
    (folder / "debtors.csv").write_bytes(as_csv(debtors(200, today=now.date())))
    for name, document in documents.items():
        (folder / f"{name}.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def _announce(
    home: Path,
    running: dict[str, Sandbox[Any]],
    packages: dict[str, SftpRecipient],
    environment: dict[str, str],
    *,
    as_json: bool,
) -> None:
    lines = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in environment.items())
    env_file = home / "sandbox" / "env"
    env_file.touch(mode=0o600)
    env_file.write_text(lines)
    if as_json:
        print_json(environment)
        sys.stdout.flush()
        return
    for name, made in running.items():
        also = f" and, for packages, {packages[name].url}" if name in packages else ""
        out.print(f"[green]{name}[/] at {made.url}{also}", soft_wrap=True)
    examples = home / "sandbox" / "examples"
    out.print(f"In another terminal: [bold]. {env_file}[/], then for example")
    out.print(f"  qaqpa consent record {examples}/consent.json --caller loan-scoring", soft_wrap=True)
    out.print(f"  qaqpa disclose {examples}/request.json --caller loan-scoring", soft_wrap=True)
    out.print(f"  qaqpa disclose {examples}/handover.json --caller collections", soft_wrap=True)
    if "demo-collector" in packages:
        out.print(f"  qaqpa handover check {examples}/debtors.csv --to demo-collector", soft_wrap=True)
        out.print(f"  qaqpa handover send {examples}/debtors.csv --to demo-collector --wait-receipt", soft_wrap=True)
    out.print("Ctrl-C ends this.")


async def _obey(running: dict[str, Sandbox[Any]], packages: dict[str, SftpRecipient]) -> None:
    """Faults and receipts on command; standard input ends it, so that a killed parent leaves nothing behind."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := (await reader.readline()).decode().split():
            answer = "ok"
            try:
                match line:
                    case [name, "acknowledge", package, rejected]:
                        packages[name].acknowledge(package, reject=_rejected(rejected))
                    case [name, "opened"]:
                        answer = _opened(packages[name])
                    case [name, fault, times]:
                        running[name].fail_next(Fault(fault), int(times))
                    case _:
                        raise ValueError  # noqa: TRY301 - said below, with what else is no such line
            except (ValueError, KeyError, OSError):
                answer = NOT_DONE
                err.print("a line is: NAME FAULT TIMES, NAME acknowledge PACKAGE ROW=CODE,..., or NAME opened")
            sys.stdout.write(f"{answer}\n")
            sys.stdout.flush()
    finally:
        transport.close()


def _rejected(text: str) -> dict[int, str]:
    """`2=unknown_debtor,5=duplicate`, or `-` for none."""
    pairs = [] if text == "-" else [each.split("=") for each in text.split(",")]
    return {int(row): code for row, code in pairs}


def _opened(recipient: SftpRecipient) -> str:
    """What it made of each package, as JSON in one line."""
    found = {
        name: {"wrong": type(made).__name__} if isinstance(made, Exception) else asdict(made)  # type: ignore[call-overload]
        for name, made in recipient.opened.items()
    }
    return orjson.dumps(found).decode()
