"""Identifiers of Kazakhstan (IIN, BIN) with their check digits, and ids of our own.

A wrong check digit is an error; an odd birth date or sex digit is only a warning, because numbers
issued in the 1990s carry some. Messages never repeat the number.
"""

from __future__ import annotations

import os
import re
import time
from datetime import date
from typing import Annotated, NewType

import phonenumbers
import schwifty
from pydantic import AfterValidator, StringConstraints
from schwifty.exceptions import SchwiftyException

SubjectId = NewType("SubjectId", str)
"""Random id that stands for a person in the ledger; says nothing about them."""

ConsentId = NewType("ConsentId", str)
DisclosureId = NewType("DisclosureId", str)
"""Id of a disclosure; the id of its intent entry (UUIDv7)."""
HandoverId = NewType("HandoverId", str)
"""Id of a handover, and of its package; the id of the entry that intends the package (UUIDv7)."""

CallerId = NewType("CallerId", str)
RecipientId = NewType("RecipientId", str)

OUR_ID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""The form of ids of our own."""
_OUR_ID = re.compile(OUR_ID)
_SUBJECT_ID = re.compile(r"[0-9a-f]{32}")
_FIRST_WEIGHTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
_SECOND_WEIGHTS = (3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2)
_E164_KZ = re.compile(r"\+7[67][0-9]{9}")
_CENTURIES = {"1": 1800, "2": 1800, "3": 1900, "4": 1900, "5": 2000, "6": 2000}


def is_our_id(text: str) -> bool:
    """Whether it can be an id of ours; anything else is nobody's, and may hold what a database does not take."""
    return _OUR_ID.fullmatch(text) is not None


def is_subject_id(text: str) -> bool:
    """Whether it can be the random id of a person; an IIN cannot."""
    return _SUBJECT_ID.fullmatch(text) is not None


def check_digit(first_eleven: str) -> int | None:
    """The twelfth digit of an IIN or BIN; None when a number with these eleven is never issued.

    Sum of digits times weights 1..11 mod 11; at 10 again with weights 3..11,1,2; at 10 again: never issued.
    """
    for weights in (_FIRST_WEIGHTS, _SECOND_WEIGHTS):
        digit = sum(int(d) * w for d, w in zip(first_eleven, weights, strict=True)) % 11
        if digit < 10:
            return digit
    return None


def _twelve_digits(text: str, name: str) -> str:
    if len(text) != 12 or not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name} must be 12 digits")
    if check_digit(text[:11]) != int(text[11]):
        raise ValueError(f"{name} has a wrong check digit: look for a typing error")
    return text


def check_iin(text: str) -> str:
    """Return `text` if it is an individual identification number; ValueError says why not."""
    # The fifth digit tells a BIN (4-6) from an IIN, whose fifth digit begins the day of birth (0-3).
    if len(text) == 12 and text[4] in "456":
        raise ValueError("this is a BIN (a legal person's number), not an IIN")
    return _twelve_digits(text, "IIN")


def check_bin(text: str) -> str:
    """Return `text` if it is a business identification number; ValueError says why not."""
    _twelve_digits(text, "BIN")
    if text[4] not in "456":
        raise ValueError("this is an IIN (a person's number), not a BIN")
    return text


def iin_warnings(iin: str) -> tuple[str, ...]:
    """What is odd about a valid IIN: unknown century digit, impossible birth date."""
    century = _CENTURIES.get(iin[6])
    if century is None:
        return ("the century and sex digit is not 1-6",)
    try:
        date(century + int(iin[:2]), int(iin[2:4]), int(iin[4:6]))
    except ValueError:
        return ("the birth date in it does not exist",)
    return ()


def check_iban(text: str) -> str:
    """Return the compact form of a Kazakh IBAN: `KZ`, 2 check digits, 3 digits of bank, 13 characters."""
    try:
        iban = schwifty.IBAN(text)
    except SchwiftyException:
        raise ValueError("account must be an IBAN with right check digits") from None
    if iban.country_code != "KZ" or len(iban.compact) != 20:
        raise ValueError("account must be a Kazakh IBAN of 20 characters")
    return str(iban.compact)


def check_phone(text: str) -> str:
    """Return a phone in E.164 form. A number that cannot be a phone is refused; a landline never is."""
    if _E164_KZ.fullmatch(text):  # as most callers write it; reading it again would change nothing
        return text
    try:
        number = phonenumbers.parse(text, "KZ")
    except phonenumbers.NumberParseException:
        raise ValueError("phone cannot be read: write it as +7 and ten digits") from None
    # is_possible_number also accepts a local number, which without its area code is nobody's in E.164.
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise ValueError("phone has too few or too many digits: write it as +7 and ten digits")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


Iin = Annotated[str, AfterValidator(check_iin)]
Bin = Annotated[str, AfterValidator(check_bin)]
Iban = Annotated[str, AfterValidator(check_iban)]
Phone = Annotated[str, AfterValidator(check_phone)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*([_-][a-z0-9]+)*$", max_length=64)]
"""Name of a caller, recipient, operation or purpose."""


def uuid7() -> str:
    """A time-ordered UUID (RFC 9562 §5.7): 48 bits of milliseconds, 12 of the fraction of one (§6.2, method 3), 62 that
    are random. What this machine made 250 ns later is greater.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | fraction << 64 | int.from_bytes(os.urandom(8), "big")
    value = value & ~(0x3 << 62) | 0x2 << 62
    h = f"{value:032x}"
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
