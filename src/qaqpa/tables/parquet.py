"""Registers in Parquet, batch by batch. The reader (pyarrow) is an extra, and imported only when such a file comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from qaqpa.tables.kind import Line, refused
from qaqpa.tables.limits import Limits

_BATCH = 2048


def parquet_lines(file: BinaryIO, limits: Limits) -> Iterator[Line]:
    """The heading and the rows. Raises RegisterRefused without the extra, for nested columns, and beyond a limit.

    Sizes are those that the file states: a hostile one can state less. Take Parquet only from your own departments.
    """
    try:
        from pyarrow import ArrowException, types  # noqa: PLC0415 - an extra of 55 MB
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415
    except ImportError:
        raise refused("is Parquet, which needs the extra: pip install 'qaqpa[parquet]', or save it as CSV") from None
    try:
        book = ParquetFile(file)
        schema, size = book.schema_arrow, book.metadata
        if any(types.is_nested(column.type) for column in schema):
            raise refused("has nested columns: name each field by its path, such as identity.iin")
        if len(schema) > limits.columns:
            raise refused(f"has more than {limits.columns} columns")
        groups = [size.row_group(at).total_byte_size for at in range(size.num_row_groups)]
        if size.num_rows > limits.rows or sum(groups) > limits.unpacked * 4 or max(groups, default=0) > limits.unpacked:
            raise refused(f"has more than {limits.rows} rows, or is too large once unpacked: save it as CSV")
        yield Line(1, list(schema.names))
        number = 1
        for batch in book.iter_batches(batch_size=_BATCH):
            columns: list[list[Any]] = [column.to_pylist() for column in batch.columns]
            for cells in zip(*columns, strict=True):
                number += 1
                yield Line(number, list(cells))
    except (ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, ValueError) and type(error).__module__ == "qaqpa.errors":
            raise
        # Its own message may repeat a value.
        raise refused("cannot be read as Parquet: it was cut or changed on its way") from None
