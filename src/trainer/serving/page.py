"""The page at `/`, on which a user tries a model or draws samples."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Literal

from starlette.responses import Response

PageKind = Literal["rows", "samples"]
"""Whether a user enters rows that are predicted, or draws samples of a generator; the name of the form
and of its script.
"""


def page_response(kind: PageKind, *, needs_token: bool) -> Response:
    """Return the page. It has no data in it: its script reads `/schema`.

    Args:
        kind: What the model does.
        needs_token: Whether the page asks for a token.
    """
    content, policy = _page(kind)
    headers = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "x-frame-options": "DENY",
    }
    content = content.replace("{{token}}", "" if needs_token else "hidden")
    return Response(content, media_type="text/html; charset=utf-8", headers=headers)


@cache
def _page(kind: PageKind) -> tuple[str, str]:
    """Return the page, and a policy that allows its own script and style only."""
    html, style = _read("page.html"), _read("page.css")
    script = _read("client.js") + _read(f"{kind}.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "connect-src 'self'; img-src blob: data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    parts = {"style": style, "content": _read(f"{kind}.html"), "script": script}
    for name, text in parts.items():
        html = html.replace(f"{{{{{name}}}}}", text)
    return html, policy


def _read(name: str) -> str:
    return (files("trainer.serving") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
