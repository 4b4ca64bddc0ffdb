"""What must hold of every page of the console, whatever it shows; and a walk over all pages by their links."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from lxml import etree, html

from visitor import Visitor

VOID = frozenset({"area", "br", "hr", "img", "input", "link", "meta", "wbr"})
_UNKNOWN_TAG = "HTML_UNKNOWN_TAG"
"""libxml2 knows HTML 4: `main` and `svg` are new to it."""
_ENGLISH = re.compile(
    r"(?i)\b(the|and|of|is|are|was|were|not|for|with|by|to|from|this|that|who|what|which|it|has|have|may|must|nobody|"
    r"somebody|nothing|asked|sent|left|entered|person|people)\b"
)
_PLACES = re.compile(r"%\(\w+\)[sd]")
_SNAKE = re.compile(r"(?<![\w./-])[a-z]+(_[a-z0-9]+)+(?![\w./-])")
_BETWEEN = re.compile(r"[:;,()→·/]")
_A_FEW = {"/entries/#": 40}
_MANY = 2
"""Of pages that differ only in what they are about so many are looked at."""


class _Balanced(HTMLParser):
    """Finds tags that are not closed, or not in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at line {self.getpos()[0]} closes nothing")


def faults(text: str, *, language: str, iins: Iterable[str] = ()) -> list[str]:
    """What is wrong with a page."""
    tree = html.document_fromstring(text)
    return [
        *_malformed(text),
        *_headed(tree, language),
        *_unlabelled(tree),
        *_active(tree),
        *(f"an IIN stands in it: {iin}" for iin in iins if iin in text),
    ]


def _malformed(text: str) -> Iterator[str]:
    balanced = _Balanced()
    balanced.feed(text)
    yield from balanced.faults
    yield from (f"<{tag}> is not closed" for tag in balanced.open)
    parser = etree.HTMLParser(recover=True)
    etree.fromstring(text.encode(), parser)
    yield from (f"{each.message} (line {each.line})" for each in parser.error_log if each.type_name != _UNKNOWN_TAG)
    if not text.startswith("<!doctype html>"):
        yield "no doctype"


def _headed(tree: html.HtmlElement, language: str) -> Iterator[str]:
    title = (tree.findtext("head/title") or "").removesuffix("· Qaqpa").strip()
    if not title:
        yield "no title"
    if len(tree.findall(".//h1")) != 1 or not tree.find(".//h1").text_content().strip():
        yield "not one heading of the first level"
    if tree.get("lang") != language:
        yield f"says that it is in {tree.get('lang')}"
    for table in tree.iter("table"):
        regions = table.xpath("ancestor::*[@role='region'][@aria-label]")
        if table.find("caption") is None and not regions:
            yield "a table without a caption or a labelled region"
        if any(each.get("scope") not in {"col", "row", "colgroup", "rowgroup"} for each in table.iter("th")):
            yield "a heading of a table without its scope"


def _unlabelled(tree: html.HtmlElement) -> Iterator[str]:
    for each in tree.xpath("//input[not(@type='hidden')] | //select | //textarea"):
        labels = [*each.xpath("ancestor::label"), *tree.xpath("//label[@for=$id]", id=each.get("id", "-"))]
        if not each.get("aria-label") and not any(_own_text(label) for label in labels):
            yield f"{each.tag} {each.get('name')} has no label"
    for each in tree.xpath("//a[@href] | //button"):
        if not (each.text_content().strip() or each.get("aria-label")):
            yield f"{each.tag} {each.get('href')} says nothing"
    for form in tree.xpath("//form[@method='post'][not(starts-with(@action, '/console/signin'))]"):
        if not form.xpath(".//input[@type='hidden'][@name='token'][string-length(@value) > 20]"):
            yield f"the form {form.get('action')} carries no token"


def _own_text(label: html.HtmlElement) -> str:
    return " ".join(label.xpath("text() | *[not(self::select)]//text() | span//text()")).strip()


def _active(tree: html.HtmlElement) -> Iterator[str]:
    for each in tree.iter():
        if not isinstance(each.tag, str):
            continue
        for name, value in each.items():
            if name.startswith("on") or name == "style":
                yield f"{each.tag} has {name}"
            if name in {"href", "src", "action", "xlink:href"} and not re.match(r"(/console(/|\?|$)|#)", value):
                yield f"{each.tag} leads to {value[:80]}"
    if tree.xpath("//style | //script[not(@src)] | //iframe | //object | //embed | //base | //img"):
        yield "an element that no page has"
    if any(each.text for each in tree.iter("script")):
        yield "a script in the page"


def english(text: str, known: Iterable[str], theirs: Iterable[str] = (), codes: Iterable[str] = ()) -> Iterator[str]:
    """Texts of a page in another language that are still in English; `known` are those of the catalogue.

    `theirs` are what the operator wrote in one language, into the configuration; `codes` are words of the ledger and of
    the configuration for which there are names: none of them stands alone, nor any word_of_this_kind, but as code.
    """
    tree, known = html.document_fromstring(text), frozenset(known)
    words = {word for each in known for word in re.findall(r"\b[a-z]{3,}\b", _PLACES.sub(" ", each))}
    codes = frozenset(codes)
    apart = "//code | //pre | //*[contains(@class, 'mono')] | //*[@lang='en'] | //script | //option[. = @value]"
    for each in tree.xpath(apart):
        each.drop_tree()
    texts = [*tree.itertext(), *tree.xpath("//@aria-label | //@title | //@placeholder | //@alt")]
    for said in texts:
        line = " ".join(said.split())
        for each in theirs:
            line = line.replace(each, "")
        raw = _SNAKE.search(line) or not codes.isdisjoint(map(str.strip, _BETWEEN.split(line)))
        pairs = re.findall(r"(?<![\w.-])([a-z]{3,}) (?=([a-z]{3,})(?![\w.-]))", line)
        if raw or line in known or _ENGLISH.search(line) or any(words.issuperset(pair) for pair in pairs):
            yield line


def _sent(form: html.FormElement) -> str:
    """The address to which a form leads that is sent as it stands; in what must be filled in stands a 0."""
    missing = {each.name: "0" for each in form.xpath(".//input[@required][not(@value)]")}
    fields = {name: value for name, value in form.form_values() if isinstance(value, str)} | missing
    return f"{form.get('action')}?{urlencode(fields)}" if fields else str(form.get("action"))


@dataclass
class Walk:
    """Somebody's way over the console, from link to link."""

    visitor: Visitor
    answers: dict[str, httpx.Response] = field(default_factory=dict)
    """Every page that was shown, by its address below /console."""
    came_from: dict[str, str] = field(default_factory=dict)
    _shapes: Counter[str] = field(default_factory=Counter)

    async def over(self, *starts: str) -> Walk:
        """Follow every link."""
        todo = list(starts)
        while todo:
            path = todo.pop(0)
            if path in self.answers or not self._wanted(path):
                continue
            answer = self.answers[path] = await self.visitor.get(path)
            for link in self._links(answer) if "text/html" in answer.headers.get("content-type", "") else ():
                self.came_from.setdefault(link, path)
                todo.append(link)
        return self

    def _wanted(self, path: str) -> bool:
        parts = urlsplit(path)
        names = "&".join(sorted({name for name, _ in parse_qsl(parts.query)}))
        shape = re.sub(r"[0-9a-f-]{16,}|\b\d+\b", "#", parts.path)
        self._shapes[f"{shape}?{names}"] += 1
        return self._shapes[f"{shape}?{names}"] <= _A_FEW.get(shape, _MANY)

    def _links(self, answer: httpx.Response) -> Iterator[str]:
        tree = html.document_fromstring(answer.text)
        for link in [*tree.xpath("//a/@href"), *map(_sent, tree.xpath("//form[@method='get']"))]:
            if link.startswith("/console/") and not link.startswith("/console/signin"):
                yield link.removeprefix("/console")
