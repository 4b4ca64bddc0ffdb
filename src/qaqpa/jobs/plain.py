"""What a job may leave in its database: ids, short words, numbers. Anything else is refused before it is written.

The database of jobs is erased with nobody and kept by no key, so nothing of a person may ever stand in it; that is not
left to the care of whoever writes a workflow.
"""

from __future__ import annotations

import json
import re
from typing import Any

from dbos import Serializer

_WORD = re.compile(r"[A-Za-z][A-Za-z_.-]{0,40}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""A word of ours or a UUID: no IIN, no phone, no account, and no name in Kazakh or Russian."""
_LARGEST = 10**10
"""A number of twelve digits may be an IIN; the seconds of this century are ten digits."""


class PlainSerializer(Serializer):
    """JSON of plain values. Of an exception only its type is written."""

    def serialize(self, data: Any) -> str:
        """Raises TypeError for what is not plain; the sentence does not hold it."""
        return json.dumps(_plain(data), separators=(",", ":"))

    def deserialize(self, serialized_data: str) -> Any:
        """What `serialize` wrote."""
        found = json.loads(serialized_data)
        if isinstance(found, dict) and "args" in found:
            return {"args": tuple(found["args"]), "kwargs": {}}
        if isinstance(found, dict) and "error" in found:
            return RuntimeError(found["error"])
        return found

    def name(self) -> str:
        """Written beside every value."""
        return "qaqpa_plain"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and -_LARGEST < value < _LARGEST:
        return value
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    if isinstance(value, BaseException):
        return {"error": type(value).__name__}
    if isinstance(value, dict) and value.keys() == {"args", "kwargs"} and not value["kwargs"]:
        return {"args": _plain(value["args"])}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    raise TypeError(f"a job keeps ids, words and numbers only, and no {type(value).__name__}")
