"""What guards say of themselves, in three languages. Words only: conditions stand in `law` and in the configuration."""

from __future__ import annotations

from functools import lru_cache

from qaqpa.model.words import Words

ROUTE = Words(
    en="The policy allows this caller this operation for this purpose.",
    ru="Политика допускает эту операцию для этой цели по запросу этого инициатора.",
    kk="Саясат бұл сұраушыға осы мақсатта осы операцияға жол береді.",
)
NO_ROUTE = Words(
    en="No route lets this caller do this operation at this recipient for this purpose; "
    "`qaqpa check` lists the routes there are.",
    ru="Ни один маршрут не допускает такую операцию этого инициатора у этого получателя для этой цели; "
    "список маршрутов: `qaqpa check`.",
    kk="Бірде-бір бағыт бұл сұраушыға осы алушыда осы мақсатта мұндай операцияға жол бермейді; "
    "бағыттар тізімі: `qaqpa check`.",
)
NO_POLICY = Words(
    en="No version of the policy is in force on this day; add it to policy.toml.",
    ru="На эту дату не действует ни одна редакция политики; внесите её в policy.toml.",
    kk="Бұл күні саясаттың ешбір редакциясы күшінде емес; оны policy.toml файлына енгізіңіз.",
)
ACTIVE = Words(en="The recipient is not suspended.", ru="Получатель не приостановлен.", kk="Алушы тоқтатылмаған.")
SUSPENDED = Words(
    en="The recipient is suspended; `qaqpa recipient list` says why, `resume` lifts it.",
    ru="Передача получателю приостановлена; причина: `qaqpa recipient list`, возобновление: `resume`.",
    kk="Алушыға беру тоқтатылған; себебі: `qaqpa recipient list`, жалғастыру: `resume`.",
)
AGREEMENT = Words(
    en="An agreement with the recipient is in force.",
    ru="Договор с получателем действует.",
    kk="Алушымен шарт күшінде.",
)
NO_AGREEMENT = Words(
    en="No agreement with the recipient is in force on this day; renew it and correct its configuration.",
    ru="На эту дату нет действующего договора с получателем; продлите его и исправьте конфигурацию.",
    kk="Бұл күні алушымен күшіндегі шарт жоқ; оны ұзартып, конфигурацияны түзетіңіз.",
)
AGREEMENT_ENDED = Words(
    en="The agreement has ended; the duty to protect the data until they are destroyed goes on (5.5).",
    ru="Договор прекращён; обязанность защищать данные до их уничтожения сохраняется (5.5).",
    kk="Шарт аяқталған; деректерді жойылғанға дейін қорғау міндеті сақталады (5.5).",
)
WITHIN_BORDERS = Words(
    en="The transfer stays in the country, or the consent lets it cross the border.",
    ru="Передача не выходит за границу либо согласие её допускает.",
    kk="Беру ел ішінде қалады немесе келісім трансшекаралық беруге жол береді.",
)
COVERED = Words(
    en="A consent in force covers purpose, recipient, fields and border.",
    ru="Действующее согласие охватывает цель, получателя, поля и границу.",
    kk="Күшіндегі келісім мақсатты, алушыны, өрістерді және шекараны қамтиды.",
)
PENDING = Words(
    en="The person has asked to withdraw this consent; it holds until the contract's duties are met (7.1(3)).",
    ru="Лицо просило отозвать согласие; оно действует до исполнения обязательств по договору (7.1(3)).",
    kk="Тұлға келісімін қайтаруды сұраған; ол шарт міндеттемелері орындалғанға дейін күшінде (7.1(3)).",
)
BREACH = Words(
    en="The caller states that the contract is overdue.",
    ru="Инициатор заявил о просрочке по договору.",
    kk="Сұраушы шарт бойынша мерзімі өткен берешек бар деп мәлімдеді.",
)
NO_BREACH = Words(
    en="The contract is not in breach: nothing is overdue.",
    ru="Нарушения договора нет: просрочки нет.",
    kk="Шарт бұзылмаған: мерзімі өткен берешек жоқ.",
)
NO_SERVICE = Words(
    en="The route names no service that needs the transfer.",
    ru="В маршруте не названа услуга, для которой нужна передача.",
    kk="Бағытта беруді қажет ететін қызмет аталмаған.",
)
FIELDS = Words(
    en="Every field that the operation needs was handed in.",
    ru="Все нужные для операции поля переданы.",
    kk="Операцияға қажетті барлық өріс берілген.",
)


TOKEN = Words(
    en="The token of the state service (KDP) is on record with the consent.",
    ru="Токен государственного сервиса (КДП) внесён вместе с согласием.",
    kk="Мемлекеттік сервистің (КДП) токені келісіммен бірге енгізілген.",
)
NO_TOKEN = Words(
    en="The consent is on record without the token of the state service (KDP): record it anew with evidence.kdp and "
    "name it in the request.",
    ru="Согласие внесено без токена государственного сервиса (КДП): внесите его заново с evidence.kdp и назовите в "
    "запросе.",
    kk="Келісім мемлекеттік сервистің (КДП) токенінсіз енгізілген: оны evidence.kdp дерегімен қайта енгізіп, сұрауда "
    "көрсетіңіз.",
)


RECORD_AGREES = Words(
    en="The loan system has the contract, and its facts are not stated otherwise.",
    ru="Договор есть в учётной системе, и сведения о нём с ней не расходятся.",
    kk="Шарт есепке алу жүйесінде бар, ол туралы мәліметтер жүйеге қайшы келмейді.",
)
RECORD_UNREACHABLE = Words(
    en="The loan system does not answer, so the contract's facts cannot be checked; ask again once it does.",
    ru="Учётная система не отвечает, и сведения о договоре проверить нельзя; повторите запрос, когда она ответит.",
    kk="Есепке алу жүйесі жауап бермейді, шарт туралы мәліметтерді тексеру мүмкін емес; ол жауап бергенде қайталаңыз.",
)
RECORD_UNKNOWN = Words(
    en="The loan system knows no contract of this number; correct the number and ask again.",
    ru="В учётной системе нет договора с таким номером; исправьте номер и повторите запрос.",
    kk="Есепке алу жүйесінде мұндай нөмірлі шарт жоқ; нөмірді түзетіп, сұрауды қайталаңыз.",
)


@lru_cache
def record_differs(facts: tuple[str, ...]) -> Words:
    """Which facts the loan system has otherwise."""
    listed = ", ".join(facts)
    return Words(
        en=f"The loan system says otherwise of: {listed}. Find out which is right, and correct it there or here.",
        ru=f"Учётная система расходится с заявленным: {listed}. Выясните, что верно, и исправьте там или здесь.",
        kk=f"Есепке алу жүйесі мәлімделгеннен өзгеше: {listed}. Қайсысы дұрыс екенін анықтап, сол жерде түзетіңіз.",
    )


@lru_cache
def policy(version: str) -> Words:
    """Which version is in force."""
    return Words(
        en=f"Version {version} of the policy is in force.",
        ru=f"Действует редакция политики {version}.",
        kk=f"Саясаттың {version} редакциясы күшінде.",
    )


@lru_cache
def service(name: str) -> Words:
    """Which service needs the transfer."""
    return Words(
        en=f"Needed for the service: {name}.", ru=f"Нужно для услуги: {name}.", kk=f"Қызмет үшін қажет: {name}."
    )


@lru_cache
def lacking(facts: tuple[str, ...]) -> Words:
    """Which facts a decision waits for."""
    if facts == ("consent.kdp_token",):
        return NO_TOKEN
    listed = ", ".join(facts)
    return Words(
        en=f"Cannot be decided without: {listed}. State it and ask again.",
        ru=f"Нельзя решить без: {listed}. Укажите и повторите запрос.",
        kk=f"Мынасыз шешу мүмкін емес: {listed}. Көрсетіп, сұрауды қайталаңыз.",
    )


@lru_cache
def lacking_fields(fields: tuple[str, ...]) -> Words:
    """Which fields an operation waits for."""
    listed = ", ".join(fields)
    return Words(
        en=f"The operation needs fields that were not handed in: {listed}.",
        ru=f"Для операции не хватает полей: {listed}.",
        kk=f"Операцияға мына өрістер жетіспейді: {listed}.",
    )


UNDECIDABLE = Words(
    en="The guard's expression fails on these facts; correct the facts or ask the operator to correct the guard.",
    ru="Выражение условия не вычисляется на этих фактах; исправьте факты или сообщите оператору.",
    kk="Шарт өрнегі бұл деректерде есептелмейді; деректерді түзетіңіз немесе операторға хабарлаңыз.",
)
"""Said by a guard of the configuration that errs."""
