"""Access tokens of an OAuth 2 issuer: whose they are, every forgery refused, and keys that change or cannot be had."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OctKey

from desk import Desk, at_desk
from harness import House
from issuer import EC, ED, NEXT, RSA, STRANGER, Issuer, claims, issuing, token
from qaqpa.service import issuers
from qaqpa.service.callers import Burst


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[Issuer]:
    async with issuing(tmp_path) as made:
        yield made


@asynccontextmanager
async def known_to(house: House, issuer: Issuer, **changes: Any) -> AsyncIterator[Desk]:
    """The gate that knows the issuer, with a consent to ask for."""
    issuer.configure(house, **changes)
    async with house.gateway() as gateway:
        consent = await gateway.record_consent("loan-scoring", _consent(house))
    async with at_desk(house, {}) as desk:
        desk.app.state.where = f"/v1/consents/{consent.id}"
        desk.app.state.desk.callers.burst.ATTEMPTS = 10_000
        yield desk


def _consent(house: House) -> Any:
    from harness import PEOPLE, consent_document
    from qaqpa.model.consent import ConsentRequest
    from qaqpa.model.request import parse

    return parse(ConsentRequest, consent_document(PEOPLE[0], house.clock()))


async def status(desk: Desk, text: str, where: str | None = None) -> int:
    answer = await desk.client.get(where or desk.app.state.where, headers={"authorization": f"Bearer {text}"})
    if answer.status_code != 200:
        assert text not in answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def hmac_with(secret: bytes, alg: str = "HS256") -> str:
    signed = f"{part({'alg': alg, 'kid': 'one', 'typ': 'at+jwt'})}.{part(claims())}"
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


async def test_a_token_of_the_issuer_says_who_asks_and_the_roles_stay_ours(house: House, issuer: Issuer) -> None:
    async with known_to(house, issuer) as desk:
        good = token(roles=["review", "operate"], scope="review")
        assert await status(desk, good) == 200
        assert await status(desk, good, "/v1/ledger/entries/0") == 403, "what the token says of roles counts nothing"
        assert await status(desk, token(aud=["others", "qaqpa"])) == 200
        assert await status(desk, token(client_id=None, azp="scoring-app")) == 200
        assert issuer.asked == 1


async def test_a_new_token_is_served_whatever_was_refused_before(
    house: House, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Burst, "PER_S", 0.0)
    async with known_to(house, issuer) as desk:
        desk.app.state.desk.callers.burst.ATTEMPTS = 20
        told = [await status(desk, token(STRANGER)) for _ in range(30)]
        assert told == [401] * 20 + [429] * 10
        assert await status(desk, token()) == 200


FORGED: dict[str, Any] = {
    "another audience": lambda: token(aud="others"),
    "no audience": lambda: token(aud=None),
    "an audience that only begins alike": lambda: token(aud="qaqpa2"),
    "another issuer": lambda: token(iss="https://login.mfo.example.evil"),
    "no issuer": lambda: token(iss=None),
    "expired": lambda: token(exp=int(time.time()) - 60),
    "never expiring": lambda: token(exp=None),
    "an expiry that is text": lambda: token(exp="9999999999"),
    "an expiry that is true": lambda: token(exp=True),
    "an endless expiry": lambda: token(exp=1e300),
    "not valid yet": lambda: token(nbf=int(time.time()) + 600),
    "made tomorrow": lambda: token(iat=int(time.time()) + 86_400, exp=int(time.time()) + 90_000),
    "another client": lambda: token(client_id="collections-app"),
    "a client that is a list": lambda: token(client_id=["scoring-app"]),
    "the caller's own name as client": lambda: token(client_id="loan-scoring"),
    "an identity token": lambda: token(header={"typ": "id+jwt"}),
    "a key of a stranger under a known id": lambda: token(STRANGER),
    "an unknown key id": lambda: token(NEXT),
    "a key id that is a path": lambda: token(header={"kid": "../../one"}),
    "a key id that is a number": lambda: _raw({"alg": "RS256", "kid": 7}),
    "an algorithm that is not configured": lambda: token(alg="PS256"),
    "no algorithm": lambda: f"{part({'alg': 'none', 'typ': 'at+jwt'})}.{part(claims())}.",
    "No algorithm": lambda: f"{part({'alg': 'None', 'kid': 'one'})}.{part(claims())}.",
    "an algorithm that is a list": lambda: _raw({"alg": ["RS256"], "kid": "one"}),
    "no algorithm named": lambda: _raw({"kid": "one"}),
    "HMAC with the public key as PEM": lambda: hmac_with(RSA.as_pem(private=False)),
    "HMAC with the public key as JSON": lambda: hmac_with(json.dumps(RSA.as_dict(private=False)).encode()),
    "HMAC with nothing": lambda: hmac_with(b""),
    "a key of its own in the header": lambda: token(STRANGER, header={"jwk": STRANGER.as_dict(private=False)}),
    "keys elsewhere": lambda: token(STRANGER, header={"jku": "https://evil.example/jwks"}),
    "a critical header that nobody knows": lambda: _raw({"alg": "RS256", "kid": "one", "crit": ["x"], "x": 1}),
    "an unencoded payload": lambda: _raw({"alg": "RS256", "kid": "one", "crit": ["b64"], "b64": False}),
    "another payload under the signature": lambda: token().replace(".", f".{part(claims())[:-9]}", 1),
    "a payload that is a list": lambda: _signed(b"[]"),
    "a payload that is text": lambda: _signed(b'"text"'),
    "a payload that is no JSON": lambda: _signed(b"{"),
    "a payload nested deeply": lambda: _signed(b'{"a":' * 800 + b"1" + b"}" * 800),
    "a header that is a list": lambda: f"{part([])}.{part(claims())}.{part(b'x')}",
    "a header nested deeply": lambda: f"{part(b'[' * 4_000)}.{part(claims())}.",
    "three dots": lambda: "...",
    "two dots": lambda: "..",
    "five parts": lambda: f"{token()}.{part(b'x')}.{part(b'y')}",
    "no signature": lambda: token().rpartition(".")[0] + ".",
    "a signature cut short": lambda: token()[:-4],
    "10 kB of it": lambda: token(padding="x" * 10_000),
}


def _raw(header: dict[str, Any], payload: bytes | None = None) -> str:
    """Signed by the right key, whatever the header says."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    body = json.dumps(claims()).encode() if payload is None else payload
    signed = f"{part(header)}.{part(body)}"
    key: Any = RSA.private_key
    return f"{signed}.{part(key.sign(signed.encode(), PKCS1v15(), hashes.SHA256()))}"


def _signed(payload: bytes) -> str:
    return _raw({"alg": "RS256", "kid": "one"}, payload)


async def test_no_forged_or_foreign_token_is_taken(house: House, issuer: Issuer) -> None:
    async with known_to(house, issuer) as desk:
        assert await status(desk, _signed(json.dumps(claims()).encode())) == 200, "the forger's tools make good tokens"
        for what, make in FORGED.items():
            text = make()
            assert await status(desk, text) == 401, what
            assert await status(desk, text) == 401, f"{what}, asked again"
        assert issuer.asked <= 2, "whatever comes in, the issuer is asked again at most every few seconds"


@pytest.mark.parametrize(("key", "alg"), [(EC, "ES256"), (ED, "Ed25519"), (ED, "EdDSA"), (RSA, "PS256")])
async def test_every_algorithm_that_may_be_configured_works(house: House, issuer: Issuer, key: Any, alg: str) -> None:
    issuer.keys = [RSA, EC, ED]
    async with known_to(house, issuer, algorithms=[alg]) as desk:
        assert await status(desk, token(key, alg)) == 200
        assert await status(desk, token(RSA, "RS256")) == 401
        assert await status(desk, token(key, alg, header={"kid": None})) == 401, "of three keys none is meant"


async def test_a_symmetric_key_in_the_published_set_signs_nothing(house: House, issuer: Issuer) -> None:
    secret = b"a secret that was published by mistake"
    oct_key = OctKey.import_key(secret, {"kid": "one"})
    issuer.answer = json.dumps({"keys": [oct_key.as_dict(private=True), {"kty": "NEW", "kid": "x"}]}).encode()
    async with known_to(house, issuer) as desk:
        assert await status(desk, hmac_with(secret)) == 401


async def test_hot_access_tokens_take_microseconds(house: House, issuer: Issuer) -> None:
    async with known_to(house, issuer) as desk:
        callers, shown = desk.app.state.desk.callers, f"Bearer {token()}"
        taken = []
        for _ in range(300):
            started = time.perf_counter()
            assert await callers.caller(shown, "h") == "loan-scoring"
            taken.append(time.perf_counter() - started)
        assert statistics.median(taken) < 200e-6


async def test_a_token_ends_when_it_says_even_while_it_is_hot(house: House, issuer: Issuer) -> None:
    async with known_to(house, issuer) as desk:
        text = token()
        assert await status(desk, text) == 200
        house.clock.offset = timedelta(days=1)
        assert await status(desk, text) == 401
        house.clock.offset = timedelta(days=-1)  # before it was made
        assert await status(desk, text) == 401


# --- keys that change, or cannot be had ------------------------------------------------------------


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds pass as if they were minutes."""
    monkeypatch.setattr(issuers, "_AGAIN_S", 0.05)


@pytest.mark.usefixtures("hasty")
async def test_new_keys_are_fetched_when_a_token_names_one_and_old_ones_go(house: House, issuer: Issuer) -> None:
    async with known_to(house, issuer) as desk:
        old = token()
        assert await status(desk, old) == 200
        issuer.keys = [RSA, NEXT]
        await asyncio.sleep(0.1)
        assert await status(desk, token(NEXT)) == 200
        assert await status(desk, old) == 200
        issuer.keys = [NEXT]
        await asyncio.sleep(0.1)
        assert await status(desk, token(STRANGER)) == 401  # has the keys fetched
        assert await status(desk, old) == 401, "a hot token does not outlive its key"
        assert await status(desk, token(NEXT)) == 200


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("harm", ["gone", "500", "no JSON", "no keys", "a list", "another kind"])
async def test_while_the_issuer_is_down_known_keys_serve_and_then_none(house: House, issuer: Issuer, harm: str) -> None:
    async with known_to(house, issuer) as desk:
        [one] = desk.app.state.desk.callers._issuers
        text = token()
        assert await status(desk, text) == 200
        issuer.status = 500 if harm == "500" else 200
        issuer.answer = {"no JSON": b"<html>", "no keys": b'{"keys": []}', "a list": b"[]", "500": b"{}"}.get(
            harm, b"1"
        )
        if harm == "gone":
            issuer.status = 404
        pass_by(one, 601)
        assert await status(desk, text) == 200
        assert await status(desk, token(sub="again")) == 200
        await asyncio.sleep(0.1)
        asked = issuer.asked
        assert asked >= 2, "it was asked again, beside the requests"
        pass_by(one, 3_601)
        assert await status(desk, text) == 401, "keys that are too old serve nobody, though the token is hot"
        assert await status(desk, token()) == 401
        issuer.status, issuer.answer = 200, None
        await asyncio.sleep(0.1)
        assert await status(desk, text) == 200, "and it recovers"


def pass_by(issuer: issuers.Issuer, seconds: float) -> None:
    """Let the keys be older by so much."""
    issuer._keys.fetched -= seconds
    issuer._keys.tried -= seconds


async def test_an_issuer_that_was_never_reached_lets_nobody_in_and_own_tokens_go_on(
    house: House, issuer: Issuer
) -> None:
    from desk import tokens_for

    issuer.port = 1  # nobody listens there
    tokens = await tokens_for(house)
    async with known_to(house, issuer) as desk:
        assert await status(desk, token()) == 401
        assert await status(desk, tokens["loan-scoring"]) == 200


async def test_an_issuer_that_hangs_holds_nobody_up_who_is_known(
    house: House, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with known_to(house, issuer) as desk:
        text = token()
        assert await status(desk, text) == 200
        [one] = desk.app.state.desk.callers._issuers
        waiting = asyncio.Event()

        async def hang(_endpoint: str) -> Any:
            await waiting.wait()

        monkeypatch.setattr(one.line, "get", hang)
        pass_by(one, 601)
        started = time.perf_counter()
        for number in range(20):
            assert await status(desk, token(sub=str(number))) == 200
        assert time.perf_counter() - started < 1
        assert one._refreshing is not None and not one._refreshing.done()


async def test_an_issuer_with_another_certificate_is_not_believed(house: House, issuer: Issuer, tmp_path: Path) -> None:
    import trustme

    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    issuer.ca = tmp_path / "other.pem"
    async with known_to(house, issuer) as desk:
        assert await status(desk, token()) == 401
        assert issuer.asked == 0
