"""Lists that go out as files: read and written by pages, beside the event loop, one at a time for each session.

A file begins to go out when its first piece stands, so whatever is wrong until then is told in words; an XLSX is one
piece of work, and goes out when it is whole. What fails later cuts the connection: half a list never looks like one.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from qaqpa import log
from qaqpa.errors import NotPossible, QaqpaError
from qaqpa.model.words import Language
from qaqpa.tables import Kind, writer
from qaqpa.tables.writing import Record, Writer
from qaqpa.translation import translator

Item = TypeVar("Item")
Pages = AsyncIterator[Iterable[Item]]
KINDS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "jsonl": "application/jsonl",
}
"""Media types by kind."""
PATIENCE_S = 120.0
"""For which a reader may take nothing."""
_PIECE = 2**18
_log = log.get("console")


@dataclass(frozen=True, slots=True)
class Sheet(Generic[Item]):
    """How a list that holds nobody's data is written."""

    name: str
    """Of the file, without its kind."""
    columns: Mapping[str, str]
    """Headings, to be translated, by names."""
    row: Callable[[Item], Record]


class Files:
    """What is going out from one process."""

    def __init__(self) -> None:
        self._under_way: set[str] = set()
        """Sessions."""

    async def answer(
        self,
        session: str,
        language: Language,
        kind: str,
        sheet: Sheet[Item],
        begin: Callable[[], Awaitable[Pages[Item]]],
    ) -> Response:
        """The file; `begin` is asked for its pages once it may be written.

        Raises NotPossible while another goes out to this session and for more rows than an XLSX holds; and as `begin`.
        """
        if session in self._under_way:
            raise NotPossible(["file: another is being written for you: wait until you have it, or cancel it"])
        self._under_way.add(session)

        def over() -> None:
            self._under_way.discard(session)

        try:
            pieces = _written(kind, sheet, await begin(), language)
            first = await anext(pieces, b"")
        except BaseException:
            over()
            raise
        headers = {"content-disposition": f'attachment; filename="{sheet.name}.{kind}"'}
        return _File(first, pieces, over, KINDS[kind], headers)


class _Held:
    """What a writer gave and nobody has taken yet; on a disk where it is much."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_PIECE)  # noqa: SIM115 - closed below

    def write(self, data: bytes) -> None:
        """More of it."""
        self._file.write(data)

    def taken(self) -> Iterator[bytes]:
        """All of it, once."""
        self._file.seek(0)
        while data := self._file.read(_PIECE):
            yield data
        self._file.seek(0)
        self._file.truncate()

    def close(self) -> None:
        """Nothing more comes."""
        self._file.close()


async def _written(
    kind: str, sheet: Sheet[Item], pages: Pages[Item], language: Language
) -> AsyncGenerator[bytes, None]:
    """The file, piece by piece."""
    words = translator("console", language)
    headings = {name: words.gettext(text) for name, text in sheet.columns.items()}
    held, kept = _Held(), nullcontext() if kind != Kind.XLSX else tempfile.TemporaryDirectory(prefix="qaqpa-list-")
    try:
        with kept as folder:
            out = writer(
                Kind(kind), list(sheet.columns), held, language=language, headings=headings,
                folder=None if folder is None else Path(folder),
            )  # fmt: skip
            try:
                async for page in pages:
                    await asyncio.to_thread(_write, out, sheet, page)
                    for data in held.taken():
                        yield data
                await asyncio.to_thread(out.close)
                for data in held.taken():
                    yield data
            finally:
                out.abandon()
    finally:
        held.close()


def _write(out: Writer, sheet: Sheet[Item], page: Iterable[Item]) -> None:
    for each in page:
        out.write(sheet.row(each))


class _File(StreamingResponse):
    """A file on its way."""

    def __init__(
        self,
        first: bytes,
        further: AsyncGenerator[bytes, None],
        over: Callable[[], None],
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        """`over` is told when nothing more of it goes out, whatever the reason."""

        async def pieces() -> AsyncIterator[bytes]:
            yield first
            async for data in further:
                yield data

        super().__init__(pieces(), media_type=media_type, headers=headers)
        self._further = further
        self._over = over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            async with asyncio.timeout(PATIENCE_S):
                await send(message)

        # Whoever returns before the last message has the server cut the connection. Raised on, it would be told as a
        # page, which is too late.
        try:
            async with aclosing(self._further):
                await super().__call__(scope, receive, sending)
        except QaqpaError as error:
            _log.error("file cut off", code=error.code)
        except TimeoutError:
            _log.warning("file cut off", code="reader_too_slow")
        except Exception as error:  # noqa: BLE001 - what an unforeseen exception says may hold a person's data
            _log.error("file cut off: a defect of Qaqpa", error_type=type(error).__name__)
        finally:
            self._over()
