"""`qaqpa policy`: what the policy allows, and what a draft of it would change."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import IO, Annotated, Any

import orjson
import typer
from rich.markup import escape

from qaqpa.cli import matrix, reports
from qaqpa.cli.options import (
    CONFIG,
    HOME,
    Archives,
    Caller,
    ConfigFolder,
    Home,
    Json,
    existing_store,
    opened,
    progress,
    run,
    setup,
)
from qaqpa.cli.render import out
from qaqpa.errors import ConfigError, InvalidRequest
from qaqpa.gateway.replay import Found, Tally
from qaqpa.gateway.setup import load_drafted
from qaqpa.ledger.archive import from_folder
from qaqpa.ledger.span import Span
from qaqpa.model.decision import Reason

app = typer.Typer(help="What the policy allows, and what a draft of it would change.", no_args_is_help=True)
app.command("show")(matrix.show)
app.command("transfers")(reports.transfers)
_IN_MEMORY = 2**20


@app.callback()
def _group() -> None:
    """Commands on the policy."""


@app.command()
def diff(
    draft: Annotated[Path, typer.Argument(help="Folder that holds policy/ and recipients/ of the draft.")],
    caller: Caller,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only decisions from this day on.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only decisions up to this day, it included.")
    ] = None,
    archives: Archives = None,
    config: ConfigFolder = CONFIG,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Decide recorded decisions again under a draft and print whose outcome changes. That you looked is entered."""
    span = Span(_day(since), _day(until))
    if span.since is not None and span.until is not None and span.until < span.since:
        raise InvalidRequest(["--until: lies before --since"])
    made = setup(config, home)
    drafted = load_drafted(draft, made.config)
    if drafted.problems:
        raise ConfigError(drafted.problems)
    existing_store(made)
    counts: Counter[tuple[str, ...]] = Counter()
    # However many change, they are kept on disk and not in memory; they hold names and random ids only.
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as listed:

        def tell(found: Found) -> None:
            item = _item(found)
            counts[_kind_of_change(item)] += 1
            listed.write(orjson.dumps(item) + b"\n")

        async def work() -> Tally:
            async with opened(config, home) as gateway:
                with progress("replaying") as advance:
                    archived = None if archives is None else from_folder(archives)
                    return await gateway.compliance.replay(caller, drafted, span, advance, tell, archived)

        tally = run(work)
        listed.seek(0)
        (_print_json if as_json else _print)(drafted.digest, tally, counts, listed)


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def _reasons(reasons: tuple[Reason, ...]) -> list[dict[str, str]]:
    return [{"guard": each.guard, "clause": each.clause, "result": each.result.value} for each in reasons]


def _item(found: Found) -> dict[str, Any]:
    """One decision whose outcome changes: names and random ids, nothing of the person."""
    entry, new = found.entry, found.replayed
    return {
        "index": found.index,
        "disclosure": entry["id"],
        **{name: entry[name] for name in ("subject", "time", "caller", "recipient", "operation", "purpose")},
        "from": new.old.value,
        "to": None if new.new is None else new.new.value,
        "appear": _reasons(new.appear),
        "vanish": _reasons(new.vanish),
        "fields": {
            "added": list(new.added),
            "removed": list(new.removed),
            "changed": list(new.changed),
        },
        "untold": list(new.untold),
    }


def _kind_of_change(item: dict[str, Any]) -> tuple[str, ...]:
    """Route, from → to, why."""
    why = [f"+{each['guard']} ({each['clause']})" for each in item["appear"]]
    why += [f"-{each['guard']} ({each['clause']})" for each in item["vanish"]]
    if item["from"] == item["to"] == "permit":
        fields = item["fields"]
        names = (name for name in ("added", "removed", "changed") if fields[name])
        why += [f"{len(fields[name])} field{'s' if len(fields[name]) != 1 else ''} {name}" for name in names]
    route = f"{item['caller']} → {item['recipient']}: {item['operation']} for {item['purpose']}"
    return route, f"{item['from']} → {item['to']}", ", ".join(why)


def _items(listed: IO[bytes]) -> Iterator[bytes]:
    return (line.rstrip(b"\n") for line in listed)


def _print_json(digest: str, tally: Tally, counts: Counter[tuple[str, ...]], listed: IO[bytes]) -> None:
    head = {
        "draft": digest,
        "decisions": tally.decisions,
        "same": tally.same,
        "changed": tally.changed,
        "cannot_be_told": dict(sorted(tally.untold.items())),
        "cannot_be_replayed": {"erased": tally.erased, "unreadable": tally.unreadable, "in_files": tally.in_files},
        "counts": [
            {"route": route, "change": change, "reason": why, "count": count}
            for (route, change, why), count in counts.most_common()
        ],
    }
    # Written piece by piece: the list may be longer than memory.
    print(orjson.dumps(head).decode()[:-1] + ', "entries": [', end="")  # noqa: T201
    for number, line in enumerate(_items(listed)):
        print(",\n" if number else "\n", line.decode(), sep="", end="")  # noqa: T201
    print("]}")  # noqa: T201


def _print(_digest: str, tally: Tally, counts: Counter[tuple[str, ...]], listed: IO[bytes]) -> None:
    for (route, change, why), count in counts.most_common():
        out.print(f"[bold]{count}[/]  {change}  {escape(route)}", soft_wrap=True)
        out.print(f"    [dim]{escape(why)}[/]", soft_wrap=True)
    if counts:
        out.print("\n[bold]Each of them[/]: index, outcome, disclosure, subject")
    for line in _items(listed):
        _print_item(orjson.loads(line))
    if counts:
        out.print()
    out.print(f"{_word(tally)}  {tally.decisions} decisions replayed, {tally.same} as they were")
    for what, count in sorted(tally.untold.items()):
        out.print(f"[yellow]{count} cannot be told[/]: the ledger does not keep: {escape(what)}", soft_wrap=True)
    if tally.erased:
        out.print(f"[yellow]{tally.erased} cannot be replayed[/]: the people they are about were erased")
    if tally.unreadable:
        out.print(f"[red]{tally.unreadable} cannot be read[/]: run `qaqpa ledger verify`")
    if tally.in_files:
        out.print(
            f"[yellow]{tally.in_files} entries lie in files[/]: decisions among them were not looked at; give "
            "--archives and the folder that holds them",
            soft_wrap=True,
        )
    out.print("[dim]Whether a recipient was suspended is taken as it was found then.[/]")


def _word(tally: Tally) -> str:
    if tally.changed:
        return f"[yellow]{tally.changed} change[/]"
    if tally.same or not (tally.decisions or tally.in_files):
        return "[green]nothing changes[/]"
    return "[yellow]cannot be told[/]"


def _print_item(item: dict[str, Any]) -> None:
    _, change, why = _kind_of_change(item)
    out.print(f"{item['index']}  {change}  {item['disclosure']}  {item['subject']}", soft_wrap=True)
    lines = {"why": why} | {f"fields {name}": ", ".join(paths) for name, paths in item["fields"].items() if paths}
    if item["untold"]:
        lines["cannot be told"] = ", ".join(item["untold"])
    for name, text in lines.items():
        if text:
            out.print(f"    [dim]{name}:[/] {escape(text)}", soft_wrap=True)
