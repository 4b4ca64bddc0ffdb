"""What is wrong with a row: codes that programs rely on, sentences for the department, and never a value."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass

from qaqpa.model.words import Language, Words


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one row. `column` is the heading as it stands in the file; empty for the row as a whole."""

    column: str
    code: str
    message: str


class Wrong(Exception):
    """What a parser raises at a cell; `code` is a key of `MESSAGES`."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


# One line a code: code | Russian | Kazakh | English.
_TABLE = """
account_wrong | Счёт должен быть казахстанским IBAN из 20 знаков с верными контрольными цифрами | Шот бақылау цифрлары дұрыс 20 таңбалы қазақстандық IBAN болуы тиіс | The account must be a Kazakh IBAN of 20 characters with right check digits
amount_ambiguous | Непонятно, отделяет ли знак тысячи или тиыны: запишите сумму как 1234.56 | Белгі мыңды не тиынды бөлетіні түсініксіз: соманы 1234.56 түрінде жазыңыз | It cannot be known whether the mark parts thousands or tiyn: write the sum as 1234.56
amount_fractions | В сумме больше двух знаков после запятой: округлите её | Сомада үтірден кейін екіден көп таңба бар: дөңгелектеңіз | The sum has more than two decimals: round it
amount_negative | Сумма отрицательна: проверьте её | Сома теріс: тексеріңіз | The sum is negative: check it
amount_unreadable | Сумма не читается: запишите её как 1234.56 | Сома оқылмайды: 1234.56 түрінде жазыңыз | The sum cannot be read: write it as 1234.56
bin_wrong | БИН должен состоять из 12 цифр с верной контрольной цифрой | БСН бақылау цифры дұрыс 12 цифрдан тұруы тиіс | The BIN must be 12 digits with a right check digit
choice_unknown | Значение не из известных: для пола пишите М или Ж, для вопроса Да или Нет | Мән белгісіз: жынысына Е немесе Ә, сұраққа Иә немесе Жоқ деп жазыңыз | The value is none of those known: write M or F for sex, yes or no for a question
control_character | В ячейке перевод строки или другой управляющий знак: уберите его | Ұяшықта жол ауыстыру не басқа басқару таңбасы бар: алып тастаңыз | The cell holds a line break or another control character: remove it
currency_unknown | Валюта пишется тремя латинскими буквами: KZT | Валюта үш латын әрпімен жазылады: KZT | A currency is three Latin letters: KZT
date_ambiguous | Непонятно, где день и где месяц: запишите дату как 31.12.2025 | Күні мен айы қайда екені түсініксіз: күнді 31.12.2025 түрінде жазыңыз | It cannot be known which is the day and which the month: write the date as 31.12.2025
date_impossible | Такой даты в календаре нет | Күнтізбеде мұндай күн жоқ | There is no such day in the calendar
date_in_future | Дата ещё не наступила | Бұл күн әлі келген жоқ | The date lies in the future
date_too_old | Дата раньше 1900 года: проверьте её | Күн 1900 жылдан бұрын: тексеріңіз | The date is before the year 1900: check it
date_unreadable | Дата не читается: запишите её как 31.12.2025 | Күн оқылмайды: 31.12.2025 түрінде жазыңыз | The date cannot be read: write it as 31.12.2025
duplicate_subject | Этот человек уже есть в строке {row} | Бұл адам {row}-жолда бар | This person stands already in row {row}
email_malformed | Это не адрес электронной почты | Бұл электрондық пошта мекенжайы емес | This is no e-mail address
formula | В ячейке формула: оставьте в ней только значение | Ұяшықта формула бар: тек мәнін қалдырыңыз | The cell holds a formula: leave only its value
iin_is_bin | Это БИН организации, а не ИИН человека | Бұл адамның ЖСН емес, ұйымның БСН | This is a legal person's BIN, not a person's IIN
iin_shortened | Таблица сократила ИИН до вида 9,0E+11: задайте столбцу текстовый формат и внесите номера заново | Кесте ЖСН-ді 9,0E+11 түріне қысқартқан: бағанға мәтін пішімін қойып, нөмірлерді қайта енгізіңіз | The spreadsheet shortened the IIN to the like of 9.0E+11: format the column as text and enter the numbers anew
iin_wrong | ИИН должен состоять из 12 цифр с верной контрольной цифрой: ищите опечатку | ЖСН бақылау цифры дұрыс 12 цифрдан тұруы тиіс: қатені іздеңіз | The IIN must be 12 digits with a right check digit: look for a typing error
missing_value | Ячейка пуста, а без неё нельзя | Ұяшық бос, ал онсыз болмайды | The cell is empty, and is needed
number_imprecise | Число длиннее, чем таблица хранит точно: внесите его как текст | Сан кесте дәл сақтайтыннан ұзын: оны мәтін ретінде енгізіңіз | The number is longer than a spreadsheet keeps exactly: enter it as text
number_unreadable | Здесь должно быть целое неотрицательное число | Мұнда теріс емес бүтін сан болуы тиіс | A whole number that is not negative is needed here
phone_malformed | Телефон не читается: запишите один номер как +7 и десять цифр | Телефон оқылмайды: бір нөмірді +7 және он цифр түрінде жазыңыз | The phone cannot be read: write one number as +7 and ten digits
rate_unreadable | Ставка не читается: запишите проценты годовых как 46.5 | Мөлшерлеме оқылмайды: жылдық пайызды 46.5 түрінде жазыңыз | The rate cannot be read: write per cent a year as 46.5
sha256_malformed | Здесь должны быть 64 шестнадцатеричных знака | Мұнда он алтылық 64 таңба болуы тиіс | 64 hexadecimal characters are needed here
spreadsheet_error | В ячейке ошибка таблицы вместо значения: исправьте её | Ұяшықта мәннің орнына кесте қатесі бар: түзетіңіз | The cell holds a spreadsheet's error instead of a value: mend it
sum_differs | Части не складываются в общую задолженность | Бөліктері жалпы берешекке тең емес | The parts do not add up to the total due
time_unreadable | Время не читается: запишите его как 2025-12-31T09:30:00+05:00 | Уақыт оқылмайды: 2025-12-31T09:30:00+05:00 түрінде жазыңыз | The time cannot be read: write it as 2025-12-31T09:30:00+05:00
too_long | В ячейке слишком длинный текст | Ұяшықтағы мәтін тым ұзын | The text in the cell is too long
unreadable_line | Строка не читается: в ней должен быть один объект JSON без списков, каждое имя один раз | Жол оқылмайды: онда тізімсіз, әр аты бір рет тұратын бір JSON нысаны болуы тиіс | The line cannot be read: it must be one JSON object without lists, each name once
wrong_number_of_cells | В строке не столько ячеек, сколько в заголовке | Жолдағы ұяшықтар саны тақырыптағыдай емес | The row has not as many cells as the heading
"""  # noqa: E501 - a table


def _messages() -> dict[str, Words]:
    rows = ([part.strip() for part in line.split("|")] for line in _TABLE.strip().splitlines())
    return {code: Words(ru=ru, kk=kk, en=en) for code, ru, kk, en in rows}


MESSAGES: Mapping[str, Words] = types.MappingProxyType(_messages())
"""What each code says, in three languages."""


def problem(column: str, code: str, language: Language, *, row: int | None = None) -> Problem:
    """The problem with its sentence; `row` is the earlier row, where the sentence names one."""
    sentence = MESSAGES[code].in_language(language)
    return Problem(column, code, sentence if row is None else sentence.format(row=row))
