"""`qaqpa recall`: ask recipients to stop and destroy, and see that they do."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from typing import Annotated

import typer
from rich.markup import escape

from qaqpa.cli.asked import Told, say_asked, told
from qaqpa.cli.options import (
    CONFIG,
    HOME,
    Caller,
    ConfigFolder,
    Home,
    Json,
    Person,
    at_shell,
    opened,
    read_document,
    run,
)
from qaqpa.cli.render import out, print_json, table
from qaqpa.errors import BY_CODE, Denied, Gap, InvalidRequest, NotPossible, ThirdPartyError
from qaqpa.gateway import Gateway
from qaqpa.gateway.answers import Answer, recall_answer
from qaqpa.gateway.recalls import LISTED
from qaqpa.model.recall import RecallReason, RecallScope, RecallState
from qaqpa.recall.asking import Asking
from qaqpa.recall.records import Recalled

app = typer.Typer(help="Ask recipients to stop and destroy what left (5.5, 7.1(3)).", no_args_is_help=True)

Recall = Annotated[str, typer.Argument(help="The recall's id (`qaqpa recall list`).")]
Due = Annotated[
    datetime | None,
    typer.Option("--due-on", formats=["%Y-%m-%d"], help="Last day for destroying; else recall.due of the recipient."),
]
Contract = Annotated[
    str | None,
    typer.Option(
        help="File with the contract's number, or - for standard input: only where the recipient must be told it."
    ),
]
ByLetter = Annotated[
    bool, typer.Option("--by-letter", help="The recipient was written to by you; only the books are kept here.")
]
Wait = Annotated[float, typer.Option(help="Seconds to wait until the notice has left; 0 leaves it to other gateways.")]

_COLOUR = {
    RecallState.CONFIRMED: "green",
    RecallState.SENT: "green",
    RecallState.LATE: "red",
    RecallState.REFUSED: "red",
    RecallState.BLOCKED: "red",
    RecallState.UNKNOWN: "red",
}
_LEAVING = {RecallState.ASKED, RecallState.SENDING}


def _asking(person: str, due_on: datetime | None, contract: str | None, *, by_letter: bool) -> Asking:
    number = None
    if contract is not None:
        try:
            number = read_document(contract).decode().strip()
        except UnicodeDecodeError:
            raise InvalidRequest(["contract: is no text in UTF-8"]) from None
    day: date | None = None if due_on is None else due_on.date()
    return Asking(caller=None, person=person, due_on=day, contract=number, by_letter=by_letter)


async def waited(gateway: Gateway, asked: Recalled, wait_s: float) -> tuple[Recalled, str]:
    """The recall once its notice has left, or the time is over."""
    try:
        async with asyncio.timeout(wait_s):
            while asked.state in _LEAVING:
                await asyncio.sleep(0.1)
                asked = await gateway.recalls.recalls.find(asked.id)
    except TimeoutError:
        pass
    return asked, gateway.recalls.way(asked)


@app.command()
def start(
    of: Annotated[str, typer.Argument(help="Id of a disclosure, a row of a handover, or a whole handover.")],
    reason: Annotated[RecallReason, typer.Option(help="Why; the recipient is told.")],
    caller: Caller,
    person: Person,
    due_on: Due = None,
    contract: Contract = None,
    by_letter: ByLetter = False,
    wait: Wait = 30.0,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Ask for a recall of what left; the notice goes as soon as policy and the recipient's window let it.

    That of a whole handover takes two persons: somebody else agrees first (`qaqpa approval agree`).
    """
    asking = _asking(person, due_on, contract, by_letter=by_letter)

    async def work() -> tuple[Recalled, str] | Told:
        async with opened(config, home) as gateway:
            if await gateway.recalls.takes_two(caller, of):
                return await _whole(gateway, caller, of, reason, asking)
            return await waited(gateway, await gateway.recalls.start(caller, of, reason, asking), wait)

    _finish(run(work), caller, as_json=as_json)


async def _whole(gateway: Gateway, caller: str, handover: str, reason: RecallReason, asking: Asking) -> Told:
    """Ask another person to agree to the recall of a whole handover."""
    if asking.contract is not None:
        raise InvalidRequest(["contract: is told of one person alone, and this is a whole handover"])
    asked = await gateway.approvals.ask_recall(
        caller, at_shell(asking.person or ""), handover, reason, due_on=asking.due_on, by_letter=asking.by_letter
    )
    return told(gateway, asked)


def _finish(found: tuple[Recalled, str] | Told, caller: str, *, as_json: bool) -> None:
    if isinstance(found, Told):
        say_asked(found, caller, as_json=as_json)
    else:
        end(*found, as_json=as_json)


@app.command()
def confirm(
    recall: Recall,
    caller: Caller,
    person: Person,
    due_on: Due = None,
    contract: Contract = None,
    by_letter: ByLetter = False,
    wait: Wait = 30.0,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Let a proposed recall go, a reminder early, or one that was blocked anew.

    That of a whole handover takes two persons: somebody else agrees first, and a recall is begun that serves it.
    """
    asking = _asking(person, due_on, contract, by_letter=by_letter)

    async def work() -> tuple[Recalled, str] | Told:
        async with opened(config, home) as gateway:
            found = await gateway.recalls.waiting(caller, recall)
            if found.scope is RecallScope.HANDOVER:
                return await _whole(gateway, caller, found.target, found.reason, asking)
            return await waited(gateway, await gateway.recalls.confirm(caller, recall, asking), wait)

    _finish(run(work), caller, as_json=as_json)


@app.command("list")
def list_recalls(
    caller: Caller,
    state: Annotated[list[RecallState] | None, typer.Option(help="Only in this state; may be given again.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Confirmed and cancelled ones, too.")] = False,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """List recalls, the most urgent first. Your look is entered in the ledger."""
    states = tuple(state or (RecallState if every else LISTED))

    async def work() -> list[tuple[Recalled, str]]:
        async with opened(config, home) as gateway:
            found = await gateway.recalls.listed(caller, states)
            return [(each, gateway.recalls.way(each)) for each in found]

    found = run(work)
    if as_json:
        print_json([recall_answer(*each) for each in found])
        return
    if not found:
        out.print("no recall waits for anything")
        return
    for recall, way in found:
        colour = _COLOUR.get(recall.state, "yellow")
        out.print(
            f"{recall.id}  [{colour}]{recall.state.value}[/]  due {recall.due_on}  {recall.recipient}  "
            f"{recall.scope.value} {recall.target}  [dim]{recall.reason.value}, by {way}[/]",
            soft_wrap=True,
        )


@app.command()
def show(
    recall: Recall, caller: Caller, config: ConfigFolder = CONFIG, home: Home = HOME, as_json: Json = False
) -> None:
    """Show a recall: of what, why, until when, how far it has come. Your look is entered in the ledger."""

    async def work() -> tuple[Recalled, str]:
        async with opened(config, home) as gateway:
            found = await gateway.recalls.find(caller, recall)
            return found, gateway.recalls.way(found)

    _print(*run(work), as_json=as_json)


@app.command()
def cancel(recall: Recall, caller: Caller, person: Person, config: ConfigFolder = CONFIG, home: Home = HOME) -> None:
    """Ask no more; only while nothing left."""

    async def work() -> Recalled:
        async with opened(config, home) as gateway:
            return await gateway.recalls.cancel(caller, recall, person=person)

    out.print(f"[green]cancelled[/] {run(work).id}: nothing of it left")


@app.command()
def acknowledge(
    recall: Recall,
    caller: Caller,
    receipt: Annotated[
        str | None, typer.Argument(help="File of the recipient's receipt, or - for standard input.")
    ] = None,
    act: Annotated[str | None, typer.Option(help="Number and date of the act that you have seen instead.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="With --act: it says that it will not.")] = False,
    person: Annotated[str, typer.Option(help="With --act: who has seen it; entered in the ledger.")] = "",
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Take what the recipient says: its receipt, or an act on paper that a person has seen."""
    if (receipt is None) == (act is None):
        raise InvalidRequest(["acknowledge: give the receipt's file, or --act with --person"])
    if receipt is not None and (refused or person):
        raise InvalidRequest(
            ["acknowledge: a receipt says itself what becomes of it; --refused and --person are for --act alone"]
        )

    async def work() -> tuple[Recalled, str]:
        async with opened(config, home) as gateway:
            if receipt is not None:
                done = await gateway.recalls.receipt(caller, recall, read_document(receipt))
            else:
                done = await gateway.recalls.acknowledge(
                    caller, recall, destroyed=not refused, act=act or "", person=person
                )
            return done, gateway.recalls.way(done)

    _print(*run(work), as_json=as_json)


def end(recall: Recalled, way: str, *, as_json: bool) -> None:
    """Say what became of a notice that somebody waited for, and end so."""
    _print(recall, way, as_json=as_json)
    raise typer.Exit(exit_code(recall))


def exit_code(recall: Recalled) -> int:
    """0 it left or is on its way, 1 policy forbids it, 3 policy lacks something, 4 the recipient failed or refused."""
    match recall.state:
        case RecallState.BLOCKED:
            code = str(recall.figures.get("code"))
            known = {"deny": Denied, "gap": Gap}.get(code) or BY_CODE.get(code, NotPossible)
            return known.exit_code
        case RecallState.REFUSED | RecallState.UNKNOWN:
            return ThirdPartyError.exit_code
        case _:
            return 0


def _print(recall: Recalled, way: str, *, as_json: bool) -> None:
    answer: Answer = recall_answer(recall, way)
    if as_json:
        print_json(answer)
        return
    shown = table("recall", recall.id)
    for name, value in answer.items():
        if name != "recall" and value is not None:
            said = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else str(value)
            shown.add_row(name.replace("_", " "), escape(said))
    out.print(shown)
