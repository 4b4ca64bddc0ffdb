"""How pages look: templates, the reader's language, and how times and numbers are written in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from types import CodeType
from typing import Any

from babel.numbers import format_percent
from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined
from jinja2.bccache import Bucket
from jinja2.ext import i18n

from qaqpa.config.models import GuardConfig
from qaqpa.console.names import GUARDS_OF_LAW, UNMET_OF_LAW
from qaqpa.gateway import Gateway
from qaqpa.model.words import Language, Words
from qaqpa.report.saying import Saying
from qaqpa.translation import LANGUAGES, Translator, accepted_language, translator

NAMES = {"ru": "Русский", "kk": "Қазақша", "en": "English"}


class _Compiled(BytecodeCache):
    """Templates compiled in this process, for every console that is opened in it."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code is not None:
            self._codes[bucket.key, bucket.checksum] = bucket.code


@cache
def _compiled(_language: Language, _zone: timezone) -> _Compiled:
    """What a filter makes of a constant is compiled in: filters know the language and the zone."""
    return _Compiled()


class Looks:
    """Templates in three languages."""

    def __init__(self, gateway: Gateway, more: Mapping[str, Any]) -> None:
        """`more` is what every template knows."""
        self._gateway = gateway
        self._more = more
        self._zone = gateway.setup.config.gateway.operator.time_zone
        self._environments = {language: self._environment(language) for language in LANGUAGES}

    def render(self, template: str, language: Language, **context: Any) -> str:
        """A page."""
        return self._environments[language].get_template(template).render(**context)

    def words(self, language: Language) -> Translator:
        """The console's words in one language."""
        return translator("console", language)

    def language(self, chosen: str | None, accepted: str, default: Language) -> Language:
        """Which of the three to write in."""
        return next((each for each in LANGUAGES if each == chosen), None) or accepted_language(accepted, default)

    def _environment(self, language: Language) -> Environment:
        # Undefined names are an error, and everything is escaped: third parties' words come in here too.
        made = Environment(
            loader=PackageLoader("qaqpa.console"),
            autoescape=True,
            undefined=StrictUndefined,
            extensions=[i18n],
            trim_blocks=True,
            lstrip_blocks=True,
            bytecode_cache=_compiled(language, self._zone),
        )
        words = translator("console", language)
        made.install_gettext_callables(  # type: ignore[attr-defined]
            words.gettext, words.ngettext, newstyle=True, pgettext=words.pgettext
        )
        made.globals |= {
            "language": language, "languages": NAMES, "operator": self._gateway.setup.config.gateway.operator,
        }  # fmt: skip
        made.globals |= self._more
        made.filters |= _filters(words, self._zone, self._gateway.setup.config.guards)
        return made


def _filters(words: Translator, zone: timezone, guards: Mapping[str, GuardConfig]) -> dict[str, Any]:
    def moment(value: str | datetime | None) -> str:
        """A time of the ledger, in the operator's zone."""
        if value is None:
            return "—"
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        return words.moment(at.replace(tzinfo=UTC) if at.tzinfo is None else at, zone, seconds=True)

    def day(value: str | date | None) -> str:
        if value is None:
            return "—"
        return words.day(date.fromisoformat(value[:10]) if isinstance(value, str) else value)

    def span(value: timedelta) -> str:
        """How long, in whole days where it is some of them: a month is no number of days."""
        seconds = int(value.total_seconds())
        if seconds % 86_400 == 0:
            return counted(words.ngettext("%(num)s day", "%(num)s days", seconds // 86_400), seconds // 86_400)
        if seconds % 3_600 == 0:
            return counted(words.ngettext("%(num)s hour", "%(num)s hours", seconds // 3_600), seconds // 3_600)
        minutes = max(1, round(seconds / 60))
        return counted(words.ngettext("%(num)s minute", "%(num)s minutes", minutes), minutes)

    def counted(text: str, count: int) -> str:
        return text % {"num": words.number(count)}

    def percent(value: float) -> str:
        return str(format_percent(value, "#,##0.#%", locale=words.language))

    def said(value: Words) -> str:
        """A sentence of the configuration."""
        return value.in_language(words.language)

    def named(value: str, table: Mapping[str, str]) -> str:
        """The name of one of our words; any other stands as it is, and is escaped: no message id is made of it."""
        return words.gettext(table[value]) if value in table else value

    def finding(guard: str) -> str:
        """What a guard finds where it does not hold; its name, where nobody knows it any more."""
        if guard in guards:
            return guards[guard].otherwise.in_language(words.language)
        return named(guard, UNMET_OF_LAW)

    def demanded(guard: str) -> str:
        """What a guard demands; its name, where nobody knows it any more."""
        if guard in guards:
            return guards[guard].expect.in_language(words.language)
        return named(guard, GUARDS_OF_LAW)

    saying = Saying(words.language, zone)

    def each(values: Iterable[object]) -> str:
        return ", ".join(map(str, values))

    return {
        "moment": moment, "day": day, "number": words.number, "span": span, "percent": percent, "said": said,
        "named": named, "finding": finding, "demanded": demanded, "each": each,
        "operation": saying.operation, "kind": saying.kind, "country": saying.country,
    }  # fmt: skip
