"""Canonical JSON (RFC 8785) for entries: one value, one sequence of bytes.

Entries hold no floats (money is a string), keys are ASCII and integers are exact, so sorting keys by bytes is
sorting them by UTF-16 units as the RFC asks, and numbers need no formatting rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

_LARGEST = 2**53 - 1
_PLAIN = frozenset({str, bool, type(None)})


def canonical(value: Mapping[str, Any]) -> bytes:
    """The canonical bytes of `value`. Raises TypeError for what an entry may not hold."""
    _check(value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _check(value: Any) -> None:
    kind = type(value)
    if kind in _PLAIN:
        return
    if kind is int:
        if abs(value) > _LARGEST:
            raise TypeError("an integer in an entry must be exact in any JSON reader (|n| < 2**53)")
    elif kind is dict:
        for key, inner in value.items():
            if type(key) is not str or not key.isascii():
                raise TypeError("keys of an entry are ASCII")
            if type(inner) not in _PLAIN:
                _check(inner)
    elif kind is list or kind is tuple:
        for inner in value:
            if type(inner) not in _PLAIN:
                _check(inner)
    else:
        raise TypeError(f"an entry cannot hold a value of type {kind.__name__}")
