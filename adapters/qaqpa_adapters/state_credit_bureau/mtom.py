"""Answers as MTOM packages them (multipart/related with XOP, W3C xop10): taken apart strictly, before any XML is read.

Written here rather than read with a mail parser, which mends what is broken: a package that is cut, doubled or not
closed must be noticed, because half a report reads like a whole one. It opens nothing and resolves no address; an error
names what is wrong in words of ours and nothing that stood in the answer.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from qaqpa.errors import AnswerUnreadable
from qaqpa.model.disclosure import Reply

INCLUDE = "{http://www.w3.org/2004/08/xop/include}Include"
"""`<xop:Include href="cid:…"/>` stands where the bytes of a part belong."""

_MAX_PARTS = 8
_MAX_HEAD = 4096
"""Bytes of a part's header, and characters of the answer's Content-Type."""

_PARAMETER = re.compile(r'[ \t]*;[ \t]*([A-Za-z0-9-]{1,40})=(?:"([^"\\\r\n]*)"|([^\s;",]+))')
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046, 5.1.1
_HEADER = re.compile(r"([A-Za-z0-9-]{1,40}):[ \t]*([\x20-\x7e]*)")
_ID = re.compile(r"<([\x21-\x3b\x3d\x3f-\x7e]{1,250})>")
_CID = re.compile(r"cid:([\x21-\x7e]{1,250})")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_PLAIN = frozenset({"", "7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True)
class Parts:
    """The SOAP envelope of an answer, and what was attached to it."""

    root: bytes = field(repr=False)
    attached: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """By Content-ID without its angle brackets."""

    def part(self, href: str | None) -> bytes | None:
        """The bytes that an Include points at; None when it points elsewhere or at nothing."""
        found = _CID.fullmatch(href or "")
        if found is None:
            return None
        return self.attached.get(_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), found[1]))


def unpack(reply: Reply, unreadable: Callable[[str], AnswerUnreadable]) -> Parts:
    """The package in a reply; what is not multipart is an envelope without attachments.

    Raises AnswerUnreadable, as `unreadable` words it; base64 that is none raises ValueError.
    """
    kind, parameters = _media_type(reply.content_type)
    if kind != "multipart/related":
        return Parts(reply.body)
    if parameters is None or parameters.get("type", "").lower() != "application/xop+xml":
        raise unreadable("multipart, but not XOP")
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise unreadable("multipart without a boundary")
    parts = [_part(part, unreadable) for part in _split(reply.body, boundary.encode("ascii"), unreadable)]
    return _package(parts, parameters.get("start"), unreadable)


@dataclass(frozen=True, slots=True)
class _Part:
    media_type: str
    id: str | None
    content: bytes = field(repr=False)


def _split(body: bytes, boundary: bytes, unreadable: Callable[[str], AnswerUnreadable]) -> list[bytes]:
    """The parts between the delimiters, which must begin the body and close it; nothing may stand around them."""
    delimiter = b"\r\n--" + boundary
    whole = body if body.startswith(b"\r\n") else b"\r\n" + body
    pieces = whole.split(delimiter, _MAX_PARTS + 2)
    if len(pieces) > _MAX_PARTS + 2:
        raise unreadable("too many parts")
    before, *parts, last = pieces
    if before or len(pieces) < 3:
        raise unreadable("multipart of another form")
    if not last.startswith(b"--") or last[2:].strip(b" \t\r\n"):
        raise unreadable("multipart that is not closed")
    return parts


def _part(piece: bytes, unreadable: Callable[[str], AnswerUnreadable]) -> _Part:
    rest = piece.lstrip(b" \t")
    head, blank, content = rest.partition(b"\r\n\r\n")
    if not head.startswith(b"\r\n") or not blank or len(head) > _MAX_HEAD:
        raise unreadable("a part without its header")
    headers: dict[str, str] = {}
    for line in head[2:].split(b"\r\n"):
        found = _HEADER.fullmatch(line.decode("latin-1"))
        if found is None or found[1].lower() in headers:
            raise unreadable("a part with a header of another form")
        headers[found[1].lower()] = found[2].strip()
    encoding = headers.get("content-transfer-encoding", "").lower()
    if encoding == "base64":
        content = base64.b64decode(b"".join(content.split()), validate=True)
    elif encoding not in _PLAIN:
        raise unreadable("a part in an unknown encoding")
    name = headers.get("content-id")
    identity = None if name is None else _ID.fullmatch(name)
    if name is not None and identity is None:
        raise unreadable("a part whose Content-ID is none")
    return _Part(_media_type(headers.get("content-type", ""))[0], None if identity is None else identity[1], content)


def _package(parts: list[_Part], start: str | None, unreadable: Callable[[str], AnswerUnreadable]) -> Parts:
    """The root (named by `start`, else the first) apart from what is attached, each under an id of its own."""
    ids = [part.id for part in parts if part.id is not None]
    if len(set(ids)) != len(ids):
        raise unreadable("two parts with one Content-ID")
    roots = parts[:1] if start is None else [part for part in parts if part.id == start.strip("<>")]
    if len(roots) != 1 or roots[0].media_type != "application/xop+xml":
        raise unreadable("multipart without its root")
    (root,) = roots
    attached = {part.id: part.content for part in parts if part is not root and part.id is not None}
    if len(attached) != len(parts) - 1:
        raise unreadable("a part without a Content-ID")
    return Parts(root.content, attached)


def _media_type(text: str) -> tuple[str, dict[str, str] | None]:
    """The media type in lower case and its parameters; None for parameters that cannot be read or stand twice."""
    kind, _, _ = text.partition(";")
    rest, parameters = text[len(kind) :].rstrip(), dict[str, str]()
    if len(text) > _MAX_HEAD:
        return "", None
    while rest:
        found = _PARAMETER.match(rest)
        if found is None or found[1].lower() in parameters:
            return kind.strip().lower(), None
        parameters[found[1].lower()] = found[2] if found[2] is not None else found[3]
        rest = rest[found.end() :]
    return kind.strip().lower(), parameters
