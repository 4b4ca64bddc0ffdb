"""Canonical JSON against a second writer of RFC 8785, written here from the RFC and sharing nothing with the first."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qaqpa.model.canonical import canonical

_SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
EXACT = 2**53 - 1
unhurried = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)


def rfc8785(value: Any) -> str:
    """RFC 8785 §3.2 for values without floats."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + "".join(_SHORT.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in value) + '"'
    if isinstance(value, dict):
        # §3.2.3: names are sorted as arrays of UTF-16 code units.
        names = sorted(value, key=lambda name: [*_utf16(name)])
        return "{" + ",".join(f"{rfc8785(name)}:{rfc8785(value[name])}" for name in names) + "}"
    return "[" + ",".join(rfc8785(each) for each in value) + "]"


def _utf16(text: str) -> list[int]:
    packed = text.encode("utf-16-be")
    return [int.from_bytes(packed[at : at + 2], "big") for at in range(0, len(packed), 2)]


text = st.text(st.characters(exclude_categories=["Cs"])) | st.text('\0\b\t\n\v\f\r\x1b\x1f\x7f"\\/\u2028\ufeffé€қ😂')
keys = st.text(st.characters(max_codepoint=127))
scalars = st.none() | st.booleans() | st.integers(-EXACT, EXACT) | text
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=30)


@unhurried
@given(st.dictionaries(keys, values))
def test_an_independent_writer_writes_the_same_bytes(value: dict[str, Any]) -> None:
    written = canonical(value)
    assert written == rfc8785(value).encode()
    assert json.loads(written) == value


@unhurried
@given(st.dictionaries(keys, values, min_size=2))
def test_the_order_in_which_keys_were_put_in_does_not_matter(value: dict[str, Any]) -> None:
    assert canonical(dict(reversed(value.items()))) == canonical(value)


EXAMPLES = {
    # RFC 8785 §3.2.2, the strings and literals of the sample; its numbers are floats, which entries never hold.
    "the string of the RFC's sample": (
        {"string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f"},
        b'{"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    ),
    "the literals of the RFC's sample": (
        {"literals": [None, True, False], "numbers": []},
        b'{"literals":[null,true,false],"numbers":[]}',
    ),
    # §3.2.3, the names of the sample that are ASCII, with its values.
    "the order of the RFC's names": (
        {"\r": "Carriage Return", "1": "One", "</script>": "Browser Challenge"},
        b'{"\\r":"Carriage Return","1":"One","</script>":"Browser Challenge"}',
    ),
    "the values of the RFC's names": (
        {"a": "Latin Small Letter O With Diaeresis", "b": "\u0080", "c": "\U0001f602", "d": "\ufb33"},
        '{"a":"Latin Small Letter O With Diaeresis","b":"\u0080","c":"\U0001f602","d":"\ufb33"}'.encode(),
    ),
    "DEL, line separators and slashes stay as they are": (
        {"s": "\x7f\u2028\u2029/"},
        '{"s":"\x7f\u2028\u2029/"}'.encode(),
    ),
    "capitals come before small letters, a prefix before what it begins": (
        {"b": 1, "B": 2, "ba": 3, "": 4},
        b'{"":4,"B":2,"b":1,"ba":3}',
    ),
    "a decomposed letter is not composed": ({"s": "e\u0301"}, b'{"s":"e\xcc\x81"}'),
    "the largest exact integers": (
        {"n": [EXACT, -EXACT, 0]},
        b'{"n":[9007199254740991,-9007199254740991,0]}',
    ),
    "a tuple is a list": ({"t": (1, "a")}, b'{"t":[1,"a"]}'),
}


@pytest.mark.parametrize(("value", "bytes_"), EXAMPLES.values(), ids=EXAMPLES.keys())
def test_examples(value: dict[str, Any], bytes_: bytes) -> None:
    assert canonical(value) == bytes_


class Text(str):
    """Not quite a str."""

    __slots__ = ()


REFUSED: dict[str, Any] = {
    "a float": 1.5,
    "a whole float": 1.0,
    "not a number": float("nan"),
    "bytes": b"x",
    "a set": {1},
    "a subclass of str": Text("x"),
    "an object": object(),
    "a key beyond ASCII": {"қ": 1},
    "a key that is a number": {1: 1},
    "a key that is None": {None: 1},
    "an integer that a double cannot hold": EXACT + 1,
    "a negative integer that a double cannot hold": -EXACT - 1,
    "an integer of 65 bits": 2**64,
    "a lone high surrogate": "\ud800",
    "a lone low surrogate": "a\udc00b",
    "surrogates in the wrong order": "\ude02\ud83d",
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("depth", ["at the top", "in a list", "in a mapping"])
def test_what_an_entry_cannot_hold_is_refused_wherever_it_stands(value: Any, depth: str) -> None:
    wrapped = {"at the top": {"v": value}, "in a list": {"v": [1, [value]]}, "in a mapping": {"v": {"w": value}}}[depth]
    with pytest.raises(TypeError):
        canonical(wrapped)
