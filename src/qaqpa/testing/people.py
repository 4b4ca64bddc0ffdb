"""Synthetic people: seeded, valid under the vocabulary, and nobody.

Every field that a caller may hand in is filled, so that a minimiser has something to withhold. The same seed and day
give the same people on every machine. Employers and banks are made up, mail and pages stand in `example.com`, machines
in the ranges of RFC 5737; likeness to a person is chance. It never reads a clock, a file or real data.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from qaqpa.model.identifiers import check_digit

_KAZAKH_MEN = (
    "Нұрлан",
    "Ержан",
    "Әлихан",
    "Дәурен",
    "Бауыржан",
    "Қайрат",
    "Серік",
    "Мұхтар",
    "Өмірзақ",
    "Жәнібек",
    "Ілияс",
)
_KAZAKH_WOMEN = (
    "Әсел",
    "Гүлнәр",
    "Айгүл",
    "Жанар",
    "Мөлдір",
    "Назым",
    "Қарлығаш",
    "Ұлжан",
    "Әйгерім",
    "Іңкәр",
    "Сәуле",
    "Раһима",
)
_KAZAKH_SURNAMES = (
    "Сәрсенбаев",
    "Құдайбергенов",
    "Жүнісов",
    "Әбдірахманов",
    "Оңғарбаев",
    "Ізбасаров",
    "Төлегенов",
    "Мұқанов",
)
_RUSSIAN_MEN = ("Александр", "Дмитрий", "Сергей", "Андрей", "Павел", "Виктор", "Евгений", "Максим")
_RUSSIAN_WOMEN = ("Елена", "Ольга", "Наталья", "Татьяна", "Ирина", "Светлана", "Екатерина", "Марина")
_RUSSIAN_SURNAMES = ("Иванов", "Петров", "Сидоров", "Кузнецов", "Васильев", "Фёдоров", "Михайлов", "Алексеев")
_RUSSIAN_FATHERS = (
    ("Александрович", "Александровна"),
    ("Дмитриевич", "Дмитриевна"),
    ("Сергеевич", "Сергеевна"),
    ("Андреевич", "Андреевна"),
    ("Викторович", "Викторовна"),
    ("Павлович", "Павловна"),
)
_KATO = {
    "Астана": "710000000",
    "Алматы": "750000000",
    "Шымкент": "790000000",
    "Караганда": "351010000",
    "Ақтөбе": "151010000",
    "Павлодар": "551010000",
    "Өскемен": "631010000",
    "Атырау": "231010000",
}
_CITIES = (
    ("010000", "Астана", ("пр. Мәңгілік Ел", "ул. Кенесары", "пр. Тұран")),
    ("050000", "Алматы", ("пр. Абая", "ул. Сатпаева", "ул. Гоголя")),
    ("160000", "Шымкент", ("пр. Тауке хана", "ул. Байтурсынова")),
    ("100000", "Караганда", ("пр. Бухар-Жырау", "ул. Ермекова")),
    ("030000", "Ақтөбе", ("пр. Әбілқайыр хана", "ул. Маресьева")),
    ("140000", "Павлодар", ("ул. Торайгырова", "ул. Лермонтова")),
    ("070000", "Өскемен", ("пр. Қаныш Сәтбаев", "ул. Казахстан")),
    ("060000", "Атырау", ("пр. Азаттық", "ул. Сатпаева")),
)
_BANKS = (("010", "Банк «Тұлпар»"), ("020", "Банк «Самал»"), ("030", "Банк «Дала Капитал»"))
_EMPLOYERS = (
    "ЖШС «Жұлдыз Сервис»",
    "ТОО «Степной ветер»",
    "ЖШС «Көктем Құрылыс»",
    "ТОО «Северный склад»",
    "ЖШС «Үміт Логистика»",
)
_MOBILE_CODES = ("700", "701", "702", "705", "707", "708", "747", "771", "775", "776", "777", "778")
_LANDLINES = ("7172", "7252", "7212", "7132")
_MARITAL = ("single", "married", "divorced", "widowed")
_PROPERTY = ("apartment", "house", "land", "car", "none")
_COLLATERAL = ("none", "car", "gold")
_COURT = ("без суда", "исполнительная надпись нотариуса", "сотқа берілмеген")
_ROLES = ("spouse", "parent", "sibling", "colleague", "friend")
_AGENTS = (
    "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1",
)
_LATIN = {
    "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ж": "zh", "з": "z", "и": "i", "й": "i", "к": "k",
    "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "у": "u", "ф": "f", "х": "kh",
    "ц": "ts", "ч": "ch", "ш": "sh", "щ": "sch", "ъ": "", "ы": "y", "ь": "", "э": "e", "ю": "yu", "я": "ya", "ё": "e",
    "ә": "a", "ғ": "g", "қ": "q", "ң": "n", "ө": "o", "ұ": "u", "ү": "u", "һ": "h", "і": "i",
}  # fmt: skip

_YOUNGEST, _OLDEST = 21, 65


@dataclass(frozen=True, slots=True)
class Person:
    """A made-up person: the IIN, and JSON-ready data in the groups of the vocabulary."""

    iin: str
    data: dict[str, Any] = field(hash=False)


def people(count: int, *, seed: int = 2026, today: date) -> tuple[Person, ...]:
    """`count` different adults of 21 to 65 on `today`. Fewer of the same seed are the first of more."""
    rng = random.Random(seed)  # noqa: S311 - made to be repeated, nothing secret
    taken: set[str] = set()
    found: list[Person] = []
    while len(found) < count:
        person = _person(rng, today)
        if person is not None and person.iin not in taken:
            taken.add(person.iin)
            found.append(person)
    return tuple(found)


def iin_for(birth: date, *, male: bool, serial: int) -> str | None:
    """The IIN for a birth date, sex and serial of 0 to 9999; None when that number is never issued."""
    if not (0 <= serial <= 9999 and 1800 <= birth.year < 2100):
        raise ValueError("serial must be 0 to 9999, and the birth in 1800 to 2099")
    century = (birth.year // 100 - 18) * 2 + (1 if male else 2)
    eleven = f"{birth:%y%m%d}{century}{serial:04d}"
    digit = check_digit(eleven)
    return None if digit is None else f"{eleven}{digit}"


# --- the parts -------------------------------------------------------------------------------------


def _person(rng: random.Random, today: date) -> Person | None:
    male = rng.randrange(2) == 0
    birth = _between(rng, _years_before(today, _OLDEST + 1) + timedelta(days=1), _years_before(today, _YOUNGEST))
    iin = iin_for(birth, male=male, serial=rng.randrange(10_000))
    last, first, middle = _name(rng, male)
    salary = _tiyn(rng, 120_000, 900_000)
    contract = _contract(rng, today)
    data = {
        "identity": {
            "iin": iin,
            "last_name": last,
            "first_name": first,
            "middle_name": middle,
            "birth_date": birth.isoformat(),
            "sex": "male" if male else "female",
            "citizenship": "KZ",
            "residency": "resident",
            "document": _document(rng, birth, today),
        },
        "contact": _contact(rng, first, last),
        "bank": _bank(rng),
        "employment": {
            "employer": rng.choice(_EMPLOYERS),
            "employer_bin": _bin(rng),
            "salary": _sum(salary),
            "salary_date": (today - timedelta(days=rng.randrange(1, 31))).isoformat(),
        },
        "family": {"marital_status": rng.choice(_MARITAL)},
        "property": {"kind": rng.choice(_PROPERTY)},
        "solvency": _solvency(rng, salary),
        "contract": contract,
        "offer": _offer(rng, contract),
        "device": _device(rng, contract["signed_on"]),
        "related": [_related(rng) for _ in range(2)],
    }
    return None if iin is None else Person(iin=iin, data=data)


def _name(rng: random.Random, male: bool) -> tuple[str, str, str]:
    """Last, first and middle name; about two in three are Kazakh."""
    if rng.randrange(3):
        last = rng.choice(_KAZAKH_SURNAMES)
        first = rng.choice(_KAZAKH_MEN if male else _KAZAKH_WOMEN)
        middle = rng.choice(_KAZAKH_MEN) + ("ұлы" if male else "қызы")
    else:
        last = rng.choice(_RUSSIAN_SURNAMES)
        first = rng.choice(_RUSSIAN_MEN if male else _RUSSIAN_WOMEN)
        middle = rng.choice(_RUSSIAN_FATHERS)[0 if male else 1]
    return (last if male else f"{last}а"), first, middle


def _document(rng: random.Random, birth: date, today: date) -> dict[str, str]:
    """An identity card: nine digits, given at 16 or later, good for ten years and still good on `today`."""
    issued = _between(rng, max(_years_before(today, 10) + timedelta(days=1), _years_before(birth, -16)), today)
    return {
        "kind": "identity_card",
        "number": f"0{rng.randrange(10**8):08d}",
        "issued_by": rng.choice(("МВД РК", "ҚР ІІМ")),
        "issued_on": issued.isoformat(),
        "expires_on": _years_before(issued, -10).isoformat(),
    }


def _contact(rng: random.Random, first: str, last: str) -> dict[str, str]:
    mailbox = "".join(_LATIN[letter] for letter in f"{first}{last}".lower())
    found = {
        "email": f"{mailbox}{rng.randrange(1000)}@example.com",
        "mobile": _mobile(rng),
        "home_phone": f"+7{rng.choice(_LANDLINES)}{rng.randrange(200_000, 1_000_000)}",
        "work_phone": f"+7{rng.choice(_LANDLINES)}{rng.randrange(200_000, 1_000_000)}",
        "registered_address": _address(rng),
        "residence_address": _address(rng),
    }
    for home in ("registered", "residence"):
        found[f"{home}_kato"] = next(code for city, code in _KATO.items() if city in found[f"{home}_address"])
    return found


def _mobile(rng: random.Random) -> str:
    return f"+7{rng.choice(_MOBILE_CODES)}{rng.randrange(10**7):07d}"


def _address(rng: random.Random) -> str:
    index, city, streets = rng.choice(_CITIES)
    return f"{index}, г. {city}, {rng.choice(streets)}, д. {rng.randrange(1, 200)}, кв. {rng.randrange(1, 150)}"


def _bank(rng: random.Random) -> dict[str, str]:
    code, name = rng.choice(_BANKS)
    account = f"{code}{rng.randrange(10**13):013d}"
    # ISO 13616: the country's letters as numbers (K = 20, Z = 35) and 00 behind, 98 minus the remainder by 97.
    check = 98 - int(f"{account}203500") % 97
    return {"account": f"KZ{check:02d}{account}", "bank_name": name}


def _bin(rng: random.Random) -> str:
    while True:
        eleven = f"{rng.randrange(5, 26):02d}{rng.randrange(1, 13):02d}40{rng.randrange(10**5):05d}"
        digit = check_digit(eleven)
        if digit is not None:
            return f"{eleven}{digit}"


def _solvency(rng: random.Random, salary: int) -> dict[str, Any]:
    debt = _tiyn(rng, 50_000, 3_000_000)
    return {
        "monthly_income": _sum(salary + _tiyn(rng, 0, 100_000)),
        "monthly_obligations": _sum(salary * rng.randrange(5, 60) // 100),
        "total_debt": _sum(debt),
        "overdue_debt": _sum(debt * rng.randrange(0, 40) // 100),
        "active_loans": rng.randrange(6),
        "dependants": rng.randrange(5),
    }


def _contract(rng: random.Random, today: date) -> dict[str, Any]:
    """A microcredit; its parts add up to `total_due`. One in three is not overdue."""
    signed = today - timedelta(days=rng.randrange(60, 900))
    matures = signed + timedelta(days=30 * rng.randrange(1, 25))
    amount = rng.randrange(5, 101) * 10_000 * 100
    days_overdue = rng.randrange(1, (today - signed).days - 29) if rng.randrange(3) else 0
    owed = amount * rng.randrange(20, 101) // 100
    late = owed * rng.randrange(10, 101) // 100 if days_overdue else 0
    interest = amount * rng.randrange(1, 20) // 100
    parts = {
        "principal": owed - late,
        "overdue_principal": late,
        "interest": interest,
        "overdue_interest": interest * rng.randrange(1, 100) // 100 if days_overdue else 0,
        "penalty": late * min(days_overdue, 90) // 1000,
        "expenses": _tiyn(rng, 0, 5_000) if days_overdue > 90 else 0,
    }
    contract = {
        "number": f"МК-{signed:%y%m}-{rng.randrange(10**6):06d}",
        "signed_on": signed.isoformat(),
        "matures_on": matures.isoformat(),
        "amount": _sum(amount),
        "currency": "KZT",
        "rate": f"{rng.randrange(20, 47)}.{rng.randrange(10)}",
        "effective_rate": f"{rng.randrange(47, 57)}.{rng.randrange(10)}",
        **{name: _sum(part) for name, part in parts.items()},
        "total_due": _sum(sum(parts.values())),
        "days_overdue": days_overdue,
        "last_paid_on": (today - timedelta(days=days_overdue + rng.randrange(29))).isoformat(),
        "collateral": rng.choice(_COLLATERAL),
        "balance_on": (today - timedelta(days=1 + signed.day)).isoformat(),
        "price": _sum(sum(parts.values()) * (10 + signed.day) // 100),
        "court_status": _COURT[signed.day % len(_COURT)],
    }
    count = (matures - signed).days // 30
    return contract | _told_to_bureaus(contract, parts, instalments=count, today=today)


def _told_to_bureaus(
    contract: dict[str, Any], parts: dict[str, int], *, instalments: int, today: date
) -> dict[str, Any]:
    """What a bureau is told of the contract. It follows from the rest, so that nobody else's luck changes."""
    is_late, amount = contract["days_overdue"] > 0, int(contract["amount"].replace(".", ""))
    owed = parts["principal"] + parts["overdue_principal"]
    return {
        "code": f"CC-{contract['number'][3:]}",
        # A contract that is over has a day on which it was; the claim on this one went to somebody else lately.
        "phase": "creditor_changed",
        "real_payment_date": (today - timedelta(days=3)).isoformat(),
        "status": "in_arrears" if is_late else "performing",
        "funding_type": "microcredit",
        "credit_purpose": "consumer",
        "credit_object": "other",
        "classification": "doubtful" if is_late else "standard",
        "payment_method": "transfer",
        "payment_period": "each_month",
        "instalment_amount": _sum(amount // instalments),
        "instalment_count": instalments,
        "accounting_date": (today - timedelta(days=2)).isoformat(),
        "outstanding_instalments": min(instalments, -(-owed * instalments // amount)),
        "outstanding_amount": _sum(owed),
        "overdue_instalments": min(instalments, -(-parts["overdue_principal"] * instalments // amount)),
        "overdue_amount": _sum(parts["overdue_principal"]),
        "fine": _sum(parts["penalty"] // 2),
        "collateral_value": "0.00" if contract["collateral"] == "none" else contract["amount"],
    }


def _offer(rng: random.Random, contract: dict[str, Any]) -> dict[str, str]:
    minute = rng.randrange(10, 30)
    text = f"offer {contract['number']} {contract['amount']}"
    return {
        "sent_at": f"{contract['signed_on']}T10:{minute:02d}:00+05:00",
        "accepted_at": f"{contract['signed_on']}T10:{minute + rng.randrange(1, 30):02d}:00+05:00",
        "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def _device(rng: random.Random, day: str) -> dict[str, str]:
    return {
        "ip": f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randrange(1, 255)}",
        "cookies": f"session={rng.getrandbits(64):016x}",
        "user_agent": rng.choice(_AGENTS),
        "accessed_at": f"{day}T09:{rng.randrange(60):02d}:00+05:00",
        "page": "https://loans.example.com/apply",
        "provider_domain": "isp.example.net",
    }


def _related(rng: random.Random) -> dict[str, str]:
    last, first, _ = _name(rng, rng.randrange(2) == 0)
    return {"role": rng.choice(_ROLES), "last_name": last, "first_name": first, "mobile": _mobile(rng)}


# --- sums and days ---------------------------------------------------------------------------------


def _tiyn(rng: random.Random, low: int, high: int) -> int:
    """A sum between two sums in tenge, in tiyn."""
    return rng.randrange(low * 100, high * 100 + 1)


def _sum(tiyn: int) -> str:
    return f"{tiyn // 100}.{tiyn % 100:02d}"


def _between(rng: random.Random, first: date, last: date) -> date:
    return first + timedelta(days=rng.randrange((last - first).days + 1))


def _years_before(day: date, years: int) -> date:
    """The same day `years` before; 28 February for a 29th that does not exist."""
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return day.replace(year=day.year - years, day=28)
