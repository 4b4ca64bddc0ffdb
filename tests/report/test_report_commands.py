"""`qaqpa subject report` and `qaqpa policy transfers`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import House
from reports import NOBODY, PERSON, lived, text_of

ABOUT = json.dumps({"subject": {"iin": PERSON.iin}})
REVIEW = ("--caller", "compliance")


async def with_story(house: House) -> None:
    async with house.gateway() as gateway:
        await lived(house, gateway)


async def test_a_report_is_printed_and_written(house: House, tmp_path: Path) -> None:
    await with_story(house)
    ran = await house.cli("subject", "report", "-", *REVIEW, stdin=ABOUT)
    assert ran.code == 0, ran.err
    assert "Report on personal data" in ran.out and "First credit bureau: credit report" in ran.out
    assert PERSON.iin not in ran.out
    pdf = tmp_path / "report.pdf"
    ran = await house.cli(
        "subject", "report", house.write("about.json", ABOUT), *REVIEW, "--pdf", str(pdf), "--language", "kk"
    )
    assert (ran.code, ran.out) == (0, "") and str(pdf) in ran.err
    assert "Дербес деректер туралы есеп" in text_of(pdf.read_bytes(), tmp_path)
    assert pdf.stat().st_mode & 0o777 == 0o600
    ran = await house.cli("subject", "report", "-", *REVIEW, "--json", "--language", "ru", stdin=ABOUT)
    assert ran.json["names"]["fields"]["identity.iin"] == "ИИН"
    assert len(ran.json["disclosures"]) == 3


async def test_of_somebody_unknown_it_says_that_nothing_is_held(house: House) -> None:
    await with_story(house)
    document = json.dumps({"subject": {"iin": NOBODY.iin}})
    ran = await house.cli("subject", "report", "-", *REVIEW, stdin=document)
    assert ran.code == 0 and "Nothing is held" in ran.out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--caller", "collections"), 1, "not_allowed"),
        ((*REVIEW, "--language", "de"), 2, "ru, kk or en"),
        ((*REVIEW, "--pdf", "/nowhere/report.pdf"), 2, "cannot be written"),
    ],
)
async def test_what_cannot_be_done_is_said(house: House, arguments: tuple[str, ...], code: int, says: str) -> None:
    await with_story(house)
    ran = await house.cli("subject", "report", "-", *arguments, stdin=ABOUT)
    assert ran.code == code and says in ran.err, ran.err


async def test_the_register_of_transfers_is_printed_and_written(house: House, tmp_path: Path) -> None:
    await with_story(house)
    ran = await house.cli("policy", "transfers", *REVIEW)
    assert ran.code == 0 and "Register of transfers of personal data" in ran.out, ran.err
    pdf, xlsx = tmp_path / "register.pdf", tmp_path / "register.xlsx"
    ran = await house.cli(
        "policy", "transfers", *REVIEW, "--since", "2026-01-01", "--pdf", str(pdf), "--xlsx", str(xlsx),
        "--language", "ru",
    )  # fmt: skip
    assert (ran.code, ran.out) == (0, ""), ran.err
    assert "Реестр передач персональных данных" in text_of(pdf.read_bytes(), tmp_path)
    assert xlsx.read_bytes().startswith(b"PK")
    ran = await house.cli("policy", "transfers", *REVIEW, "--since", "2026-02-01", "--until", "2026-01-01")
    assert ran.code == 2 and "--until" in ran.err
