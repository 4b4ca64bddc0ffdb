"""What `qaqpa doctor` looks at in the database: it reads one snapshot and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from qaqpa.cli.findings import Finding, look, ok, wrong
from qaqpa.cli.handover_findings import of_handovers
from qaqpa.errors import LedgerRolledBack, QaqpaError, StoreUnavailable, VerificationFailed
from qaqpa.gateway import Setup
from qaqpa.gateway.lasting import SOON
from qaqpa.keys import Keyring
from qaqpa.ledger.awaited import standing, waiting
from qaqpa.ledger.checkpoints import Outside, latest_note
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.integrate import integrated, tree_of
from qaqpa.ledger.read import entries_of
from qaqpa.model.recall import RecallState
from qaqpa.model.words import timestamp
from qaqpa.recall.records import counts
from qaqpa.service.tokens import listed
from qaqpa.store import Connection, Store, migrate, store_at

_REVISION = "SELECT version_num FROM alembic_version"
_TREE = "SELECT size, last_time FROM tree WHERE id = 1"
_OPEN = (
    "SELECT state, count(*), min(since) FROM unsettled WHERE disclosure NOT IN (SELECT disclosure FROM awaited) "
    "GROUP BY state"
)
_SUSPENDED = "SELECT recipient, since FROM suspensions ORDER BY recipient"
_META = "SELECT value FROM meta WHERE name = ?"
_HANGS = timedelta(minutes=10)
_LOOKS = 3
"""The file outside may be newer than our view of the database, if a gateway signs just then."""


def of_database(made: Setup, keyring: Keyring | None, now: datetime) -> Iterator[Finding]:
    """Whether it can be reached and is ours, and everything that stands in it."""
    about = "database"
    try:
        store = store_at(made.store_url, made.home)
        where = store.engine.describe()
        if not store.exists():
            yield look(about, f"there is none at {where} yet: the first disclosure, consent or token makes it")
            return
        with store.snapshot() as connection:
            found = [str(row[0]) for row in connection.execute(_REVISION).all()]
            if found != [migrate.HEAD]:
                yield wrong(
                    about, f"its schema is {', '.join(found)} and this version needs {migrate.HEAD}: make a back-up, "
                    "then run `qaqpa migrate` (or install the newer Qaqpa)"
                )  # fmt: skip
                return
            yield _durable(connection, where)
        yield from _checkpoint(made, store)
        with store.snapshot() as connection:
            yield from _inside(made, connection, keyring, now)
    except QaqpaError as error:
        yield wrong(about, str(error))
    except (LookupError, ValueError, TypeError):
        yield wrong(about, "does not hold what it must: run `qaqpa ledger verify`")


def _durable(connection: Connection, where: str) -> Finding:
    if connection.dialect == "postgresql" and connection.execute("SHOW fsync").scalar() != "on":
        return wrong("database", "PostgreSQL runs with fsync = off: no entry is durable; turn it on")
    return ok("database", f"{where}: schema {migrate.HEAD}, commits are on disk before they are reported")


def _checkpoint(made: Setup, store: Store) -> Iterator[Finding]:
    """Whether the ledger extends the checkpoint that is kept outside."""
    about = "checkpoint"
    for attempt in range(_LOOKS):
        try:
            with store.snapshot() as connection:
                yield _closes(made, connection)
        except LedgerRolledBack as error:
            if attempt + 1 == _LOOKS:
                yield wrong(about, str(error))
        except (VerificationFailed, StoreUnavailable) as error:
            yield wrong(about, str(error))
            return
        else:
            return


def _closes(made: Setup, connection: Connection) -> Finding:
    about = "checkpoint"
    tree = tree_of(connection)
    if tree.size and tree.root() != integrated(connection)[1]:
        return wrong(about, "the stored tiles do not make the stored root: run `qaqpa ledger verify`")
    kept = Outside(made.checkpoint_path, made.log_key).require_extended(tree)
    if kept is not None:
        return ok(about, f"the ledger's {tree.size} entries extend the {kept.size} that {made.checkpoint_path} is over")
    if latest_note(connection) is None:
        return ok(about, "none was signed yet")
    return look(
        about, f"there is no {made.checkpoint_path}: right once on a new machine, else ask who removed it; a running "
        "gateway writes it anew"
    )  # fmt: skip


def _inside(made: Setup, connection: Connection, keyring: Keyring | None, now: datetime) -> Iterator[Finding]:
    bound = connection.execute(_META, ("keyring",)).scalar()
    if keyring is not None and bound not in {None, keyring.id}:
        yield wrong("keyring", "it is not the one that this database was kept with: put the right one in its place")
    yield _clock(made, connection, now)
    yield from _unsettled(connection, now)
    yield _jobs(connection, now)
    yield from of_handovers(made, connection, now)
    yield from _recalls(connection)
    if keyring is not None:
        yield from _erasures(connection, keyring)
    yield from _tokens(made, connection, now)
    for recipient, since in connection.execute(_SUSPENDED).all():
        yield look(str(recipient), f"is suspended since {since}: `qaqpa recipient resume` when the cause is mended")


def _clock(made: Setup, connection: Connection, now: datetime) -> Finding:
    last = connection.execute(_TREE).one()[1]
    if not last:
        return ok("clock", "the ledger holds nothing yet to hold it against")
    behind = (datetime.fromisoformat(last) - now).total_seconds()
    if behind > made.config.gateway.ledger.clock_tolerance_s:
        return wrong(
            "clock", f"is {behind:.0f} s behind the ledger's last entry, so nothing is sent: set it right; if it had "
            "run ahead before, `qaqpa ledger accept-clock`"
        )  # fmt: skip
    return ok("clock", f"the ledger's last entry is of {last}")


def _unsettled(connection: Connection, now: datetime) -> Iterator[Finding]:
    about, clean = "disclosures", True
    for state, count, since in connection.execute(_OPEN).all():
        if state == "unknown":
            clean = False
            yield look(
                about, f"nobody knows what came of {count} since {since}: `qaqpa ledger open` lists them; ask the "
                "recipients, then `qaqpa ledger settle`"
            )  # fmt: skip
        elif since < timestamp(now - _HANGS):
            clean = False
            yield look(about, f"{count} without an outcome since {since}: a gateway that opens settles them")
    if clean:
        waits = waiting(connection)
        yield ok(about, "all have their outcome" + (" but those whose answer is awaited" if waits else ""))


def _jobs(connection: Connection, now: datetime) -> Finding:
    found = standing(connection)
    told = f"{found.awaiting} answers are awaited" if found.awaiting else "no answer is awaited"
    if found.confirming:
        told += f"; of {found.confirming} that came, the recipient is still to be told"
    if found.until is not None and found.until < now - _HANGS:
        return wrong(
            "jobs", f"{told}; one should have been given up at {timestamp(found.until)}: no gateway runs jobs; start "
            "`qaqpa serve`"
        )  # fmt: skip
    return ok("jobs", told)


_SEE_TO = {
    RecallState.LATE: "were not obeyed in time: ask the recipients, then `qaqpa recall acknowledge`",
    RecallState.REFUSED: "were refused by the recipient: see why (`qaqpa recall show`), and what the agreement says",
    RecallState.BLOCKED: "could not be sent: `qaqpa recall show` says why; then `qaqpa recall confirm`",
    RecallState.PROPOSED: "are proposed and wait for a person: `qaqpa recall list`, then confirm or cancel them",
    RecallState.UPCOMING: "come soon, because the time to keep the data ends: `qaqpa recall list`",
}


def _recalls(connection: Connection) -> Iterator[Finding]:
    about, found = "recalls", counts(connection)
    waiting = {state: said for state, said in _SEE_TO.items() if found[state]}
    for state, said in waiting.items():
        late = state in {RecallState.LATE, RecallState.REFUSED}
        yield (wrong if late else look)(about, f"{found[state]} {said}")
    if not waiting:
        yield ok(about, "none waits for anybody")


def _erasures(connection: Connection, keyring: Keyring) -> Iterator[Finding]:
    living = min(keyring.epochs)
    pending = sum(1 for each in entries_of(connection, kind=Kind.ERASURE) if each.content["epoch"] >= living)
    if pending:
        yield look("erasures", f"{pending} wait for the keys to be rotated: `qaqpa keys rotate`")
    else:
        yield ok("erasures", "none is pending")


def _tokens(made: Setup, connection: Connection, now: datetime) -> Iterator[Finding]:
    """Of each caller the token that lives longest counts."""
    last: dict[str, str] = {}
    for token in listed(connection):
        if token.revoked is None:
            last[token.caller] = max(token.expires, last.get(token.caller, ""))
    for caller, expires in sorted(last.items()):
        about = f"token of {caller}"
        if caller not in made.config.callers:
            yield look(about, "its caller does not stand in callers.toml any more: `qaqpa token revoke`")
        elif expires <= timestamp(now):
            yield look(about, f"expired on {expires[:10]}: `qaqpa token make {caller}`")
        elif expires <= timestamp(now + SOON):
            yield look(about, f"expires on {expires[:10]}: `qaqpa token make {caller}`, and hand it over in time")
        else:
            yield ok(about, f"until {expires[:10]}")
