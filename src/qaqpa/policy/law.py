"""What law always demands, whatever the configuration says. Each condition is one guard with its clause.

A configuration can add guards; it cannot remove these.
"""

from __future__ import annotations

from datetime import date

from qaqpa.config.models import Agreement
from qaqpa.model.consent import UNCOVERED_WORDS, Consent, ConsentStatus, Need, Uncovered, choose
from qaqpa.model.decision import GuardResult, Result
from qaqpa.model.vocabulary import FieldPath
from qaqpa.model.words import GROUND_CLAUSE, Ground, Words
from qaqpa.policy.facts import Facts

HOME_COUNTRY = "KZ"

CLAUSES = ("3.4(2)", "9.2", "5.5", "2.3(4)", "3.4(5)", "3.2", "7.1(3)", *GROUND_CLAUSE.values())
"""Clauses that the guards here cite; the configured policy must have them all."""


_GROUND_GUARD = {
    Ground.CONSENT: "consent_covers",
    Ground.LEGAL_PROTECTION: "breach_on_record",
    Ground.SERVICE: "service_named",
}


def names_for(ground: Ground) -> tuple[str, ...]:
    """Names of the guards here that every route on `ground` meets, in their order."""
    return (
        "route_known",
        "policy_in_force",
        "recipient_active",
        "agreement_in_force",
        "jurisdiction",
        _GROUND_GUARD[ground],
        "fields_present",
    )


def _say(guard: str, clause: str, result: Result, words: Words, *, instrument: str | None = None) -> GuardResult:
    return GuardResult(guard, clause, words, result, instrument)


def route_known(*, known: bool) -> GuardResult:
    """3.4(2): transfer only under 2.3, so what no route allows is denied."""
    return _say(
        "route_known",
        "3.4(2)",
        Result.PERMIT if known else Result.DENY,
        Words(
            en="The policy allows this caller this operation for this purpose.",
            ru="Политика допускает эту операцию для этой цели по запросу этого инициатора.",
            kk="Саясат бұл сұраушыға осы мақсатта осы операцияға жол береді.",
        )
        if known
        else Words(
            en="No route lets this caller do this operation at this recipient for this purpose; "
            "`qaqpa check` lists the routes there are.",
            ru="Ни один маршрут не допускает такую операцию этого инициатора у этого получателя для этой цели; "
            "список маршрутов: `qaqpa check`.",
            kk="Бірде-бір бағыт бұл сұраушыға осы алушыда осы мақсатта мұндай операцияға жол бермейді; "
            "бағыттар тізімі: `qaqpa check`.",
        ),
    )


def policy_in_force(version: str | None) -> GuardResult:
    """9.2: a version is in force from its publication."""
    return _say(
        "policy_in_force",
        "9.2",
        Result.DENY if version is None else Result.PERMIT,
        Words(
            en="No version of the policy is in force on this day; add it to policy.toml.",
            ru="На эту дату не действует ни одна редакция политики; внесите её в policy.toml.",
            kk="Бұл күні саясаттың ешбір редакциясы күшінде емес; оны policy.toml файлына енгізіңіз.",
        )
        if version is None
        else Words(
            en=f"Version {version} of the policy is in force.",
            ru=f"Действует редакция политики {version}.",
            kk=f"Саясаттың {version} редакциясы күшінде.",
        ),
    )


def recipient_active(*, suspended: bool) -> GuardResult:
    """5.5: harm is limited by sending nothing to a recipient that is suspended."""
    return _say(
        "recipient_active",
        "5.5",
        Result.DENY if suspended else Result.PERMIT,
        Words(
            en="The recipient is suspended; `qaqpa recipient list` says why, `resume` lifts it.",
            ru="Передача получателю приостановлена; причина: `qaqpa recipient list`, возобновление: `resume`.",
            kk="Алушыға беру тоқтатылған; себебі: `qaqpa recipient list`, жалғастыру: `resume`.",
        )
        if suspended
        else Words(en="The recipient is not suspended.", ru="Получатель не приостановлен.", kk="Алушы тоқтатылмаған."),
    )


def agreement_in_force(agreement: Agreement | None, day: date) -> GuardResult:
    """2.3(4), 4.2: a third party is bound by an agreement in force that demands confidentiality."""
    in_force = (
        agreement is not None
        and agreement.signed_on <= day
        and (agreement.expires_on is None or day <= agreement.expires_on)
    )
    return _say(
        "agreement_in_force",
        "2.3(4)",
        Result.PERMIT if in_force else Result.DENY,
        Words(
            en="An agreement with the recipient is in force.",
            ru="Договор с получателем действует.",
            kk="Алушымен шарт күшінде.",
        )
        if in_force
        else Words(
            en="No agreement with the recipient is in force on this day; renew it and correct its configuration.",
            ru="На эту дату нет действующего договора с получателем; продлите его и исправьте конфигурацию.",
            kk="Бұл күні алушымен күшіндегі шарт жоқ; оны ұзартып, конфигурацияны түзетіңіз.",
        ),
        instrument="94-V",
    )


def jurisdiction(country: str, consent: Consent | None) -> GuardResult:
    """3.4(5), 94-V art. 16: across the border only as the covering consent allows."""
    allowed = country == HOME_COUNTRY or (consent is not None and consent.terms.cross_border)
    return _say(
        "jurisdiction",
        "3.4(5)",
        Result.PERMIT if allowed else Result.DENY,
        Words(
            en="The transfer stays in the country, or the consent lets it cross the border.",
            ru="Передача не выходит за границу либо согласие её допускает.",
            kk="Беру ел ішінде қалады немесе келісім трансшекаралық беруге жол береді.",
        )
        if allowed
        else UNCOVERED_WORDS[Uncovered.NO_CROSS_BORDER],
        instrument="94-V art. 16",
    )


def consent_covers(facts: Facts, need: Need) -> tuple[GuardResult, Consent | None]:
    """2.3(1), 6.1: the newest consent that covers route, recipient, fields, border and date."""
    consent, why = choose(facts.consents, need, facts.now, duties_met=facts.contract.duties_met)
    if consent is None:
        words = [UNCOVERED_WORDS[reason] for reason in why]
        message = Words(
            ru=" ".join(w.ru for w in words),
            kk=" ".join(w.kk for w in words),
            en=" ".join(w.en for w in words),
        )
        findings = tuple(reason.value for reason in why)
        return GuardResult("consent_covers", "2.3(1)", message, Result.DENY, "94-V art. 8", findings=findings), None
    if consent.status(facts.now) is ConsentStatus.WITHDRAWAL_PENDING:
        pending = Words(
            en="The person has asked to withdraw this consent; it holds until the contract's duties are met (7.1(3)).",
            ru="Лицо просило отозвать согласие; оно действует до исполнения обязательств по договору (7.1(3)).",
            kk="Тұлға келісімін қайтаруды сұраған; ол шарт міндеттемелері орындалғанға дейін күшінде (7.1(3)).",
        )
        return GuardResult("consent_covers", "7.1(3)", pending, Result.PERMIT, "94-V art. 8(2)", note=True), consent
    covers = Words(
        en="A consent in force covers purpose, recipient, fields and border.",
        ru="Действующее согласие охватывает цель, получателя, поля и границу.",
        kk="Күшіндегі келісім мақсатты, алушыны, өрістерді және шекараны қамтиды.",
    )
    return GuardResult("consent_covers", "2.3(1)", covers, Result.PERMIT, "94-V art. 8"), consent


def breach_on_record(facts: Facts) -> GuardResult:
    """2.3(3): protection of rights presupposes that the subject is in breach."""
    overdue = facts.contract.days_overdue
    if overdue is None:
        words = Words(
            en="Cannot be decided without: contract.days_overdue. State it and ask again.",
            ru="Нельзя решить без: contract.days_overdue. Укажите и повторите запрос.",
            kk="Мынасыз шешу мүмкін емес: contract.days_overdue. Көрсетіп, сұрауды қайталаңыз.",
        )
        return GuardResult(
            "breach_on_record",
            "2.3(3)",
            words,
            Result.GAP,
            "56-V art. 9-2",
            missing=("contract.days_overdue",),
        )
    if overdue <= 0:
        words = Words(
            en="The contract is not in breach: nothing is overdue.",
            ru="Нарушения договора нет: просрочки нет.",
            kk="Шарт бұзылмаған: мерзімі өткен берешек жоқ.",
        )
        return _say("breach_on_record", "2.3(3)", Result.DENY, words, instrument="56-V art. 9-2")
    words = Words(
        en="The caller states that the contract is overdue.",
        ru="Инициатор заявил о просрочке по договору.",
        kk="Сұраушы шарт бойынша мерзімі өткен берешек бар деп мәлімдеді.",
    )
    return _say("breach_on_record", "2.3(3)", Result.PERMIT, words, instrument="56-V art. 9-2")


def service_named(service: str | None) -> GuardResult:
    """2.3(2): the route names the service that needs the transfer."""
    words = Words(
        en=f"Needed for the service: {service}.",
        ru=f"Нужно для услуги: {service}.",
        kk=f"Қызмет үшін қажет: {service}.",
    )
    return _say("service_named", "2.3(2)", Result.PERMIT if service else Result.DENY, words)


def ground_holds(ground: Ground, service: str | None, facts: Facts, need: Need) -> tuple[GuardResult, Consent | None]:
    """2.3: the ground's own condition; the consent found, where the ground is consent."""
    if ground is Ground.CONSENT:
        return consent_covers(facts, need)
    if ground is Ground.LEGAL_PROTECTION:
        return breach_on_record(facts), None
    return service_named(service), None


def fields_present(needs: frozenset[FieldPath], present: frozenset[FieldPath]) -> GuardResult:
    """3.2: the message needs these fields; without one it cannot serve its purpose."""
    missing = tuple(sorted(needs - present))
    if missing:
        listed = ", ".join(missing)
        words = Words(
            en=f"The operation needs fields that were not handed in: {listed}.",
            ru=f"Для операции не хватает полей: {listed}.",
            kk=f"Операцияға мына өрістер жетіспейді: {listed}.",
        )
        return GuardResult("fields_present", "3.2", words, Result.GAP, missing=missing)
    words = Words(
        en="Every field that the operation needs was handed in.",
        ru="Все нужные для операции поля переданы.",
        kk="Операцияға қажетті барлық өріс берілген.",
    )
    return _say("fields_present", "3.2", Result.PERMIT, words)
