"""The operator's own signing service in the place of a key, and what configuration says about who signs."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from harness import PEOPLE, House, give_consent, kdp_consent, pension_document, request
from qaqpa import errors
from qaqpa.errors import QaqpaError, SignatureRefused, SigningFailed
from qaqpa.gateway import Gateway, load_setup
from qaqpa.model.disclosure import Disclosure
from qaqpa.testing.faults import Fault
from qaqpa.testing.signing import SigningServiceSandbox, key_pair
from qaqpa_adapters.pension_center.sandbox import Signing

PERSON = PEOPLE[0]
PPC = "recipients/pension-center.toml"
RSA = """kind = "rsa"                       # or "sidecar": a signing service of your own, for GOST
key = "env:QAQPA_PPC_SIGNING_KEY"                    # PEM file
certificate = "env:QAQPA_PPC_SIGNING_CERTIFICATE"    # PEM file
trusted = "env:QAQPA_PPC_TRUSTED"                    # PEM file of the certificates that answers are signed with
"""
SIDECAR = """kind = "sidecar"
key = "env:QAQPA_SIGNING_CONTAINER"
password = "env:QAQPA_SIGNING_PASSWORD"
trusted = "env:QAQPA_SIGNING_TRUSTED"

[signer.channel]
kind = "https"
ca = "env:QAQPA_SIGNING_CA"
private_networks = ["env:QAQPA_SIGNING_NETWORKS"]
connect_timeout_s = 1
answer_timeout_s = 1

[signer.channel.endpoints]
wsse_sign = "env:QAQPA_SIGNING_WSSE_SIGN_URL"
wsse_verify = "env:QAQPA_SIGNING_WSSE_VERIFY_URL"
xml_sign = "env:QAQPA_SIGNING_XML_SIGN_URL"
xml_verify = "env:QAQPA_SIGNING_XML_VERIFY_URL"
"""


async def ask(gateway: Gateway, person: Any = PERSON, **changes: Any) -> Disclosure:
    return await gateway.disclose("loan-scoring", request(pension_document(person, **changes)))


async def consented(house: House, gateway: Gateway, person: Any = PERSON) -> None:
    await give_consent(house, gateway, person, **kdp_consent())


async def fails(gateway: Gateway) -> QaqpaError:
    with pytest.raises(QaqpaError) as raised:
        await ask(gateway)
    return raised.value


# --- a signing service -----------------------------------------------------------------------------


@pytest.fixture
async def service(house: House) -> Any:
    """The operator's own signing service, in the place of the key."""
    stand = SigningServiceSandbox(directory=house.home / "service", others=(key_pair("pension centre"),))
    house.edit(PPC, (RSA, SIDECAR))
    async with stand:
        house.environ |= stand.environment
        yield stand


async def test_a_signing_service_signs_and_verifies(house: House, service: SigningServiceSandbox) -> None:
    async with house.gateway() as gateway:
        assert gateway.unready == {}
        await consented(house, gateway)
        done = await ask(gateway)
        assert len(done.report["contributions"]) == 6
        house.verified(gateway)
    assert [call.path for call in service.calls] == ["/xml/sign", "/wsse/sign", "/wsse/verify", "/xml/verify"]
    assert all(call.accepted for call in service.calls)


@pytest.mark.parametrize(
    "fault",
    [Fault.SERVER_ERROR, Fault.GARBAGE, Fault.TRUNCATED, Fault.HANG_BEFORE_ACCEPTING, Fault.WRONG_HOST_CERTIFICATE],
)
async def test_a_signing_service_that_fails_means_that_nothing_is_sent(
    house: House, service: SigningServiceSandbox, fault: Fault
) -> None:
    service.fault = fault
    async with house.gateway() as gateway:
        await consented(house, gateway)
        assert type(await fails(gateway)) is SigningFailed
        assert house.entries(gateway, "intent") == []
    assert house.ppc.connections == 0


async def test_a_signing_service_that_refuses_the_container(house: House, service: SigningServiceSandbox) -> None:
    house.environ["QAQPA_SIGNING_PASSWORD"] = "wrong"
    async with house.gateway() as gateway:
        await consented(house, gateway)
        error = await fails(gateway)
        assert type(error) is SigningFailed and "wrong" not in str(error)
    assert service.calls[0].accepted is False


async def test_a_signing_service_that_gives_back_another_message(house: House, service: SigningServiceSandbox) -> None:
    service.spoil = b"<data><requestIin>900101300017</requestIin></data>"
    async with house.gateway() as gateway:
        await consented(house, gateway)
        error = await fails(gateway)
        assert type(error) is SigningFailed and "another message" in str(error)
    assert house.ppc.connections == 0


@pytest.mark.parametrize("signing", [Signing.CHANGED, Signing.OTHER_KEY, Signing.UNSIGNED])
async def test_what_a_signing_service_does_not_confirm_is_not_believed(
    house: House, service: SigningServiceSandbox, signing: Signing
) -> None:
    house.ppc.signing = signing
    async with house.gateway() as gateway:
        await consented(house, gateway)
        assert type(await fails(gateway)) is SignatureRefused
    asked = [call.path for call in service.calls if call.path.endswith("verify")]
    assert asked == (["/wsse/verify"] if signing is Signing.CHANGED else []), "form and certificate are looked at first"


async def test_a_signing_service_that_is_gone_when_the_answer_comes(
    house: House, service: SigningServiceSandbox
) -> None:
    async with house.gateway() as gateway:
        await consented(house, gateway)
        examine = service.examine

        def refuse_to_verify(arrival: Any) -> Any:
            asked = examine(arrival)
            if arrival.path == "/wsse/sign":
                service.fault = Fault.SERVER_ERROR
            return asked

        service.examine = refuse_to_verify  # type: ignore[method-assign]
        error = await fails(gateway)
        assert type(error) is errors.Unsettled
        assert house.entries(gateway, "outcome")[0]["result"] == "unknown"


# --- configuration ---------------------------------------------------------------------------------


def problems(house: House) -> str:
    with pytest.raises(errors.ConfigError) as refused:
        load_setup(house.config, home=house.home, environ=house.environ)
    return str(refused.value)


async def test_a_signing_adapter_without_a_signer_is_refused(house: House) -> None:
    path = house.config / PPC
    text = path.read_text()
    start = text.index("[signer]")
    path.write_text(text[:start] + text[text.index("[limits]") :])
    assert f"{PPC}: signer: is missing: adapter pension_center signs contributions" in problems(house)


async def test_a_signer_where_nothing_is_signed_is_refused(house: House) -> None:
    path = house.config / "recipients/first-credit-bureau.toml"
    path.write_text(path.read_text().replace("[limits]", f"[signer]\n{RSA}\n[limits]"))
    assert "adapter first_credit_bureau signs nothing: remove it" in problems(house)


@pytest.mark.parametrize("name", ["key", "certificate", "trusted"])
async def test_a_signers_files_are_named_by_reference(house: House, name: str) -> None:
    reference = next(line for line in RSA.splitlines() if line.startswith(name)).partition("#")[0].strip()
    house.edit(PPC, (reference, f'{name} = "/etc/key.pem"'))
    said = problems(house)
    assert f": signer.{name}: a secret is never written here" in said


async def test_a_sidecar_must_stand_in_a_network_of_the_operators(house: House) -> None:
    house.edit(PPC, (RSA, SIDECAR.replace('private_networks = ["env:QAQPA_SIGNING_NETWORKS"]\n', "")))
    assert "private_networks must name" in problems(house)
    house.edit(PPC, ('xml_verify = "env:QAQPA_SIGNING_XML_VERIFY_URL"\n', ""))
    assert "lacks xml_verify" in problems(house)


async def test_what_a_signer_lacks_is_said_and_keeps_the_rest_working(house: House) -> None:
    del house.environ["QAQPA_PPC_SIGNING_KEY"]
    async with house.gateway() as gateway:
        assert gateway.unready == {
            "pension-center": "pension-center: signer.key: set the environment variable QAQPA_PPC_SIGNING_KEY"
        }
    ran = await house.cli("check", "--json")
    assert ran.code == 0 and orjson.loads(ran.out)
