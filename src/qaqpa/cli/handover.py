"""`qaqpa handover`: whole registers to a recipient, decided row by row and sent as one package."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from qaqpa.cli import handover_proof
from qaqpa.cli.options import CONFIG, HOME, Caller, ConfigFolder, Home, Json, opened, read_document, run
from qaqpa.cli.render import err, out, print_json, speech, table
from qaqpa.errors import InvalidRequest, NotPossible
from qaqpa.gateway import Gateway
from qaqpa.gateway.handover_answers import RESULTS, brief_answer, finding_answer, reason_lines
from qaqpa.handover.handovers import Standing, file_pieces
from qaqpa.handover.orders import Order
from qaqpa.handover.records import Handover
from qaqpa.model.handover import Finding, HandoverState

app = typer.Typer(
    help="Hand whole registers over: every row decided on its own, one sealed package. Begin with `check`.",
    no_args_is_help=True,
)

handover_proof.register(app)

Register = Annotated[Path, typer.Argument(help="The register: CSV, XLSX, JSONL or Parquet.")]
Id = Annotated[str, typer.Argument(help="The handover's id.")]
To = Annotated[str, typer.Option("--to", help="The recipient's id.")]
Operation = Annotated[
    str | None, typer.Option(help="As in a route of the recipient's; may be left out where there is only one.")
]
Purpose = Annotated[str | None, typer.Option(help="The same.")]
Format = Annotated[
    str | None, typer.Option(help="csv, xlsx, jsonl or parquet; else told from the content, and never from the name.")
]
Encoding = Annotated[str | None, typer.Option(help="utf-8, windows-1251 or kz-1048; else told from the content.")]
Receipt = Annotated[bool, typer.Option("--wait-receipt", help="Wait for the recipient's receipt too.")]
_FORMATS = ("csv", "xlsx", "jsonl", "parquet")
_STOPPED_WITHIN_S = 15.0
_SHOWN = 30
"""Rows that are printed where no file is asked for."""


# --- ordering --------------------------------------------------------------------------------------


def _order(gateway: Gateway, caller: str, to: str, operation: str | None, purpose: str | None, **more: Any) -> Order:
    """What is asked, completed from the only route that fits. Raises InvalidRequest, NotPossible."""
    if (given := more.get("format")) is not None and given not in _FORMATS:
        raise InvalidRequest([f"--format {given}: is none of {', '.join(_FORMATS)}"])
    if operation is None or purpose is None:
        fits = [
            asked
            for asked, route in gateway.policy.routes.items()
            if (asked.caller, asked.recipient) == (caller, to)
            and operation in {None, asked.operation}
            and purpose in {None, asked.purpose}
            and (route.operation.package or route.operation.batch)
            and not route.operation.recalls
        ]
        if len(fits) != 1:
            listed = "; ".join(f"--operation {each.operation} --purpose {each.purpose}" for each in fits)
            way = f"{caller} may hand registers over to {to} by: {listed}" if fits else f"no route lets {caller} do so"
            raise NotPossible([f"{way} (`qaqpa policy show --recipient {to}`)"])
        operation, purpose = fits[0].operation, fits[0].purpose
    return Order(caller=caller, recipient=to, operation=operation, purpose=purpose, **more)


@app.command()
def check(
    register: Register,
    to: To,
    operation: Operation = None,
    purpose: Purpose = None,
    caller: Caller = "collections",
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write each row with its reasons here: .xlsx, or .csv.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 if any row may not go.")] = False,
    format_: Annotated[str | None, typer.Option("--format", help="As for send.")] = None,
    encoding: Encoding = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Try a register dry: which rows may go, which may not and why. Nothing is entered, kept or sent."""
    from dataclasses import asdict  # noqa: PLC0415

    from qaqpa.cli.handover_check import checked, print_check  # noqa: PLC0415
    from qaqpa.gateway.handover_answers import Tally  # noqa: PLC0415
    from qaqpa.handover.deciding import Told  # noqa: PLC0415

    async def work() -> tuple[Tally, Told, Path | None]:
        async with opened(config, home) as gateway:
            order = _order(gateway, caller, to, operation, purpose, format=format_, encoding=encoding)
            return await checked(gateway, order, register, out_file)

    tally, told, written = run(work)
    if as_json:
        print_json(
            {
                "kind": told.kind,
                **tally.as_data(),
                "alike": None if told.alike is None else asdict(told.alike),
                "not_read": list(told.unknown),
                "file": None if written is None else str(written),
            }
        )
    else:
        print_check(tally, told, written)
    goes = sum(tally.results.values()) - tally.held
    raise typer.Exit(0 if goes and not (strict and tally.held) else 1)


@app.command()
def send(
    register: Register,
    to: To,
    operation: Operation = None,
    purpose: Purpose = None,
    caller: Caller = "collections",
    strict: Annotated[bool, typer.Option("--strict", help="One row that may not go holds up all.")] = False,
    priority: Annotated[
        int, typer.Option(min=-100, max=100, help="Of two that wait for one recipient the higher goes first.")
    ] = 0,
    follows: Annotated[
        str | None,
        typer.Option(metavar="HANDOVER", help="The assignment whose change of creditor these contracts tell a bureau."),
    ] = None,
    attach: Annotated[
        list[str] | None, typer.Option(metavar="KIND=FILE", help="A document that goes along: PDF, PNG or JPEG.")
    ] = None,
    format_: Annotated[str | None, typer.Option("--format", help="csv, xlsx, jsonl, parquet; else told.")] = None,
    encoding: Encoding = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Take it in only; a gateway that runs goes on.")] = False,
    wait_receipt: Receipt = False,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Hand a register over: rows that may go leave as one package; the rest stay behind and are listed."""
    documents = dict(_document(each) for each in attach or ())
    if len(documents) < len(attach or ()):
        raise InvalidRequest(["--attach: a kind is given twice; put what is of one kind into one PDF"])

    async def work() -> int:
        async with opened(config, home) as gateway:
            order = _order(
                gateway, caller, to, operation, purpose,
                format=format_, encoding=encoding, strict=strict, priority=priority, follows=follows,
            )  # fmt: skip
            taken = await gateway.handovers.order(order, file_pieces(_readable(register)), documents)
            if no_wait:
                return await _told(gateway, caller, taken.id, as_json=as_json)
            return await _waited(gateway, caller, taken.id, receipt=wait_receipt, as_json=as_json)

    raise typer.Exit(run(work))


def _document(text: str) -> tuple[str, Path]:
    kind, separator, path = text.partition("=")
    if not separator or not kind or not path:
        raise InvalidRequest([f"--attach {text}: is written KIND=FILE"])
    return kind, Path(path)


def _readable(path: Path) -> Path:
    try:
        path.open("rb").close()
    except OSError as error:
        raise InvalidRequest([f"{path} cannot be read: {error.strerror}"]) from None
    return path


async def _told(gateway: Gateway, caller: str, handover: str, *, as_json: bool) -> int:
    """Say where it stands."""
    await _say(gateway, caller, await gateway.handovers.find(caller, handover), as_json=as_json)
    return 0


async def _waited(gateway: Gateway, caller: str, handover: str, *, receipt: bool, as_json: bool) -> int:
    from qaqpa.cli.handover_watch import exit_code, watched  # noqa: PLC0415

    standing = await watched(gateway, caller, handover, receipt=receipt, quiet=as_json, most_s=math.inf)
    await _say(gateway, caller, standing, as_json=as_json)
    return exit_code(standing)


async def _say(gateway: Gateway, caller: str, standing: Standing, *, as_json: bool) -> None:
    from qaqpa.cli.handover_watch import answer, print_standing, tallied  # noqa: PLC0415

    if as_json:
        print_json(answer(gateway, standing))
    else:
        print_standing(gateway, standing, await tallied(gateway, caller, standing.handover.id))


# --- looking ---------------------------------------------------------------------------------------


@app.command()
def wait(
    handover: Id,
    caller: Caller = "collections",
    receipt: Annotated[bool, typer.Option("--receipt", help="Until the recipient acknowledges it.")] = False,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Let a handover go on, here where no gateway runs, until it is sent or ended."""

    async def work() -> int:
        async with opened(config, home) as gateway:
            return await _waited(gateway, caller, handover, receipt=receipt, as_json=as_json)

    raise typer.Exit(run(work))


@app.command("list")
def list_handovers(
    caller: Caller = "collections",
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """List handovers: the caller's own, or everybody's for who reviews or operates."""

    async def work() -> list[Handover]:
        async with opened(config, home) as gateway:
            return await gateway.handovers.latest(caller, count)

    found = run(work)
    if as_json:
        print_json([brief_answer(each) for each in found])
        return
    if not found:
        out.print("There is no handover yet: `qaqpa handover check FILE --to RECIPIENT` tries a register dry.")
    for each in found:
        rows = each.figures.get("rows")
        went = "" if rows is None else f", {rows:,} rows"
        out.print(
            f"{each.id}  [bold]{each.state.value}[/]  {each.order.recipient} {each.order.operation}{went}  "
            f"[dim]{each.since:%Y-%m-%d %H:%M} UTC by {each.order.caller}[/]",
            soft_wrap=True,
        )


@app.command()
def show(
    handover: Id,
    caller: Caller = "collections",
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Show where a handover stands: what went, what stayed behind and why, and the receipt."""

    async def work() -> int:
        async with opened(config, home) as gateway:
            return await _told(gateway, caller, handover, as_json=as_json)

    raise typer.Exit(run(work))


@app.command()
def rows(
    handover: Id,
    caller: Caller = "collections",
    out_file: Annotated[Path | None, typer.Option("--out", help="Write all of them here: .xlsx, or .csv.")] = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """List the rows that did not go, or that the recipient rejected, by their numbers in the register."""
    from qaqpa.cli.handover_check import Results  # noqa: PLC0415
    from qaqpa.tables import Result  # noqa: PLC0415

    shown: list[Finding] = []
    count, written = 0, None

    async def work() -> Mapping[str, Any]:
        nonlocal count, written
        async with opened(config, home) as gateway:
            guards = gateway.setup.config.guards
            with Results(out_file) as results:
                async for page in gateway.handovers.every_finding(caller, handover):
                    count += len(page)
                    shown.extend(page if as_json else page[: _SHOWN - len(shown)])
                    for each in page:
                        what = RESULTS[each.result].in_language(speech.language)
                        lines = tuple(reason_lines(each, guards, speech.language))
                        results.put(Result(each.number, "", what, lines))
                written = results.finish()
            return guards

    guards = run(work)
    if written is not None:
        err.print(f"{count:,} rows: {escape(str(written))}", soft_wrap=True)
    if as_json:
        print_json([finding_answer(each, guards, speech.language) for each in shown])
    elif written is None:
        _print_rows(shown, count, guards)


def _print_rows(found: list[Finding], count: int, guards: Mapping[str, Any]) -> None:
    if not found:
        out.print("Every row went, and none was rejected.")
        return
    made = table("row", "result", "reasons")
    for each in found:
        what = RESULTS[each.result].in_language(speech.language)
        made.add_row(str(each.number), what, escape("\n".join(reason_lines(each, guards, speech.language))))
    out.print(made)
    if count > len(found):
        out.print(f"… and {count - len(found):,} more: --out rows.xlsx writes all of them")


# --- acting ----------------------------------------------------------------------------------------


@app.command()
def cancel(
    handover: Id,
    caller: Caller = "collections",
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Cancel a handover that is not sent; one that is being sent is stopped if it still can be.

    Ends with 0 once it is cancelled, 2 where it was too late, 4 while the recipient cannot be asked.
    """
    from qaqpa.cli.handover_watch import cancelled_exit_code, watched  # noqa: PLC0415

    async def work() -> int:
        async with opened(config, home) as gateway:
            asked = await gateway.handovers.cancel(caller, handover)
            if asked.state is HandoverState.SENDING:
                err.print("it is being sent: it is stopped if it still can be ...")
                standing = await watched(
                    gateway, caller, handover, receipt=False, quiet=as_json, most_s=_STOPPED_WITHIN_S
                )
            else:
                standing = await gateway.handovers.find(caller, handover)
            await _say(gateway, caller, standing, as_json=as_json)
            return cancelled_exit_code(standing)

    if code := run(work):
        too_late = "[red]it was not cancelled[/]: it was too late"
        err.print("[yellow]it is not cancelled yet[/]: look again (`qaqpa handover show`)" if code == 4 else too_late)
    raise typer.Exit(code)


@app.command()
def receipt(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The receipt as the recipient sent it, or - for stdin.")],
    sender: Annotated[str, typer.Option("--from", help="The recipient's id.")],
    caller: Caller = "collections",
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Hand a receipt in that came by another way (e-mail, say). It is checked like one that was fetched."""
    data = read_document(file)

    async def work() -> int:
        async with opened(config, home) as gateway:
            taken = await gateway.handovers.receipt(caller, sender, data)
            return await _told(gateway, caller, taken.id, as_json=as_json)

    raise typer.Exit(run(work))
