"""Notes, checkpoints, cosignatures and proofs as text: the specifications' own examples, round trips, hostile bytes."""

from __future__ import annotations

import base64
import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qaqpa.errors import VerificationFailed
from qaqpa.tlog.merkle import EMPTY_ROOT
from qaqpa.tlog.notes import (
    MAX_NOTE_BYTES,
    AddCheckpoint,
    Algorithm,
    Checkpoint,
    Note,
    Signature,
    TlogProof,
    VerifierKey,
    cosign,
    parse_signatures,
    sign,
)

unhurried = settings(deadline=None, database=None, max_examples=200)

# golang.org/x/mod/sumdb/note, package documentation.
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
NEUMANN_NOTE = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=
""".encode()

# C2SP signed-note, tlog-cosignature and tlog-witness: the examples.
QUASIMODO = """\
Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
""".encode()  # noqa: E501 - as in the specification
SOFA_TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
SOFA = f"""{SOFA_TEXT}
— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
""".encode()  # noqa: E501 - as in the specification
REQUEST = b"""\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

""" + "\n".join(
    [
        SOFA_TEXT,
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=",  # noqa: E501 - as in the specification
        "— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=",  # noqa: E501 - as in the specification
        "",
    ]
).encode()
# C2SP tlog-proof: the example's head; its checkpoint is elided there, so another example's stands below it.
PROOF_HEAD = b"""\
c2sp.org/tlog-proof@v1
extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=
RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=
AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

"""

LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
LOG_KEY = VerifierKey("log.example/1", Algorithm.ED25519, LOG.public_key().public_bytes_raw())
WITNESS_KEY = VerifierKey("witness.example/w", Algorithm.COSIGNATURE, WITNESS.public_key().public_bytes_raw())
CHECKPOINT = Checkpoint("log.example/1", 5, EMPTY_ROOT)
SIGNED = Note(CHECKPOINT.text(), (sign(CHECKPOINT.text(), LOG_KEY, LOG.sign),))
COSIGNED = SIGNED.adding([cosign(SIGNED.text, WITNESS_KEY, WITNESS.sign, 1_700_000_000)])


def test_the_example_of_the_go_checksum_database_verifies_and_is_signed_again_to_the_byte() -> None:
    key, note = VerifierKey.parse(NEUMANN), Note.parse(NEUMANN_NOTE)
    assert (str(key), key.name, key.algorithm) == (NEUMANN, "PeterNeumann", Algorithm.ED25519)
    assert note.verify(key) is None
    assert note.to_bytes() == NEUMANN_NOTE
    again = sign(note.text, key, Ed25519PrivateKey.from_private_bytes(NEUMANN_SEED).sign)
    assert again == note.signatures[0]


def test_a_text_with_empty_lines_ends_at_the_last_one() -> None:
    note = Note.parse(QUASIMODO)
    assert note.text.endswith("sole:\n\ned è subito sera.\n")
    assert note.to_bytes() == QUASIMODO


def test_the_example_of_tlog_cosignature_is_read() -> None:
    note = Note.parse(SOFA)
    checkpoint = Checkpoint.parse(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == SOFA_TEXT
    assert [each.name for each in note.signatures] == ["example.com/behind-the-sofa", "witness.example.com/w1"]
    assert int.from_bytes(note.signatures[1].value[:8], "big") == 1679315147, "the time in the specification"
    assert note.to_bytes() == SOFA


def test_the_example_of_tlog_witness_is_read() -> None:
    request = AddCheckpoint.parse(REQUEST)
    assert (request.old_size, len(request.proof), len(request.note.signatures)) == (20852014, 4, 2)
    assert request.to_bytes() == REQUEST


def test_the_example_of_tlog_proof_is_read() -> None:
    proof = TlogProof.parse(PROOF_HEAD + SOFA)
    assert (proof.index, len(proof.hashes), proof.checkpoint) == (73894, 5, SOFA)
    assert proof.extra is not None
    assert proof.extra.startswith(b"age-v1.2.1-darwin-arm64.tar.gz")
    assert proof.to_bytes() == PROOF_HEAD + SOFA
    bare = TlogProof(0, (), SOFA)
    assert bare.to_bytes() == b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + SOFA
    assert TlogProof.parse(bare.to_bytes()) == bare


def test_a_log_and_a_witness_sign_one_checkpoint() -> None:
    note = Note.parse(COSIGNED.to_bytes())
    assert note.verify(LOG_KEY) is None
    assert note.verify(WITNESS_KEY) == 1_700_000_000
    assert VerifierKey.parse(str(WITNESS_KEY)) == WITNESS_KEY
    assert Checkpoint.parse(note.text) == CHECKPOINT


def test_the_latest_of_several_cosignatures_counts_and_one_invalid_spoils_them() -> None:
    times = [cosign(SIGNED.text, WITNESS_KEY, WITNESS.sign, at) for at in (30, 50, 40)]
    assert Note(SIGNED.text, tuple(times)).verify(WITNESS_KEY) == 50
    moved = Signature(times[0].name, times[0].key_id, (31).to_bytes(8, "big") + times[0].value[8:])
    with pytest.raises(VerificationFailed, match="not valid"):
        Note(SIGNED.text, (*times, moved)).verify(WITNESS_KEY)


def test_adding_a_signature_replaces_the_same_keys() -> None:
    again = COSIGNED.adding([cosign(SIGNED.text, WITNESS_KEY, WITNESS.sign, 1_800_000_000)])
    assert [each.name for each in again.signatures] == [LOG_KEY.name, WITNESS_KEY.name]
    assert again.verify(WITNESS_KEY) == 1_800_000_000


@pytest.mark.parametrize(
    "stranger",
    [
        VerifierKey("log.example/2", LOG_KEY.algorithm, LOG_KEY.public),
        VerifierKey(LOG_KEY.name, LOG_KEY.algorithm, WITNESS_KEY.public),
        VerifierKey(LOG_KEY.name, Algorithm.COSIGNATURE, LOG_KEY.public),
    ],
    ids=["other name", "other key", "other algorithm"],
)
def test_signatures_by_unknown_keys_are_ignored(stranger: VerifierKey) -> None:
    with pytest.raises(VerificationFailed, match="not signed by"):
        SIGNED.verify(stranger)
    alien = Signature(stranger.name, stranger.id, b"whatever")
    assert SIGNED.adding([alien]).verify(LOG_KEY) is None


@pytest.mark.parametrize("key", [LOG_KEY, WITNESS_KEY], ids=["log", "witness"])
def test_no_bit_of_text_or_signature_can_be_changed(key: VerifierKey) -> None:
    at = [each.is_by(key) for each in COSIGNED.signatures].index(True)
    right = COSIGNED.signatures[at]
    for bit in range(len(right.value) * 8):
        value = bytearray(right.value)
        value[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VerificationFailed):
            Note(COSIGNED.text, (Signature(right.name, right.key_id, bytes(value)),)).verify(key)
    for text in (COSIGNED.text.replace("5", "6", 1), COSIGNED.text + "more\n", COSIGNED.text[:-1] + "\n\n"):
        with pytest.raises(VerificationFailed, match="not valid"):
            Note(text, COSIGNED.signatures).verify(key)
    for short in (right.value[:-1], right.value[:8], right.value[:7], right.value + b"\0"):
        with pytest.raises(VerificationFailed):
            Note(COSIGNED.text, (Signature(right.name, right.key_id, short),)).verify(key)


def test_a_key_signs_only_what_it_is_for() -> None:
    with pytest.raises(ValueError, match="not an Ed25519 note key"):
        sign("text\n", WITNESS_KEY, WITNESS.sign)
    for key, at in ((LOG_KEY, 1), (WITNESS_KEY, -1), (WITNESS_KEY, 2**63)):
        with pytest.raises(ValueError, match="cannot be written"):
            cosign("text\n", key, WITNESS.sign, at)


LINE = str(SIGNED.signatures[0])


@pytest.mark.parametrize(
    ("note", "says"),
    [
        (b"", "no empty line"),
        (b"text\n", "no empty line"),
        (b"text\n\n", "must end in a newline"),
        (f"text\n{LINE}".encode(), "no empty line"),
        (f"text\n\n{LINE[:-1]}".encode(), "must end in a newline"),
        (f"text\n\n{LINE}\n".encode(), "must end in a newline"),
        (f"text\n\n{LINE}stray\n".encode(), "an em dash, a key name and base64"),
        (f"text\n\n-{LINE[1:]}".encode(), "an em dash"),
        (f"text\n\n –{LINE[1:]}".encode(), "an em dash"),
        (LINE.replace(" log", "  log").join(["text\n\n", ""]).encode(), "an em dash"),
        (LINE.replace("log", "l+g").join(["text\n\n", ""]).encode(), "no key name"),
        (LINE.replace("log", "l\u00a0g").join(["text\n\n", ""]).encode(), "no key name"),
        (LINE.replace("log", "l\u2028g").join(["text\n\n", ""]).encode(), "no key name"),
        (b"te\rxt\n\n" + LINE.encode(), "control character"),
        (b"te\0xt\n\n" + LINE.encode(), "control character"),
        (f"text\n\n{LINE[:-1]}\r\n".encode(), "control character"),
        (b"te\xffxt\n\n" + LINE.encode(), "not UTF-8"),
        (b"te\xed\xa0\x80xt\n\n" + LINE.encode(), "not UTF-8"),
        ("text\n\n— log.example/1 AAAAAA==\n".encode(), "shorter than a key id"),
        ("text\n\n— log.example/1 AAAAAAB=\n".encode(), "not base64"),
        ("text\n\n— log.example/1 AAAAAAA\n".encode(), "not base64"),
        ("text\n\n— log.example/1 AAAA_AA=\n".encode(), "not base64"),
        (f"text\n\n{LINE * 101}".encode(), "1 to 100 signatures, not 101"),
        (b"x" * MAX_NOTE_BYTES + f"\n\n{LINE}".encode(), "larger than"),
    ],
)
def test_a_malformed_note_says_what_is_wrong(note: bytes, says: str) -> None:
    with pytest.raises(VerificationFailed, match=says):
        Note.parse(note)


ROOT = CHECKPOINT.text().split("\n")[2]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "end in a newline"),
        (f"origin\n5\n{ROOT}", "end in a newline"),
        ("origin\n5\n", "three lines"),
        (f"\n5\n{ROOT}\n", "non-empty lines"),
        (f"origin\n5\n{ROOT}\n\n", "non-empty lines"),
        (f"origin\n5\n{ROOT}\n\nmore\n", "non-empty lines"),
        (f"origin\n05\n{ROOT}\n", "leading zeros"),
        (f"origin\n-5\n{ROOT}\n", "decimal"),
        (f"origin\n+5\n{ROOT}\n", "decimal"),
        (f"origin\n 5\n{ROOT}\n", "decimal"),
        (f"origin\n٥\n{ROOT}\n", "decimal"),
        (f"origin\n\n{ROOT}\n", "decimal"),
        (f"origin\n{2**63}\n{ROOT}\n", "below 2"),
        (f"origin\n5\n{ROOT[:-1]}\n", "not base64"),
        (f"origin\n5\n{ROOT} \n", "not base64"),
        (f"origin\n5\n{ROOT[:-2]}V=\n", "not base64"),
        ("origin\n5\nAAAA\n", "not 32 bytes"),
        (f"ori\tgin\n5\n{ROOT}\n", "control character"),
    ],
)
def test_a_malformed_checkpoint_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(VerificationFailed, match=says):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "with plus signs between"),
        ("name+c74f20a3", "with plus signs between"),
        (NEUMANN.replace("c74f20a3", "c74f20a4"), "has the id c74f20a4"),
        (NEUMANN.replace("c74f20a3", "C74F20A3"), "has the id C74F20A3"),
        (NEUMANN.replace("Peter", "Petra"), "has the id"),
        (NEUMANN.replace("PeterN", "Peter N"), "no key name"),
        (NEUMANN[NEUMANN.index("+") :], "no key name"),
        (NEUMANN.replace("ARpc", "Ahpc"), "not supported"),
        (NEUMANN.replace("ARpc2QcU", "ARpc"), "not 32 bytes"),
        (NEUMANN + "=", "not base64"),
        (NEUMANN + "\n", "not base64"),
    ],
)
def test_a_malformed_verifier_key_says_what_is_wrong(key: str, says: str) -> None:
    with pytest.raises(VerificationFailed, match=says):
        VerifierKey.parse(key)


HASHES = PROOF_HEAD.split(b"\n")[3:8]


@pytest.mark.parametrize(
    ("proof", "says"),
    [
        (b"", "begins with c2sp.org"),
        (PROOF_HEAD[:-1] + SOFA, "no empty line"),
        (PROOF_HEAD.replace(b"@v1", b"@v2") + SOFA, "begins with c2sp.org"),
        (PROOF_HEAD.replace(b"extra Y", b"extra Y=") + SOFA, "not base64"),
        (PROOF_HEAD.replace(b"index 7", b"index 07") + SOFA, "leading zeros"),
        (PROOF_HEAD.replace(b"index 7", b"Index 7") + SOFA, "no index line"),
        (b"c2sp.org/tlog-proof@v1\nextra \nindex 1\n\n" + SOFA, "not base64"),
        (b"c2sp.org/tlog-proof@v1\nindex 1\nextra AAAA\n\n" + SOFA, "not base64"),
        (PROOF_HEAD.replace(b"RoopEk", b"Ro") + SOFA, "not (32 bytes|base64)"),
        (b"c2sp.org/tlog-proof@v1\nindex 1\n" + (HASHES[0] + b"\n") * 64 + b"\n" + SOFA, "at most 63"),
        (PROOF_HEAD + SOFA[:-1], "end in a newline"),
        (PROOF_HEAD + QUASIMODO, "decimal"),
        (PROOF_HEAD.replace(b"\n", b"\r\n") + SOFA, "begins with c2sp.org"),
    ],
)
def test_a_malformed_proof_says_what_is_wrong(proof: bytes, says: str) -> None:
    with pytest.raises(VerificationFailed, match=says):
        TlogProof.parse(proof)


@pytest.mark.parametrize(
    ("request_body", "says"),
    [
        (b"", "begins with an old line"),
        (REQUEST[4:], "begins with an old line"),
        (REQUEST.replace(b"old 2", b"old  2"), "decimal"),
        (REQUEST.replace(b"old 2", b"old 02"), "leading zeros"),
        (REQUEST.replace(b"old 20852014", b"old "), "decimal"),
        (b"old 1\n" + (HASHES[0] + b"\n") * 64 + b"\n" + SOFA, "at most 63"),
        (REQUEST.replace(b"PlRN", b"PlR!"), "not base64"),
        (b"\xff" + REQUEST, "not UTF-8"),
    ],
)
def test_a_malformed_request_says_what_is_wrong(request_body: bytes, says: str) -> None:
    with pytest.raises(VerificationFailed, match=says):
        AddCheckpoint.parse(request_body)


def test_what_cannot_be_written_cannot_be_made() -> None:
    for make in (
        lambda: Checkpoint("two\nlines", 1, EMPTY_ROOT), lambda: Checkpoint("o", -1, EMPTY_ROOT),
        lambda: Checkpoint("o", 1, b""), lambda: Checkpoint("o", 1, EMPTY_ROOT, ("",)), lambda: Note("text", ()),
        lambda: Note("text\n", ()), lambda: TlogProof(-1, (), SOFA), lambda: TlogProof(1, (), SOFA, b""),
        lambda: AddCheckpoint(-1, (), SIGNED), lambda: AddCheckpoint(1, (b"",), SIGNED),
        lambda: Signature("n", b"123", b"s"), lambda: VerifierKey("n", Algorithm.ED25519, b"short"),
    ):  # fmt: skip
        with pytest.raises(VerificationFailed):
            make()


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30)
hashes = st.binary(min_size=32, max_size=32)
sizes = st.integers(0, 2**63 - 1)


@unhurried
@given(texts, sizes, hashes, st.lists(texts, max_size=3), st.lists(hashes, max_size=63), st.binary(max_size=40))
def test_what_is_written_is_read_back(
    origin: str, size: int, root: bytes, extensions: list[str], proof: list[bytes], extra: bytes
) -> None:
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert Checkpoint.parse(checkpoint.text()) == checkpoint
    note = Note(checkpoint.text(), (sign(checkpoint.text(), LOG_KEY, LOG.sign),))
    assert Note.parse(note.to_bytes()) == note
    note.verify(LOG_KEY)
    tlog_proof = TlogProof(size, tuple(proof), note.to_bytes(), extra or None)
    assert TlogProof.parse(tlog_proof.to_bytes()) == tlog_proof
    request = AddCheckpoint(size, tuple(proof), note)
    assert AddCheckpoint.parse(request.to_bytes()) == request


@unhurried
@given(st.sampled_from([NEUMANN_NOTE, SOFA, REQUEST, PROOF_HEAD + SOFA]), st.data())
@example(b"\n\n\xe2\x80\x94 a AAAAAAA=\n", None)
def test_hostile_bytes_are_refused_or_written_back_to_the_byte(seed: bytes, data: st.DataObject | None) -> None:
    if data is not None:
        at = data.draw(st.integers(0, len(seed)))
        upto = data.draw(st.integers(at, min(len(seed), at + 40)))
        middle = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"\n", b"\n\n", b" ", b"=", b"\xe2\x80\x94 ", b"+"])
        )
        seed = seed[:at] + middle + seed[upto:]
    for kind in (Note, TlogProof, AddCheckpoint):
        with contextlib.suppress(VerificationFailed):
            assert kind.parse(seed).to_bytes() == seed


@unhurried
@given(st.text(max_size=80) | st.builds("{}+{}+{}".format, texts, texts, texts))
def test_hostile_text_is_refused_or_written_back(text: str) -> None:
    for parse in (VerifierKey.parse, Signature.parse, lambda line: Checkpoint.parse(line).text(), parse_signatures):
        with contextlib.suppress(VerificationFailed):
            assert "".join(map(str, [parse(text)])).rstrip("\n") == text.rstrip("\n")
