"""State credit bureau: hostile or broken packages and answers do no harm, and say nothing of what stood in them."""

from __future__ import annotations

import base64
import time

import pytest
from state_bureau_answers import (
    GOOD,
    IIN,
    PACKAGED,
    PENSION,
    PLAIN,
    REPORT,
    XOP,
    packaged,
    pension_in,
    read,
    report_attached,
    report_in,
)

from qaqpa.errors import AnswerUnreadable
from qaqpa.model.disclosure import Reply

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
BOMB = f'<!DOCTYPE x [<!ENTITY l0 "lol">{LAUGHS}]><x>&l11;</x>'.encode()
FILE = b'<!DOCTYPE x [<!ENTITY l11 SYSTEM "file:///etc/passwd">]><x>&l11;</x>'
ATTACHED = PACKAGED["credit_report"]
INCLUDE = f'<xop:Include xmlns:xop="{XOP}" href="cid:report%40scb"/>'


def is_unreadable(reply: Reply, operation: str = "credit_report") -> None:
    began = time.monotonic()
    with pytest.raises(AnswerUnreadable) as caught:
        read(operation, reply)
    assert time.monotonic() - began < 1
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert IIN not in f"{caught.value!r}"


def changed(old: bytes, new: bytes) -> Reply:
    assert old in ATTACHED.body
    return Reply(200, ATTACHED.body.replace(old, new), ATTACHED.content_type)


# --- packages --------------------------------------------------------------------------------------

BOUNDARY = b"--uuid:5f2d6a1c-77aa"
PACKAGES = {
    "cut before its end": Reply(200, ATTACHED.body[:-2], ATTACHED.content_type),
    "not closed": Reply(200, ATTACHED.body.removesuffix(b"\r\n" + BOUNDARY + b"--"), ATTACHED.content_type),
    "something before it": Reply(200, b"canary" + ATTACHED.body, ATTACHED.content_type),
    "something behind it": Reply(200, ATTACHED.body + b"\r\ncanary", ATTACHED.content_type),
    "another boundary": changed(BOUNDARY, b"--uuid:other"),
    "lines ended by LF alone": changed(b"\r\n", b"\n"),
    "no part": Reply(200, BOUNDARY + b"--", ATTACHED.content_type),
    "only the end": Reply(200, b"--", ATTACHED.content_type),
    "a part without a header": changed(b"Content-Type: application/octet-stream\r\n", b"\r\n"),
    "a folded header": changed(b'; type="text/xml"', b';\r\n type="text/xml"'),
    "a header twice": changed(b"Content-ID: <report@scb>", b"Content-ID: <report@scb>\r\nContent-Id: <x@y>"),
    "a header of 5,000 bytes": changed(b"Content-ID: <report@scb>", b"Content-ID: <report@scb>\r\nX: " + b"x" * 5000),
    "a header outside ASCII": changed(b"Content-ID: <report@scb>", "Content-ID: <қате@scb>".encode()),
    "a Content-ID without brackets": changed(b"<report@scb>", b"report@scb"),
    "one Content-ID for both parts": changed(b"<report@scb>", b"<root.message@cxf.apache.org>"),
    "an unknown encoding": changed(b"binary", b"quoted-printable"),
    "base64 that is none": changed(b"binary", b"base64"),
    "a root that is no XOP": changed(b"application/xop+xml", b"text/html"),
    "too many parts": packaged(report_in(INCLUDE), *((f"p{n}@scb", b"x") for n in range(9))),
    "thousands of parts": packaged(report_in(INCLUDE), *((f"p{n}@scb", b"x") for n in range(20_000))),
    "an attachment that is not there": report_attached(href="cid:other%40scb"),
    "an attachment on the net": report_attached(href="https://127.0.0.1:9/report"),
    "an attachment in a file": report_attached(href="file:///etc/passwd"),
    "no href": report_attached(href=""),
    "an attachment that is itself": report_attached(href="cid:root.message@cxf.apache.org"),
    "an attachment that includes": report_attached(INCLUDE.encode()),
    "two includes": packaged(report_in(INCLUDE * 2), ("report@scb", REPORT.encode())),
    "an entity bomb attached": report_attached(BOMB),
    "a file attached by entity": report_attached(FILE),
    "an entity bomb as root": packaged(BOMB, ("report@scb", REPORT.encode())),
    "nothing attached": report_attached(b""),
    "bytes attached": report_attached(bytes(range(256)) * 10),
    "a part of 20 MB": report_attached(b"<a>" + b"x" * 20_000_000 + b"</a>"),
    "a million deep": report_attached(b"<a>" * 1_000_000),
}
TYPES = {
    "no boundary": packaged(report_in(REPORT), boundary=""),
    "a boundary of 71": packaged(report_in(REPORT), boundary="b" * 71),
    "a boundary with a line end": Reply(200, ATTACHED.body, 'multipart/related; boundary="a\r\nb"'),
    "not XOP": packaged(report_in(REPORT), type="text/html"),
    "no type": Reply(200, ATTACHED.body, 'multipart/related; boundary="uuid:5f2d6a1c-77aa"'),
    "a start that is not there": packaged(report_in(REPORT), start="<other@scb>"),
    "a parameter twice": Reply(200, ATTACHED.body, ATTACHED.content_type + '; boundary="uuid:x"'),
    "an open quote": Reply(200, ATTACHED.body, ATTACHED.content_type + '; x="'),
    "of 10,000 characters": Reply(200, ATTACHED.body, ATTACHED.content_type + f'; x="{"x" * 10_000}"'),
    "mixed": Reply(200, ATTACHED.body, ATTACHED.content_type.replace("related", "mixed")),
    "plain": Reply(200, ATTACHED.body, PLAIN),
    "absent": Reply(200, ATTACHED.body, ""),
}


@pytest.mark.parametrize("what", PACKAGES)
def test_a_broken_package_is_unreadable_and_quickly(what: str) -> None:
    is_unreadable(PACKAGES[what])


@pytest.mark.parametrize("what", TYPES)
def test_a_package_under_a_wrong_content_type_is_unreadable(what: str) -> None:
    is_unreadable(TYPES[what])


def test_every_cut_of_a_package_is_noticed() -> None:
    for length in range(len(ATTACHED.body)):
        with pytest.raises(AnswerUnreadable):
            read("credit_report", Reply(200, ATTACHED.body[:length], ATTACHED.content_type))


def test_what_the_standards_allow_is_read() -> None:
    for good in (
        Reply(200, ATTACHED.body.removeprefix(b"\r\n"), ATTACHED.content_type),
        Reply(200, ATTACHED.body + b"\r\n", ATTACHED.content_type),
        Reply(200, ATTACHED.body, ATTACHED.content_type.replace("multipart/related", "Multipart/Related")),
        Reply(200, ATTACHED.body, ATTACHED.content_type.replace('; start="<root.message@cxf.apache.org>"', "")),
        changed(b"cid:report%40scb", b"cid:report@scb"),
        changed(BOUNDARY + b"\r\n", BOUNDARY + b" \t\r\n"),
        changed(b"Content-Transfer-Encoding: binary\r\n", b""),
        Reply(
            200,
            packaged(report_in(INCLUDE), ("report@scb", base64.encodebytes(REPORT.encode()))).body.replace(
                b"octet-stream\r\nContent-Transfer-Encoding: binary",
                b"octet-stream\r\ncontent-transfer-encoding: Base64",
            ),
            ATTACHED.content_type,
        ),
    ):
        assert read("credit_report", good).about == IIN


# --- documents -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inside",
    [
        "",
        "  ",
        "!!!!",
        "YWJj",
        "&lt;a>",
        REPORT * 2,
        INCLUDE,
        REPORT.replace(f"<iin>{IIN}</iin>", ""),
        REPORT.replace(f"<iin>{IIN}</iin>", "<iin/>"),
        REPORT.replace(f"<iin>{IIN}</iin>", f"<iin>{IIN}</iin>" * 2),
        REPORT.replace("<summary>", "<summary/><summary>"),
        REPORT.replace("2026-11-20T", "вчера"),
        REPORT.replace("61", "шестьдесят"),
        REPORT.replace("Взыскание", "x" * 501),
    ],
)
def test_a_report_of_another_shape_is_unreadable(inside: str) -> None:
    is_unreadable(Reply(200, report_in(inside), PLAIN))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<responseCode>FOUND</responseCode>", ""),
        (f"<requestIin>{IIN}</requestIin>", ""),
        ("25000.00", "много"),
        ("2026-10-05", "2026-13-05"),
        ("<date>2026-10-05</date>", ""),
        ("25000.00", ""),
        ("<responseNumber>", "<responseNumber>1</responseNumber><responseNumber>"),
    ],
)
def test_pension_data_of_another_shape_are_unreadable(old: str, new: str) -> None:
    assert old in PENSION
    is_unreadable(Reply(200, pension_in(PENSION.replace(old, new)), PLAIN), "contributions")


def test_an_answer_to_another_question_is_unreadable() -> None:
    is_unreadable(GOOD["contributions"], "credit_report")
    is_unreadable(GOOD["credit_report"], "contributions")


def test_a_server_error_without_a_fault_is_unsettled() -> None:
    for body in (b"", GOOD["contributions"].body, b"<html/>"):
        is_unreadable(Reply(503, body, PLAIN), "contributions")
