"""`qaqpa approval`: what takes two persons. One asks by the act's own command, another agrees here, and it is done."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from qaqpa.cli import recall
from qaqpa.cli.asked import WORDS, Told, told, what
from qaqpa.cli.options import CONFIG, HOME, Caller, ConfigFolder, Home, Json, Person, Reason, at_shell, opened, run
from qaqpa.cli.render import out, print_json, table
from qaqpa.gateway import Gateway
from qaqpa.gateway.answers import done_answer
from qaqpa.gateway.approvals import Approval, Done
from qaqpa.ledger.erasure import Erased
from qaqpa.recall.records import Recalled

app = typer.Typer(help="What takes two persons: see what is asked for, agree or refuse.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="APPROVAL", help="The approval's id (`qaqpa approval list --waiting`).")]
_COLOUR = {"asked": "yellow", "agreed": "yellow", "done": "green"}


@app.callback()
def _group() -> None:
    """What one person asks for, and another agrees to."""


@app.command("list")
def list_approvals(
    caller: Caller,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that wait for somebody.")] = False,
    count: Annotated[int, typer.Option(min=1, max=1_000, help="The latest so many.")] = 50,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """List what was asked for, the latest first."""

    async def work() -> list[Told]:
        async with opened(config, home) as gateway:
            found = await gateway.approvals.listed(caller, count, waiting=waiting)
            return [told(gateway, each) for each in found]

    found = run(work)
    if as_json:
        print_json([each.answer for each in found])
        return
    if not found:
        out.print("nothing waits" if waiting else "nothing was asked for yet")
        return
    for each in found:
        state = each.answer["state"]
        out.print(
            f"{each.approval.id}  [{_COLOUR.get(state, 'red')}]{state}[/]  {escape(what(each.approval))}  "
            f"[dim]by {escape(each.approval.asked_by.name)}, until {each.approval.expires}[/]",
            soft_wrap=True,
        )


@app.command()
def show(approval: Id, caller: Caller, config: ConfigFolder = CONFIG, home: Home = HOME, as_json: Json = False) -> None:
    """Show what was asked for: by whom, why, of what, and how far it has come."""

    async def work() -> Told:
        async with opened(config, home) as gateway:
            return told(gateway, await gateway.approvals.find(caller, approval))

    _print(run(work), as_json=as_json)


@app.command()
def agree(
    approval: Id,
    caller: Caller,
    person: Person,
    reason: Reason,
    wait: recall.Wait = 30.0,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Agree to what another person asked for, and have it done."""

    async def work() -> _Carried:
        async with opened(config, home) as gateway:
            done = await gateway.approvals.agree(caller, at_shell(person), approval, reason=reason)
            return await _carried(gateway, *done, wait)

    _end(run(work), as_json=as_json)


@app.command()
def refuse(
    approval: Id,
    caller: Caller,
    person: Person,
    reason: Reason,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Refuse it; whoever asked takes it back so."""

    async def work() -> Told:
        async with opened(config, home) as gateway:
            return told(gateway, await gateway.approvals.refuse(caller, at_shell(person), approval, reason=reason))

    found = run(work)
    if as_json:
        print_json(found.answer)
    else:
        out.print(f"[green]refused[/] {found.approval.id}: {escape(what(found.approval))}", soft_wrap=True)


@app.command("carry-out")
def carry_out(
    approval: Id,
    caller: Caller,
    wait: recall.Wait = 30.0,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Do what was agreed to and cut off; it names the two who wanted it."""

    async def work() -> _Carried:
        async with opened(config, home) as gateway:
            return await _carried(gateway, *await gateway.approvals.carry_out(caller, approval), wait)

    _end(run(work), as_json=as_json)


_Carried = tuple[Told, Done, str]
"""With the way of a recall."""


async def _carried(gateway: Gateway, approval: Approval, done: Done, wait_s: float) -> _Carried:
    """What came of it: of a recall once its notice has left, or the time is over."""
    if isinstance(done, Recalled):
        asked, way = await recall.waited(gateway, done, wait_s)
        return told(gateway, approval), asked, way
    return told(gateway, approval), done, ""


def _end(carried: _Carried, *, as_json: bool) -> None:
    found, done, way = carried
    if as_json:
        print_json(found.answer | {"done": done_answer(done, way)})
        raise typer.Exit(recall.exit_code(done) if isinstance(done, Recalled) else 0)
    match done:
        case Erased():
            out.print(
                f"[green]erased[/] subject {done.subject}, entry {done.index}: no gateway can read about them any more",
                soft_wrap=True,
            )
            out.print(
                f"[yellow]pending[/]: back-ups still hold the key, wrapped in epoch {done.epoch}. "
                "`qaqpa keys rotate` destroys that epoch and puts the erasure into effect",
                soft_wrap=True,
            )
        case Recalled():
            recall.end(done, way, as_json=False)
        case int():
            said = found.approval.what
            out.print(
                f"[green]settled[/] {escape(said['disclosure'])} as {said['result']}; entry {done}", soft_wrap=True
            )


def _print(found: Told, *, as_json: bool) -> None:
    if as_json:
        print_json(found.answer)
        return
    approval, answer = found.approval, found.answer
    shown = table("approval", approval.id)
    shown.add_row("act", WORDS[approval.act])
    for name, value in sorted(approval.what.items()):
        shown.add_row("why it is asked back" if name == "reason" else name.replace("_", " "), escape(value))
    for name in ("reason", "state", "asked_by", "asked_at", "expires", "decided_by", "decided_at", "code"):
        value = answer[name]
        if isinstance(value, dict):
            value = value["person"] if value["system_user"] is None else f"{value['person']} ({value['system_user']})"
        if value is not None:
            shown.add_row(name.replace("_", " "), escape(value))
    out.print(shown)
