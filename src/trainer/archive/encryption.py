"""Encryption of a stream in authenticated chunks, with AES-256-GCM of the package `cryptography`.

    header   8 bytes   "TRNRENC1"
             32 bytes  salt, random
             16 bytes  check, to recognize the key
    chunks   64 KiB of the stream, encrypted, each followed by its 16-byte tag; the last one is shorter

The 32-byte key and the salt give, by HKDF-SHA-256 with the info "trainer archive 1", the 32-byte key of
this file and the 16-byte check. The nonce of a chunk is its number in 11 bytes (big-endian, from 0) and
a byte that is 1 for the last chunk and 0 for the others; the header is authenticated with each chunk.
So chunks cannot be changed, reordered, removed or taken from another file, and the end cannot be cut
off, without an error. This is the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, Online
Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance (CRYPTO 2015), as in the format of age.
"""

from __future__ import annotations

import hmac
import secrets
from typing import IO, TYPE_CHECKING

from trainer.archive.format import FormatError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"TRNRENC1"
CHUNK_BYTES = 1 << 16
TAG_BYTES = 16
_SALT_BYTES, _CHECK_BYTES, _KEY_BYTES = 32, 16, 32
HEADER_BYTES = len(MAGIC) + _SALT_BYTES + _CHECK_BYTES
_INFO = b"trainer archive 1"


class WrongKeyError(Exception):
    """The archive was encrypted with another key."""


class EncryptingWriter:
    """Encrypts what is written to it; `finish` writes the last chunk.

    Args:
        file: The file to write to.
        key: 32 bytes.
    """

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        salt = secrets.token_bytes(_SALT_BYTES)
        self._cipher, check = _derived(key, salt)
        self._header = MAGIC + salt + check
        self._file = file
        self._buffer = bytearray()
        self._number = 0
        file.write(self._header)

    def write(self, data: bytes) -> int:
        """Encrypt some bytes, except for a rest that `finish` may mark as the last chunk."""
        self._buffer += data
        while len(self._buffer) > CHUNK_BYTES:
            self._put(bytes(self._buffer[:CHUNK_BYTES]), is_last=False)
            del self._buffer[:CHUNK_BYTES]
        return len(data)

    def finish(self) -> None:
        """Write the last chunk."""
        self._put(bytes(self._buffer), is_last=True)
        self._buffer.clear()

    def _put(self, chunk: bytes, *, is_last: bool) -> None:
        nonce = _nonce(self._number, is_last=is_last)
        self._file.write(self._cipher.encrypt(nonce, chunk, self._header))
        self._number += 1


class DecryptingReader:
    """Decrypts a file, chunk by chunk; nothing is returned before it has been authenticated.

    Args:
        file: The file, at its start.
        key: 32 bytes.

    Raises:
        WrongKeyError: The file was encrypted with another key.
        FormatError: The file has been changed or cut off, also in `read`.
    """

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        self._header = file.read(HEADER_BYTES)
        if len(self._header) < HEADER_BYTES:
            raise FormatError("a complete archive", "one that was cut off")
        salt = self._header[len(MAGIC) : len(MAGIC) + _SALT_BYTES]
        self._cipher, check = _derived(key, salt)
        if not hmac.compare_digest(check, self._header[-_CHECK_BYTES:]):
            raise WrongKeyError
        self._file = file
        self._next: bytes | None = self._read_chunk()
        self._number = 0
        self._plain = b""

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; none at the end."""
        while not self._plain and self._next is not None:
            self._plain = self._decrypt(self._next)
        size = len(self._plain) if size < 0 else size
        part, self._plain = self._plain[:size], self._plain[size:]
        return part

    def _decrypt(self, chunk: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        following = self._read_chunk()
        self._next = following or None
        nonce = _nonce(self._number, is_last=self._next is None)
        self._number += 1
        try:
            return self._cipher.decrypt(nonce, chunk, self._header)
        except InvalidTag as error:
            raise FormatError("an unchanged archive", "one that was changed or cut off") from error

    def _read_chunk(self) -> bytes:
        return self._file.read(CHUNK_BYTES + TAG_BYTES)


def _derived(key: bytes, salt: bytes) -> tuple[AESGCM, bytes]:
    """Return the cipher of a file, and the check of its key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(SHA256(), _KEY_BYTES + _CHECK_BYTES, salt, _INFO).derive(key)
    return AESGCM(derived[:_KEY_BYTES]), derived[_KEY_BYTES:]


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
