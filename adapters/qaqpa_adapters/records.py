"""Contracts as credit bureaus take them: the `Records` document, written row by row.

Both bureaus take the same document, so it is written here once. Its shape is public; the ids in it are the bureaus' own
dictionaries, which are not, and come from the recipient's settings: nothing is guessed. It never opens a connection,
and no message of an error here says a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import cast

from lxml import etree

from qaqpa.errors import InvalidRequest
from qaqpa.model.disclosure import Exchange, Extract
from qaqpa.model.vocabulary import Phase
from qaqpa_adapters.dictionaries import ID, Dictionaries, Dictionary

NAMESPACE = "http://www.datapump.cig.com"

NEEDS = (
    "identity.iin",
    "identity.last_name",
    "identity.first_name",
    "identity.birth_date",
    "identity.sex",
    "contract.number",
    "contract.signed_on",
    "contract.matures_on",
    "contract.amount",
    "contract.currency",
    "contract.phase",
    "contract.status",
    "contract.funding_type",
    "contract.credit_purpose",
    "contract.credit_object",
    "contract.classification",
    "contract.payment_method",
    "contract.payment_period",
    "contract.instalment_amount",
    "contract.instalment_count",
    "contract.accounting_date",
    "contract.outstanding_instalments",
    "contract.outstanding_amount",
    "contract.overdue_instalments",
    "contract.overdue_amount",
)
"""Fields without which no contract can be written."""
USES = (
    "identity.middle_name",
    "identity.citizenship",
    "identity.residency",
    "identity.document.kind",
    "identity.document.number",
    "identity.document.issued_on",
    "identity.document.expires_on",
    "contact.mobile",
    "contact.registered_address",
    "contact.registered_kato",
    "contact.residence_address",
    "contact.residence_kato",
    "contract.code",
    "contract.real_payment_date",
    "contract.collateral",
    "contract.collateral_value",
    "contract.fine",
    "contract.penalty",
)
"""Fields that it can carry beside those."""

PHASES: Mapping[str, str] = MappingProxyType({Phase.REPAID: "5", Phase.REPAID_EARLY: "6", Phase.CREDITOR_CHANGED: "8"})
"""Ids of the phases that are public; the date of each must be told. That of an open contract is the dictionary's."""
_IIN, _CARD = "14", "7"
_RESIDENCE, _REGISTRATION = "1", "6"
_IDENTITY_CARD = "identity_card"
_RANK = "1"

# Control characters never belong to a person's data; the rest is what XML 1.0 cannot carry.
_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONEY = re.compile(r"[0-9]{1,16}(\.[0-9]{1,2})?")
_MOST = 10**9
_LONGEST = 500
_LOCAL = timedelta(hours=5)
"""Kazakhstan's offset since 2024-03-01: no date of a contract lies after today there."""

# --- the document ----------------------------------------------------------------------------------

HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<Records xmlns="{NAMESPACE}">\n'.encode()
TAIL = b"</Records>\n"


def codes_of(row: Extract) -> tuple[str, ...]:
    """Under which the bureau knows the contract: its code, which is the same in every upload, and its number.

    Raises InvalidRequest when there is none.
    """
    values = _Row(row, Dictionaries(), 0)
    code, number = values.text("contract.code"), values.needed("contract.number")
    return (number,) if code is None or code == number else (code, number)


def contract(row: int, extract: Extract, exchange: Exchange, dictionaries: Dictionaries) -> bytes:
    """One Contract, which takes the document's namespace once it stands in it.

    Raises InvalidRequest, which names the row and the field.
    """
    values = _Row(extract, dictionaries, row, today=(exchange.at + _LOCAL).date())
    root = etree.Element("Contract")
    if dictionaries.operation is not None:
        root.set("operation", dictionaries.operation)
    _general(etree.SubElement(root, "General"), values)
    _instalment(etree.SubElement(root, "Type"), values)
    return etree.tostring(root, encoding="UTF-8", xml_declaration=False) + b"\n"


class _Row:
    """The values of one contract, each checked as it is taken."""

    def __init__(self, extract: Extract, dictionaries: Dictionaries, number: int, *, today: date | None = None) -> None:
        self._extract, self.dictionaries, self._number, self._today = extract, dictionaries, number, today

    def refused(self, path: str, why: str) -> InvalidRequest:
        where = f"row {self._number}: " if self._number else ""
        return InvalidRequest([f"{where}{path}: {why}"])

    def text(self, path: str) -> str | None:
        """A text; None when absent."""
        found = self._extract.get(path)
        if found is None:
            return None
        if not isinstance(found, str) or not found.strip() or len(found) > _LONGEST or _REFUSED.search(found):
            raise self.refused(path, "give it as text of at most 500 characters, none of them a control character")
        return found

    def needed(self, path: str) -> str:
        """A text that must be there."""
        found = self.text(path)
        if found is None:
            raise self.refused(path, "a bureau takes no contract without it")
        return found

    def day(self, path: str, *, past: bool = False) -> str | None:
        """A day, with `past` none after today; None when absent."""
        found = self.text(path)
        if found is None:
            return None
        read: date | None = None
        with suppress(ValueError):
            read = date.fromisoformat(found) if _DAY.fullmatch(found) else None
        if read is None:
            raise self.refused(path, "write it as YYYY-MM-DD")
        if past and self._today is not None and read > self._today:
            raise self.refused(path, "lies in the future")
        return found

    def needed_day(self, path: str, *, past: bool = False) -> str:
        self.needed(path)
        return cast("str", self.day(path, past=past))

    def money(self, path: str) -> str | None:
        """A sum, never negative; None when absent."""
        found = self._extract.get(path)
        if found is None:
            return None
        if isinstance(found, Decimal):
            found = format(found, "f")
        if not isinstance(found, str) or not _MONEY.fullmatch(found):
            raise self.refused(path, "write it as a number of at most two decimals, not negative: 1500.00")
        return found

    def needed_money(self, path: str) -> str:
        found = self.money(path)
        if found is None:
            raise self.refused(path, "a bureau takes no contract without it")
        return found

    def count(self, path: str) -> str:
        found = self._extract.get(path)
        if found is None:
            raise self.refused(path, "a bureau takes no contract without it")
        if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= _MOST:
            raise self.refused(path, "give it as a whole number, not negative")
        return str(found)

    def id(self, path: str, dictionary: str) -> str | None:
        """Their id of the value at a path; None when that is absent."""
        value = self.text(path)
        return None if value is None else self.translated(path, dictionary, value)

    def needed_id(self, path: str, dictionary: str) -> str:
        return self.translated(path, dictionary, self.needed(path))

    def translated(self, path: str, dictionary: str, value: str) -> str:
        """Their id of `value`, which stands at `path`."""
        known: Dictionary = getattr(self.dictionaries, dictionary)
        found = (value if ID.fullmatch(value) else None) if known == "as_is" else known.get(value)
        if found is None:
            raise self.refused(
                path,
                f"settings.dictionaries has no id for this value under {dictionary}; "
                "correct the value, or add the id from the bureau's papers",
            )
        return found


def _leaf(parent: etree._Element, tag: str, text: str | None = None, /, **attributes: str | None) -> None:
    """An element at the end of `parent`, with those attributes that are there."""
    made = etree.SubElement(parent, tag, {name: value for name, value in attributes.items() if value is not None})
    made.text = text


def _spoken(parent: etree._Element, tag: str, text: str | None, values: _Row) -> None:
    """A text that says which language it is in; nothing when it is absent."""
    if text is not None:
        _leaf(etree.SubElement(parent, tag), "Text", text, language=values.dictionaries.language)


def _general(general: etree._Element, values: _Row) -> None:
    number = values.needed("contract.number")
    _leaf(general, "ContractCode", values.text("contract.code") or number)
    _leaf(general, "AgreementNumber", number)
    _leaf(general, "FundingType", id=values.needed_id("contract.funding_type", "funding_type"))
    _leaf(general, "CreditPurpose2", id=values.needed_id("contract.credit_purpose", "credit_purpose"))
    _leaf(general, "CreditObject", id=values.needed_id("contract.credit_object", "credit_object"))
    phase = values.needed("contract.phase")
    _leaf(general, "ContractPhase", id=PHASES.get(phase) or values.needed_id("contract.phase", "contract_phase"))
    _leaf(general, "ContractStatus", id=values.needed_id("contract.status", "contract_status"))
    _leaf(general, "StartDate", values.needed_day("contract.signed_on"))
    _leaf(general, "EndDate", values.needed_day("contract.matures_on"))
    ended = values.day("contract.real_payment_date", past=True)
    if (ended is not None) != (phase in PHASES):
        raise values.refused(
            "contract.real_payment_date",
            "must be given for a contract that was repaid or assigned, and for no other (see contract.phase)",
        )
    if ended is not None:
        _leaf(general, "RealPaymentDate", ended)
    _leaf(general, "Classification", id=values.needed_id("contract.classification", "classification"))
    _collateral(general, values)
    subject = etree.SubElement(
        etree.SubElement(general, "Subjects"), "Subject", {"roleId": values.dictionaries.subject_role or ""}
    )
    _individual(etree.SubElement(etree.SubElement(subject, "Entity"), "Individual"), values)


def _collateral(general: etree._Element, values: _Row) -> None:
    kind, value = values.id("contract.collateral", "collateral"), values.money("contract.collateral_value")
    if (kind is None) != (value is None):
        raise values.refused("contract.collateral_value", "goes with contract.collateral; 0 where there is none")
    if kind is None:
        return
    how = values.dictionaries.collateral_value_type
    if how is None:
        raise values.refused(
            "contract.collateral_value", "settings.dictionaries lacks collateral_value_type: take it from their papers"
        )
    held = etree.SubElement(etree.SubElement(general, "Collaterals"), "Collateral", {"typeId": kind})
    _leaf(held, "Value", value, currency=values.needed_id("contract.currency", "currency"), typeId=how)


def _individual(individual: etree._Element, values: _Row) -> None:
    _spoken(individual, "FirstName", values.needed("identity.first_name"), values)
    _spoken(individual, "Surname", values.needed("identity.last_name"), values)
    _spoken(individual, "FathersName", values.text("identity.middle_name"), values)  # not everybody has one
    _leaf(individual, "Gender", values.needed_id("identity.sex", "gender"))
    _leaf(individual, "Classification", id=values.dictionaries.subject_classification)
    residency, citizenship = (values.id(f"identity.{each}", each) for each in ("residency", "citizenship"))
    if residency is not None:
        _leaf(individual, "Residency", id=residency)
    _leaf(individual, "DateOfBirth", values.needed_day("identity.birth_date", past=True))
    if citizenship is not None:
        _leaf(individual, "Citizenship", id=citizenship)
    _identifications(etree.SubElement(individual, "Identifications"), values)
    homes = list(_homes(values))
    if homes:
        addresses = etree.SubElement(individual, "Addresses")
        for kind, street, kato in homes:
            attributes = {"typeId": kind} | ({} if kato is None else {"katoId": kato})
            _spoken(etree.SubElement(addresses, "Address", attributes), "StreetName", street, values)
    mobile = values.text("contact.mobile")
    if mobile is not None:
        kind = values.translated("contact.mobile", "communication", "mobile")
        _leaf(etree.SubElement(individual, "Communications"), "Communication", mobile, typeId=kind)


def _identifications(parent: etree._Element, values: _Row) -> None:
    # RegistrationDate is when the lender took the number down, which is at the latest when the contract was signed.
    registered = values.needed_day("contract.signed_on")
    held = etree.SubElement(parent, "Identification", typeId=_IIN, rank=_RANK)
    _leaf(held, "Number", values.needed("identity.iin"))
    _leaf(held, "RegistrationDate", registered)
    number = values.text("identity.document.number")
    issued, expires = (values.day(f"identity.document.{each}_on") for each in ("issued", "expires"))
    if number is None:
        return
    kind = values.needed("identity.document.kind")
    type_id = _CARD if kind == _IDENTITY_CARD else values.needed_id("identity.document.kind", "document")
    held = etree.SubElement(parent, "Identification", typeId=type_id, rank=_RANK)
    _leaf(held, "Number", number)
    _leaf(held, "RegistrationDate", registered)
    if issued is not None:
        _leaf(held, "IssueDate", issued)
    if expires is not None:
        _leaf(held, "ExpirationDate", expires)


def _homes(values: _Row) -> Iterator[tuple[str, str, str | None]]:
    """Type, street and id of the place of each address that is there."""
    for kind, name in ((_RESIDENCE, "residence"), (_REGISTRATION, "registered")):
        street, kato = values.text(f"contact.{name}_address"), values.id(f"contact.{name}_kato", "kato")
        if street is not None:
            yield kind, street, kato
        elif kato is not None:
            raise values.refused(f"contact.{name}_address", f"goes with contact.{name}_kato")


def _instalment(parent: etree._Element, values: _Row) -> None:
    currency = values.needed_id("contract.currency", "currency")
    method, period = (values.needed_id(f"contract.payment_{each}", f"payment_{each}") for each in ("method", "period"))
    instalment = etree.SubElement(parent, "Instalment", paymentMethodId=method, paymentPeriodId=period)
    _leaf(instalment, "TotalAmount", values.needed_money("contract.amount"), currency=currency)
    _leaf(instalment, "InstalmentAmount", values.needed_money("contract.instalment_amount"), currency=currency)
    _leaf(instalment, "InstalmentCount", values.count("contract.instalment_count"))
    accounted = values.needed_day("contract.accounting_date", past=True)
    record = etree.SubElement(etree.SubElement(instalment, "Records"), "Record", accountingDate=accounted)
    _leaf(record, "OutstandingInstalmentCount", values.count("contract.outstanding_instalments"))
    _leaf(record, "OutstandingAmount", values.needed_money("contract.outstanding_amount"), currency=currency)
    _leaf(record, "OverdueInstalmentCount", values.count("contract.overdue_instalments"))
    _leaf(record, "OverdueAmount", values.needed_money("contract.overdue_amount"), currency=currency)
    for tag, path in (("Fine", "contract.fine"), ("Penalty", "contract.penalty")):
        sum_ = values.money(path)
        if sum_ is not None:
            _leaf(record, tag, sum_, currency=currency)
