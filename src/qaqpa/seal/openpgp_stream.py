"""The encrypted part of an OpenPGP message as a stream (RFC 9580, 5.13), under a session key that others encrypt.

Version 2 (AES-256 in OCB) for recipients whose certificate says that they read it; version 1 (AES-256 in CFB with a
digest inside) for all others, GnuPG among them. Content and ciphertext stand in packets of partial lengths (4.2.1.4).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESOCB3
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qaqpa.errors import NotConfigured
from qaqpa.seal.keys import Sink

_AES256, _OCB, _ITERATED, _SHA256 = 9, 2, 3, 8
"""Numbers of RFC 9580: 9.3, 9.6, 3.7.1, 9.5."""
_PART = 16
"""Parts of packets have 2^16 bytes; so do the chunks of version 2, which RFC 9580 counts from 2^6."""
_LITERAL, _SKESK, _SEIPD, _DIGEST = 0xCB, 0xC3, 0xD2, b"\xd3\x14"
"""First octets of packets (4.2); of the digest's also the length."""


class OpenPgpStream:
    """A `Sealing`: the packet with the content."""

    def __init__(self, file: Sink, key: bytes, *, version: int) -> None:
        """Under the session key `key`, in version 1 or 2 of the packet."""
        self._packet = _Parts(_SEIPD, file.write)
        self._cipher: _Cipher = _Ocb(key, self._packet.write) if version == 2 else _Cfb(key, self._packet.write)
        self._literal = _Parts(_LITERAL, self._cipher.write)
        self._literal.write(b"b\x00" + bytes(4))  # binary, without a name and a date (5.9)

    def write(self, block: bytes) -> None:
        """As `Sealing`."""
        self._literal.write(block)

    def finish(self) -> None:
        """As `Sealing`."""
        self._literal.finish()
        self._cipher.finish()
        self._packet.finish()

    def cancel(self) -> None:
        """As `Sealing`."""


class _Parts:
    """A packet whose length nobody knows yet: parts of one size, and the rest."""

    def __init__(self, tag: int, out: Callable[[bytes], object]) -> None:
        self._begin, self._out, self._rest = bytes([tag]), out, bytearray()

    def write(self, block: bytes) -> None:
        self._rest += block
        size = 1 << _PART
        whole = len(self._rest) // size * size
        if whole:
            with memoryview(self._rest) as view:
                parts = [bytes([224 + _PART]) + view[at : at + size] for at in range(0, whole, size)]
            del self._rest[:whole]
            self._out(self._begin + b"".join(parts))
            self._begin = b""

    def finish(self) -> None:
        # The length in five octets (4.2.1.3) serves for every one.
        self._out(self._begin + b"\xff" + len(self._rest).to_bytes(4) + self._rest)


class _Cipher(Protocol):
    def write(self, block: bytes) -> None: ...

    def finish(self) -> None: ...


class _Cfb:
    """Version 1 (5.13.1)."""

    def __init__(self, key: bytes, out: Callable[[bytes], object]) -> None:
        self._out, self._digest = out, hashlib.sha1()  # noqa: S324 - the format's own
        self._cfb = Cipher(algorithms.AES256(key), CFB(bytes(16))).encryptor()
        out(b"\x01")
        begin = os.urandom(16)
        self.write(begin + begin[-2:])

    def write(self, block: bytes) -> None:
        self._digest.update(block)
        self._out(self._cfb.update(block))

    def finish(self) -> None:
        self._digest.update(_DIGEST)
        self._out(self._cfb.update(_DIGEST + self._digest.digest()))


class _Ocb:
    """Version 2 (5.13.2)."""

    def __init__(self, key: bytes, out: Callable[[bytes], object]) -> None:
        salt = os.urandom(32)
        self._about = bytes([_SEIPD, 2, _AES256, _OCB, _PART - 6])
        derived = HKDF(SHA256(), 32 + 7, salt, self._about).derive(key)
        self._out, self._ocb, self._iv = out, AESOCB3(derived[:32]), derived[32:]
        self._rest, self._count, self._size = bytearray(), 0, 0
        out(self._about[1:] + salt)

    def write(self, block: bytes) -> None:
        self._rest += block
        size = 1 << _PART
        whole = len(self._rest) // size * size
        if whole:
            with memoryview(self._rest) as view:
                chunks = [self._chunk(view[at : at + size]) for at in range(0, whole, size)]
            del self._rest[:whole]
            self._out(b"".join(chunks))

    def finish(self) -> None:
        last = self._chunk(memoryview(self._rest)) if self._rest else b""
        self._out(last + self._ocb.encrypt(self._nonce(), b"", self._about + self._size.to_bytes(8)))

    def _chunk(self, content: memoryview) -> bytes:
        sealed = self._ocb.encrypt(self._nonce(), content, self._about)
        self._count, self._size = self._count + 1, self._size + len(content)
        return sealed

    def _nonce(self) -> bytes:
        return self._iv + self._count.to_bytes(8)


def session_key(skesk: bytes, password: bytes) -> bytes:
    """The AES-256 key in the body of a packet that encrypts it to a password (5.3), version 4 or 6.

    Raises NotConfigured: nothing but another library than the one pinned writes another form.
    """
    try:
        cipher, key = _opened(skesk, password)
    except (ValueError, IndexError, InvalidTag):
        cipher, key = 0, b""
    if cipher != _AES256 or len(key) != 32:
        raise NotConfigured("openpgp: pysequoia is not the version that Qaqpa was made for; install its lock")
    return key


def _opened(skesk: bytes, password: bytes) -> tuple[int, bytes]:
    """Number of the cipher, and its key."""
    if skesk[0] == 4 and skesk[1] == _AES256:
        stretched, rest = _stretched(skesk[2:13], password), skesk[13:]
        plain = Cipher(algorithms.AES256(stretched), CFB(bytes(16))).decryptor().update(rest)
        return plain[0], plain[1:]
    if skesk[0] == 6 and skesk[2] == _AES256 and skesk[3] == _OCB:
        stretched, nonce, rest = _stretched(skesk[5:16], password), skesk[16:31], skesk[31:]
        about = bytes([_SKESK, 6, _AES256, _OCB])
        kek = HKDF(SHA256(), 32, None, about).derive(stretched)
        return _AES256, AESOCB3(kek).decrypt(nonce, rest, about)
    raise ValueError(skesk[:4])


def _stretched(s2k: bytes, password: bytes) -> bytes:
    """Iterated and salted S2K with SHA-256 (3.7.1.3), 32 bytes."""
    if s2k[:2] != bytes([_ITERATED, _SHA256]):
        raise ValueError(s2k[:2])
    salted, coded = s2k[2:10] + password, s2k[10]
    count = max((16 + (coded & 15)) << ((coded >> 4) + 6), len(salted))
    many = salted * 4096
    digest = hashlib.sha256()
    for _ in range(count // len(many)):
        digest.update(many)
    digest.update(many[: count % len(many)])
    return digest.digest()
