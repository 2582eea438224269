"""Any change of an encrypted stream is noticed before a byte of the changed part is returned."""

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.archive.conftest import KEY
from trainer.archive.encryption import (
    CHUNK_BYTES,
    HEADER_BYTES,
    MAGIC,
    TAG_BYTES,
    DecryptingReader,
    EncryptingWriter,
    WrongKeyError,
)
from trainer.archive.format import FormatError

CHUNK = CHUNK_BYTES + TAG_BYTES


def encrypt(content: bytes, key: bytes = KEY, step: int = 70_000) -> bytes:
    file = io.BytesIO()
    writer = EncryptingWriter(file, key)
    for start in range(0, len(content), step):
        writer.write(content[start : start + step])
    writer.finish()
    return file.getvalue()


def decrypt(content: bytes, key: bytes = KEY, size: int = 100_000) -> bytes:
    reader = DecryptingReader(io.BytesIO(content), key)
    parts = []
    while part := reader.read(size):
        assert len(part) <= size
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 300_000])
def test_round_trip(size: int) -> None:
    content = random.Random(size).randbytes(size)
    encrypted = encrypt(content)
    assert decrypt(encrypted) == content
    chunks = max(1, -(-size // CHUNK_BYTES))
    assert len(encrypted) == HEADER_BYTES + size + chunks * TAG_BYTES
    assert encrypted.startswith(MAGIC)


def test_the_same_content_is_never_encrypted_to_the_same_bytes() -> None:
    first, second = encrypt(b"content"), encrypt(b"content")
    assert first[HEADER_BYTES:] != second[HEADER_BYTES:]
    assert b"content" not in first


def test_format_is_the_documented_one() -> None:
    """Decrypt with the steps of the docstring, written again with the package's functions."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    content = random.Random(1).randbytes(CHUNK_BYTES + 5)
    encrypted = encrypt(content)
    header, body = encrypted[:56], encrypted[56:]
    derived = HKDF(SHA256(), 48, header[8:40], b"trainer archive 1").derive(KEY)
    assert derived[32:] == header[40:]
    cipher = AESGCM(derived[:32])
    first = cipher.decrypt(bytes(12), body[:CHUNK], header)
    last = cipher.decrypt(bytes(10) + b"\x01\x01", body[CHUNK:], header)
    assert first + last == content


@pytest.mark.parametrize("content", [b"", b"x", bytes(CHUNK_BYTES * 2)], ids=len)
def test_another_key(content: bytes) -> None:
    with pytest.raises(WrongKeyError):
        decrypt(encrypt(content), bytes(32))


ENCRYPTED = encrypt(random.Random(2).randbytes(3 * CHUNK_BYTES + 100))
FIRST, SECOND = (
    ENCRYPTED[HEADER_BYTES + n * CHUNK : HEADER_BYTES + (n + 1) * CHUNK] for n in (0, 1)
)
OTHER = encrypt(random.Random(2).randbytes(3 * CHUNK_BYTES + 100))
START = ENCRYPTED[:HEADER_BYTES]
TAMPERED = {
    "cut off in a chunk": ENCRYPTED[:-1],
    "cut off between chunks": ENCRYPTED[: HEADER_BYTES + 2 * CHUNK],
    "without chunks": START,
    "extended": ENCRYPTED + b"x",
    "extended by a chunk": ENCRYPTED + FIRST,
    "a chunk removed": START + ENCRYPTED[HEADER_BYTES + CHUNK :],
    "chunks swapped": START + SECOND + FIRST + ENCRYPTED[HEADER_BYTES + 2 * CHUNK :],
    "a chunk of another file": START
    + OTHER[HEADER_BYTES:][:CHUNK]
    + ENCRYPTED[HEADER_BYTES + CHUNK :],
}


@pytest.mark.parametrize("content", TAMPERED.values(), ids=TAMPERED)
def test_tampered_content(content: bytes) -> None:
    with pytest.raises(FormatError):
        decrypt(content)


@given(st.integers(0, len(ENCRYPTED) * 8 - 1))
def test_every_changed_bit_is_noticed(bit: int) -> None:
    changed = bytearray(ENCRYPTED)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises((FormatError, WrongKeyError)):
        decrypt(bytes(changed))


@pytest.mark.parametrize("size", [0, 5, HEADER_BYTES - 1])
def test_incomplete_header(size: int) -> None:
    with pytest.raises(FormatError, match="cut off"):
        decrypt(ENCRYPTED[:size])
