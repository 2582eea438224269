"""Secret keys: 32 random bytes as 64 hexadecimal digits, in a file or an environment variable."""

from __future__ import annotations

import hmac
import os
import re
import shlex
import stat
from pathlib import Path

from trainer.errors import Problem

_DIGITS = re.compile(r"[0-9a-fA-F]{64}")
_EXPECTED = "a key of 64 hexadecimal digits"
_MAX_BYTES = 1024
_FINGERPRINT_BYTES = 16


def new_key_command(path: Path) -> str:
    """Return a shell command that writes a new key to a file that only its owner can read."""
    code = "import secrets; print(secrets.token_hex(32))"
    return f"(umask 077; python3 -c {shlex.quote(code)} > {shlex.quote(str(path))})"


def parse_key(text: str, where: str, fix: str) -> bytes | Problem:
    """Return the key that a text contains, surrounded by whitespace at most.

    The problem does not quote the text, which may be a secret.

    Args:
        text: The text.
        where: The location, for the problem.
        fix: How to get a key, for the problem.
    """
    stripped = text.strip()
    if _DIGITS.fullmatch(stripped):
        return bytes.fromhex(stripped)
    found = f"{len(stripped)} characters" if stripped else "nothing"
    if len(stripped) == 64:
        found = "64 characters, not all of them hexadecimal digits"
    return Problem(where, _EXPECTED, found, fix)


def read_key(path: Path) -> bytes | Problem:
    """Return the key in a file, which may be a pipe."""
    where, fix = str(path), f"create one with {new_key_command(path)}"
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES)
    except OSError as error:
        found = (error.strerror or str(error)).lower()
        return Problem(where, f"a file with {_EXPECTED}", found, fix)
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        return Problem(where, _EXPECTED, "bytes that are not text", fix)
    return parse_key(text, where, fix)


def key_file_warning(path: Path) -> str | None:
    """Return a warning if other users can read a key file."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    if not stat.S_ISREG(mode) or not mode & (stat.S_IRGRP | stat.S_IROTH):
        return None
    return f"{path}: other users can read this key: chmod 600 {shlex.quote(str(path))}"


def key_from_environment(name: str) -> bytes | Problem | None:
    """Return the key in an environment variable; None if it is not set or empty."""
    text = os.environ.get(name, "")
    if not text:
        return None
    return parse_key(text, f"the environment variable {name}", f'export {name}="$(cat KEYFILE)"')


def key_fingerprint(key: bytes, purpose: str) -> str:
    """Return a text that is different for each key and purpose, and does not reveal the key.

    It is the first 128 bits of the HMAC-SHA-256 of the purpose.
    """
    return hmac.digest(key, purpose.encode(), "sha256")[:_FINGERPRINT_BYTES].hex()
