"""What people write into the ledger in the open."""

from __future__ import annotations

import re

from qaqpa.errors import InvalidRequest
from qaqpa.model.naming import is_unseen

_LONGEST = 200
_DATE_OR_TIME = re.compile(r"(?<!\d)(?:\d{4}-\d\d-\d\d|\d\d?:\d\d(?::\d\d)?)(?!\d)")


def _is_open_text(text: str) -> bool:
    """Whether it is a line of text that is read as it is written: unseen characters make two names of one, and turn
    what follows round (U+202E).
    """
    return 1 <= len(text) <= _LONGEST and bool(text.strip()) and not any(map(is_unseen, text))


def _holds_a_persons_number(text: str) -> bool:
    """Whether nine digits (a document's number; an IIN has twelve) follow each other, however they are grouped."""
    undated = _DATE_OR_TIME.sub(" then ", text)
    return re.search(r"\d{9}", re.sub(r"(?<=\d)[\W_]+(?=\d)", "", undated)) is not None


def check_open_text(*, instrument: str | None = None, **texts: str) -> None:
    """Who acted and why stand in the open, for ever: no number of a person may be among it.

    Courts and authorities number their acts at length, so an `instrument` may hold what is shorter than an IIN.
    """
    if instrument is not None and (
        not _is_open_text(instrument) or re.search(r"\d{12}", re.sub(r"[\W_]+", "", instrument))
    ):
        raise InvalidRequest(
            ["instrument: 1 to 200 visible characters without an IIN: it stands in the ledger in the open"]
        )
    problems = [
        f"{name}: 1 to 200 visible characters without any long number: it stands in the ledger in the open, "
        "so name no data subject"
        for name, text in texts.items()
        if not _is_open_text(text) or _holds_a_persons_number(text)
    ]
    if problems:
        raise InvalidRequest(problems)
