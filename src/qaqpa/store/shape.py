"""Every table stands with its columns, and holds values of their types only.

What the schema forbids proves nothing: whoever can write to the database can make a table anew. On SQLite a text that
was stored as a blob looks the same when it is read, and no search finds it. The columns of `entries` are looked at
where its rows are read anyway.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Integer, LargeBinary, Table

from qaqpa.errors import VerificationFailed
from qaqpa.store.connection import Connection
from qaqpa.store.schema import entries, metadata

_COLUMNS = (
    "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = current_schema()"
)
_POSTGRES = {"blob": {"bytea"}, "integer": {"integer", "bigint"}, "text": {"text"}}


def require_shape(connection: Connection) -> None:
    """Raises VerificationFailed for a table that is not there or a value that is not of its column's type."""
    if connection.dialect == "sqlite":
        _on_sqlite(connection)
    else:
        _on_postgres(connection)


def _on_sqlite(connection: Connection) -> None:
    made = connection.execute("SELECT type, name FROM sqlite_schema").all()
    for kind, name in made:
        if kind in {"view", "trigger"}:
            raise VerificationFailed(f"the {kind} {name} stands in the database, and Qaqpa makes none")
    for table in metadata.sorted_tables:
        columns = connection.execute("SELECT name FROM pragma_table_info(?)", (table.name,)).all()
        _require_columns(table, {name for (name,) in columns})
        if table is not entries:
            _require_types(connection, table)


def _require_types(connection: Connection, table: Table) -> None:
    wrong = " OR ".join(
        f"{f'{column.name} IS NOT NULL AND ' if column.nullable else ''}typeof({column.name}) <> '{_type(column)}'"
        for column in table.columns
    )
    count = connection.execute(f"SELECT count(*) FROM {table.name} WHERE {wrong}").scalar()  # noqa: S608 - the schema's
    if count:
        raise VerificationFailed(
            f"the table {table.name} was changed: {count} of its rows hold a value that is not of its column's type"
        )


def _on_postgres(connection: Connection) -> None:
    types = {(row[0], row[1]): row[2] for row in connection.execute(_COLUMNS).all()}
    for table in metadata.sorted_tables:
        _require_columns(table, {column for name, column in types if name == table.name})
        for column in table.columns:
            found = types[table.name, column.name]
            if found not in _POSTGRES[_type(column)]:
                raise VerificationFailed(
                    f"the table {table.name} was changed: its column {column.name} is of the type {found} now"
                )


def _require_columns(table: Table, there: set[str]) -> None:
    if gone := [column.name for column in table.columns if column.name not in there]:
        raise VerificationFailed(f"the table {table.name} was changed: {', '.join(gone)} is not in it")


def _type(column: Column[Any]) -> str:
    """What SQLite calls it."""
    if isinstance(column.type, LargeBinary):
        return "blob"
    return "integer" if isinstance(column.type, Integer) else "text"
