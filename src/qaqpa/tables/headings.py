"""What columns are called: for each field of the vocabulary, and each fact, its heading in three languages and the
further names under which departments bring it. Headings are compared without regard to case, spaces and punctuation,
ё as е, № as номер.
"""

from __future__ import annotations

import re
import types
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from qaqpa.model.request import ContractFacts
from qaqpa.model.vocabulary import VOCABULARY
from qaqpa.model.words import Words

# One line a field: path | Russian | Kazakh | English | further names, parted by commas.
_TABLE = """
identity.iin | ИИН | ЖСН | IIN | ИИН заёмщика, ИИН должника, ИИН клиента, ИИН заемщика (12 цифр), Қарыз алушының ЖСН
identity.last_name | Фамилия | Тегі | Last name | Фамилия заёмщика, Фамилия должника, Фамилия клиента, Surname
identity.first_name | Имя | Аты | First name | Имя заёмщика, Имя должника, Имя клиента, Есімі, Given name
identity.middle_name | Отчество | Әкесінің аты | Middle name | Отчество заёмщика, Отчество должника, Patronymic
identity.birth_date | Дата рождения | Туған күні | Birth date | Д.р., День рождения, Date of birth
identity.sex | Пол | Жынысы | Sex | Gender
identity.document.kind | Вид документа | Құжат түрі | Document kind | Тип документа
identity.document.number | Номер документа | Құжат нөмірі | Document number | Номер удостоверения, № уд. личности
identity.document.issued_by | Кем выдан | Құжатты берген орган | Issued by | Орган выдачи, Кем выдан документ
identity.document.issued_on | Дата выдачи документа | Құжат берілген күні | Issued on | Дата выдачи удостоверения
identity.document.expires_on | Срок действия документа | Құжаттың жарамдылық мерзімі | Document expires on | Документ до
identity.citizenship | Гражданство | Азаматтығы | Citizenship | Страна гражданства
identity.residency | Резидентство | Резиденттігі | Residency | Признак резидентства
contact.registered_kato | КАТО регистрации | Тіркелген жердің ӘАОЖ коды | Registered KATO |
contact.residence_kato | КАТО проживания | Тұратын жердің ӘАОЖ коды | Residence KATO |
contact.email | E-mail | Электрондық пошта | Email | Электронная почта, Эл. почта, Почта, Email address
contact.mobile | Мобильный телефон | Ұялы телефон | Mobile phone | Телефон, Моб. телефон, Сотовый телефон, Mobile
contact.home_phone | Домашний телефон | Үй телефоны | Home phone | Дом. телефон
contact.work_phone | Рабочий телефон | Жұмыс телефоны | Work phone | Раб. телефон
contact.registered_address | Адрес регистрации | Тіркелген мекенжайы | Registered address | Адрес прописки, Прописка
contact.residence_address | Адрес проживания | Тұратын мекенжайы | Residence address | Фактический адрес
bank.account | Счёт (IBAN) | Банк шоты (IBAN) | Account (IBAN) | IBAN, ИИК, Номер счёта, Счёт, ЖСК
bank.bank_name | Банк | Банк атауы | Bank | Наименование банка, Название банка
employment.employer | Место работы | Жұмыс орны | Employer | Работодатель, Наименование работодателя
employment.employer_bin | БИН работодателя | Жұмыс берушінің БСН | Employer BIN | БИН, БСН
employment.salary | Заработная плата | Жалақы | Salary | Зарплата, Оклад
employment.salary_date | Дата заработной платы | Жалақы күні | Salary date | Дата зарплаты
family.marital_status | Семейное положение | Отбасы жағдайы | Marital status |
property.kind | Вид имущества | Мүлік түрі | Property kind | Имущество
solvency.monthly_income | Доход в месяц | Айлық табысы | Monthly income | Ежемесячный доход
solvency.monthly_obligations | Платежи в месяц | Айлық төлемдері | Monthly obligations | Ежемесячные обязательства
solvency.total_debt | Всего долгов | Барлық қарыздары | Total debt | Общая сумма обязательств
solvency.overdue_debt | Просроченные долги | Мерзімі өткен қарыздары | Overdue debt |
solvency.active_loans | Действующих займов | Қолданыстағы қарыздар саны | Active loans | Количество займов
solvency.dependants | Иждивенцев | Асырауындағылар саны | Dependants | Количество иждивенцев
contract.number | Номер договора | Шарт нөмірі | Contract number | Договор, Номер договора займа, Келісімшарт нөмірі
contract.signed_on | Дата договора | Шарт күні | Contract date | Дата заключения договора, Дата выдачи, Signed on
contract.matures_on | Дата погашения | Шарттың аяқталу күні | Maturity date | Срок погашения, Дата окончания, Matures on
contract.amount | Сумма займа | Қарыз сомасы | Loan amount | Сумма договора, Сумма микрокредита, Сумма кредита
contract.currency | Валюта | Валютасы | Currency | Валюта договора
contract.rate | Ставка вознаграждения | Сыйақы мөлшерлемесі | Interest rate | Ставка, Процентная ставка, Rate
contract.effective_rate | ГЭСВ | СЖТМ | Effective rate | Годовая эффективная ставка, APR
contract.principal | Основной долг | Негізгі борыш | Principal | ОД, Остаток основного долга, Негізгі қарыз
contract.overdue_principal | Просроченный основной долг | Мерзімі өткен негізгі борыш | Overdue principal | Просроченный ОД
contract.interest | Вознаграждение | Сыйақы | Interest | Проценты, Начисленное вознаграждение
contract.overdue_interest | Просроченное вознаграждение | Мерзімі өткен сыйақы | Overdue interest | Просроченные проценты
contract.penalty | Неустойка | Айыппұл | Penalty | Пеня, Штраф, Пеня и штрафы, Өсімпұл
contract.expenses | Расходы | Шығыстар | Expenses | Судебные расходы, Прочие расходы
contract.total_due | Общая задолженность | Жалпы берешек | Total due | Итого задолженность, Сумма долга, Всего к оплате
contract.days_overdue | Дней просрочки | Мерзімі өткен күндер саны | Days overdue | Количество дней просрочки, Просрочка дней
contract.collateral_value | Стоимость обеспечения | Қамтамасыз ету құны | Collateral value | Оценка залога
contract.code | Код договора | Шарт коды | Contract code | Код в бюро
contract.phase | Фаза договора | Шарт кезеңі | Contract phase | Фаза
contract.status | Статус договора | Шарт мәртебесі | Contract status |
contract.funding_type | Вид финансирования | Қаржыландыру түрі | Funding type | Тип финансирования
contract.credit_purpose | Цель займа | Қарыз мақсаты | Credit purpose | Цель кредита
contract.credit_object | Объект кредитования | Кредит беру нысаны | Credit object |
contract.classification | Классификация займа | Қарыз жіктелуі | Classification |
contract.real_payment_date | Дата фактического завершения | Нақты аяқталған күні | Real payment date | Дата фактического погашения
contract.payment_method | Способ погашения | Өтеу тәсілі | Payment method |
contract.payment_period | Периодичность платежей | Төлем кезеңділігі | Payment period |
contract.instalment_amount | Сумма платежа | Төлем сомасы | Instalment amount | Размер взноса
contract.instalment_count | Количество платежей | Төлемдер саны | Instalment count | Число взносов
contract.accounting_date | Отчётная дата | Есептік күн | Accounting date | Дата отчёта
contract.outstanding_instalments | Осталось платежей | Қалған төлемдер | Outstanding instalments |
contract.outstanding_amount | Остаток по договору | Шарт бойынша қалдық сома | Outstanding amount | Остаток
contract.overdue_instalments | Просрочено платежей | Мерзімі өткен төлемдер | Overdue instalments |
contract.overdue_amount | Просрочено по договору | Шарт бойынша мерзімі өткен сома | Overdue amount | Сумма просрочки
contract.fine | Штраф по договору | Шарт бойынша айыппұл | Contract fine |
contract.balance_on | Остатки на дату | Қалдықтар күні | Balances on | Дата остатков
contract.price | Цена уступки | Беру бағасы | Assignment price | Цена требования
contract.court_status | Судебный статус | Сот мәртебесі | Court status | Статус взыскания
contract.last_paid_on | Дата последнего платежа | Соңғы төлем күні | Last payment date | Последний платёж, Last paid on
contract.collateral | Обеспечение | Қамтамасыз ету | Collateral | Залог
offer.sent_at | Оферта отправлена | Оферта жіберілген уақыт | Offer sent at | Время отправки оферты
offer.accepted_at | Оферта принята | Оферта қабылданған уақыт | Offer accepted at | Время акцепта
offer.text_sha256 | SHA-256 оферты | Офертаның SHA-256 | Offer SHA-256 |
device.ip | IP-адрес | IP мекенжайы | IP address | IP
device.cookies | Cookies | Cookie файлдары | Browser cookies | Файлы cookie
device.user_agent | Браузер | Браузері | User agent |
device.accessed_at | Время посещения | Кірген уақыты | Accessed at | Дата и время доступа
device.page | Страница | Беті | Page | Адрес страницы
device.provider_domain | Домен провайдера | Провайдер домені | Provider domain |
related.role | Кем приходится | Кім болып келеді | Related person: role | Степень родства
related.last_name | Фамилия контактного лица | Байланыс тұлғасының тегі | Related person: last name |
related.first_name | Имя контактного лица | Байланыс тұлғасының аты | Related person: first name |
related.mobile | Телефон контактного лица | Байланыс тұлғасының телефоны | Related person: mobile |
facts.contract.number | Заявлено: номер договора | Мәлімделді: шарт нөмірі | Stated: contract number |
facts.contract.days_overdue | Заявлено: дней просрочки | Мәлімделді: мерзімі өткен күндер | Stated: days overdue |
facts.contract.breach_notified_on | Дата уведомления о просрочке | Бұзушылық туралы хабарланған күн | Breach notified on | Дата уведомления
facts.contract.settlement_steps_done | Урегулирование проведено | Реттеу шаралары жүргізілді | Settlement steps done | Меры урегулирования приняты
facts.contract.restructuring_pending | Реструктуризация рассматривается | Қайта құрылымдау қаралуда | Restructuring pending | Заявка на реструктуризацию
facts.contract.collector_clause | Договор допускает коллектора | Шартта коллектор көзделген | Collector clause | Условие о коллекторе
facts.contract.secured_by_home | Обеспечен жильём | Тұрғын үймен қамтамасыз етілген | Secured by home | Залог жилья
facts.contract.remedies_exhausted | Меры взыскания исчерпаны | Өндіріп алу шаралары таусылған | Remedies exhausted |
facts.contract.suit_filed | Иск подан | Талап қою берілген | Suit filed | Подан иск, Исполнительная надпись
facts.contract.cession | Договор уступки | Талап құқығын беру шарты | Cession agreement | Номер договора уступки, Договор цессии
facts.contract.duties_met | Обязательства исполнены | Міндеттемелер орындалды | Duties met | Договор исполнен
report.reference | Номер отчёта | Есеп нөмірі | Report reference |
report.issued_at | Отчёт выдан | Есеп берілген уақыт | Report issued at |
report.score | Скоринговый балл | Скоринг балы | Score |
report.risk_grade | Класс риска | Тәуекел сыныбы | Risk grade |
report.debt_burden | КДН | ҚЖК | Debt burden |
report.monthly_debt | Долг в месяц по отчёту | Есеп бойынша айлық борыш | Report: monthly debt |
report.monthly_income | Доход в месяц по отчёту | Есеп бойынша айлық табыс | Report: monthly income |
report.classification | Классификация заёмщика | Қарыз алушының жіктелуі | Borrower classification |
report.negative | Негативная информация | Теріс ақпарат | Negative information |
report.existing_contracts | Действующих договоров | Қолданыстағы шарттар саны | Existing contracts |
report.terminated_contracts | Завершённых договоров | Аяқталған шарттар саны | Terminated contracts |
report.outstanding | Остаток долга по отчёту | Есеп бойынша қалдық борыш | Report: outstanding |
report.overdue | Просрочено по отчёту | Есеп бойынша мерзімі өткені | Report: overdue |
report.max_days_overdue | Наибольшая просрочка, дней | Ең ұзақ мерзім өткізу, күн | Longest overdue, days |
report.queries_30_days | Запросов за 30 дней | 30 күндегі сұраулар | Queries in 30 days |
report.queries_90_days | Запросов за 90 дней | 90 күндегі сұраулар | Queries in 90 days |
report.queries_120_days | Запросов за 120 дней | 120 күндегі сұраулар | Queries in 120 days |
report.queries_180_days | Запросов за 180 дней | 180 күндегі сұраулар | Queries in 180 days |
report.queries_360_days | Запросов за 360 дней | 360 күндегі сұраулар | Queries in 360 days |
report.receipt | Квитанция | Түбіртек | Receipt |
report.subject.iin | Отчёт: ИИН | Есеп: ЖСН | Report: IIN |
report.subject.last_name | Отчёт: фамилия | Есеп: тегі | Report: last name |
report.subject.first_name | Отчёт: имя | Есеп: аты | Report: first name |
report.subject.middle_name | Отчёт: отчество | Есеп: әкесінің аты | Report: middle name |
report.subject.birth_date | Отчёт: дата рождения | Есеп: туған күні | Report: birth date |
report.subject.sex | Отчёт: пол | Есеп: жынысы | Report: sex |
report.subject.marital_status | Отчёт: семейное положение | Есеп: отбасы жағдайы | Report: marital status |
report.subject.citizenship | Отчёт: гражданство | Есеп: азаматтығы | Report: citizenship |
report.subject.phones | Отчёт: телефоны | Есеп: телефондары | Report: phones |
report.subject.addresses | Отчёт: адреса | Есеп: мекенжайлары | Report: addresses |
report.subject.documents | Отчёт: документы | Есеп: құжаттары | Report: documents |
report.contracts.code | Отчёт: код договора | Есеп: шарт коды | Report contract: code |
report.contracts.number | Отчёт: номер договора | Есеп: шарт нөмірі | Report contract: number |
report.contracts.phase | Отчёт: фаза договора | Есеп: шарт кезеңі | Report contract: phase |
report.contracts.funding | Отчёт: вид финансирования | Есеп: қаржыландыру түрі | Report contract: funding |
report.contracts.purpose | Отчёт: цель кредита | Есеп: кредит мақсаты | Report contract: purpose |
report.contracts.status | Отчёт: статус договора | Есеп: шарт мәртебесі | Report contract: status |
report.contracts.role | Отчёт: роль субъекта | Есеп: субъект рөлі | Report contract: role |
report.contracts.institution | Отчёт: кредитор | Есеп: кредитор атауы | Report contract: institution |
report.contracts.collateral | Отчёт: обеспечение | Есеп: қамтамасыз ету | Report contract: collateral |
report.contracts.currency | Отчёт: валюта | Есеп: валютасы | Report contract: currency |
report.contracts.started_on | Отчёт: дата начала | Есеп: басталған күні | Report contract: started on |
report.contracts.ends_on | Отчёт: дата окончания | Есеп: аяқталатын күні | Report contract: ends on |
report.contracts.repaid_on | Отчёт: дата погашения | Есеп: өтелген күні | Report contract: repaid on |
report.contracts.updated_on | Отчёт: дата обновления | Есеп: жаңартылған күні | Report contract: updated on |
report.contracts.amount | Отчёт: сумма договора | Есеп: шарт сомасы | Report contract: amount |
report.contracts.outstanding | Отчёт: остаток по договору | Есеп: шарт бойынша қалдық | Report contract: outstanding |
report.contracts.overdue | Отчёт: просрочено по договору | Есеп: шарт бойынша мерзімі өткені | Report contract: overdue |
report.contracts.days_overdue | Отчёт: дней просрочки | Есеп: мерзімі өткен күндер | Report contract: days overdue |
report.contracts.max_days_overdue | Отчёт: наибольшая просрочка | Есеп: ең ұзақ мерзім өткізу | Report contract: longest overdue |
report.contracts.fine | Отчёт: штраф | Есеп: айыппұл | Report contract: fine |
report.contracts.penalty | Отчёт: пеня | Есеп: өсімпұл | Report contract: penalty |
report.contracts.payments.year | Календарь: год | Күнтізбе: жыл | Calendar: year |
report.contracts.payments.month | Календарь: месяц | Күнтізбе: ай | Calendar: month |
report.contracts.payments.overdue_days | Календарь: дней просрочки | Күнтізбе: мерзімі өткен күндер | Calendar: days overdue |
report.contracts.payments.overdue | Календарь: просрочено | Күнтізбе: мерзімі өткені | Calendar: overdue |
report.contracts.payments.fine | Календарь: штраф | Күнтізбе: айыппұл | Calendar: fine |
report.contracts.payments.penalty | Календарь: пеня | Күнтізбе: өсімпұл | Calendar: penalty |
report.contributions.paid_on | Взнос: дата | Жарна: күні | Contribution: date |
report.contributions.amount | Взнос: сумма | Жарна: сомасы | Contribution: amount |
report.contributions.employer | Взнос: плательщик | Жарна: төлеуші | Contribution: employer |
report.contributions.employer_bin | Взнос: БИН плательщика | Жарна: төлеушінің БСН | Contribution: employer BIN |
"""  # noqa: E501 - a table

_APART = re.compile(r"[\W_]+")
_UNITS = ("втенге", "тенге", "теңге", "kzt", "тг")
"""Ends of a heading that say no more than that a sum is in tenge."""


@lru_cache(4096)
def same(heading: str) -> str:
    """The form in which headings are compared."""
    text = unicodedata.normalize("NFKC", heading.replace("№", " номер ")).casefold().replace("ё", "е")
    return _APART.sub("", text)


def _rows() -> list[tuple[str, Words, tuple[str, ...]]]:
    rows = []
    for line in _TABLE.strip().splitlines():
        path, ru, kk, en, more = (part.strip() for part in line.split("|"))
        rows.append((path, Words(ru=ru, kk=kk, en=en), tuple(name.strip() for name in more.split(",") if name.strip())))
    return rows


HEADINGS: Mapping[str, Words] = types.MappingProxyType({path: words for path, words, _ in _rows()})
"""The heading of every field of the vocabulary and of every fact (`facts.contract.…`)."""

FACTS = tuple(f"facts.contract.{name}" for name in ContractFacts.model_fields)
"""Paths of the facts that a register may state beside the data."""

READABLE = frozenset(path for path in VOCABULARY if not path.startswith("report.")) | frozenset(FACTS)
"""Paths that a register may bring. What third parties answered (`report.…`) is written, and brought by nobody."""


def _built_in() -> dict[str, str]:
    found: dict[str, str] = {}
    for path, words, more in _rows():
        if path in READABLE:
            for name in (path, f"data.{path}", words.ru, words.kk, words.en, *more):
                if found.setdefault(same(name), path) != path:
                    raise ValueError(f"one heading is given to {found[same(name)]} and to {path}")
    return found


_BUILT_IN: Mapping[str, str] = types.MappingProxyType(_built_in())


def path_of(heading: str, synonyms: Mapping[str, str]) -> str | None:
    """The path that a column so headed holds, or None. `synonyms` are in the form of `same`, and win."""
    name = same(heading)
    found = synonyms.get(name) or _BUILT_IN.get(name)
    if found is not None:
        return found
    for unit in _UNITS:
        if name.endswith(unit) and name != unit:
            bare = name.removesuffix(unit)
            return synonyms.get(bare) or _BUILT_IN.get(bare)
    return None
