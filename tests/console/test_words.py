"""Every word of the console stands in the Russian and the Kazakh catalogue, and no other."""

from __future__ import annotations

import re
from importlib import resources

import pytest
from babel.messages.extract import extract_from_dir

from qaqpa.translation import read

_PLACES = re.compile(r"%\((\w+)\)[sd]")
_KEYWORDS = {
    "_": None,
    "N_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "t": None,
    "counted": (1, 2),
}


def messages() -> dict[tuple[str | None, str], tuple[str, ...]]:
    """All messages by context and text, a plural with its singular."""
    found = extract_from_dir(
        str(resources.files("qaqpa.console")),
        method_map=[("**.py", "python"), ("**.html", "jinja2")],
        options_map={"**.html": {"newstyle_gettext": "true", "trim_blocks": "true", "silent": "false"}},
        keywords=_KEYWORDS,
    )
    told = (
        (context, (message,) if isinstance(message, str) else tuple(message)) for _, _, message, _, context in found
    )
    return {(context, message[0]): message for context, message in told}


@pytest.mark.parametrize("language", ["ru", "kk"])
def test_nothing_is_missing_and_no_place_is_lost(language: str) -> None:
    known, asked = read("console", language), messages()  # type: ignore[arg-type]
    assert len(asked) > 400
    missing, wrong = [], []
    for (context, text), message in asked.items():
        found = known.get(text, context)
        texts = [] if found is None else [found.string] if isinstance(found.string, str) else list(found.string)
        if found is None or found.fuzzy or not texts or not all(texts):
            missing.append(text)
            continue
        places = [set(_PLACES.findall(each)) for each in message]
        if len(texts) != (known.num_plurals if len(message) > 1 else 1):
            wrong.append(f"{text}: {len(texts)} forms")
        if any(set(_PLACES.findall(each)) not in places or "%" in _PLACES.sub("", each) for each in texts):
            wrong.append(f"{text}: {texts}")
    assert not missing, "\n".join(missing)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("language", ["ru", "kk"])
def test_a_translation_is_in_its_language(language: str) -> None:
    """Nothing was left in English, and no letter of another alphabet looks like one of this."""
    for message in read("console", language):  # type: ignore[arg-type]
        for text in [message.string] if isinstance(message.string, str) else message.string:
            if not message.id:
                continue
            assert not re.search(r"(?i)[a-z][а-яёәғқңөұүһі]|[а-яёәғқңөұүһі][a-z]", _PLACES.sub("", text)), text
            if language == "ru":
                assert not re.search(r"(?i)[әғқңөұүһі]", text), text


@pytest.mark.parametrize("language", ["ru", "kk"])
def test_no_text_is_translated_that_nobody_says(language: str) -> None:
    asked = messages()
    unused = [each.id for each in read("console", language) if each.id]  # type: ignore[arg-type]
    unused = [each for each in unused if (None, each if isinstance(each, str) else each[0]) not in asked]
    assert not unused, "\n".join(map(str, unused))
