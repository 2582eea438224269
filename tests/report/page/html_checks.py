"""Checks of the HTML of a page."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Elements(HTMLParser):
    """The elements of a page; asserts that start and end tags match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.starts: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.starts.append((tag, dict(attrs), tuple(self._open)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.starts.append((tag, dict(attrs), tuple(self._open)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, tag
        assert self._open.pop() == tag, (tag, self._open)

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def find_all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes, _ in self.starts if name == tag]


def check_page(text: str) -> Elements:
    """Check tags, unique ids, internal references, no external resources, and only our script."""
    page = Elements(text)
    ids = [attributes["id"] for _, attributes, _ in page.starts if "id" in attributes]
    assert len(ids) == len(set(ids)), sorted(item for item in ids if ids.count(item) > 1)
    for tag, attributes, _ in page.starts:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("href", "src", "action", "srcset", "poster", "data", "formaction"):
            value = attributes.get(name)
            if value is None:
                continue
            inside = value.startswith("#") and value[1:] in ids
            is_picture = value.startswith(("data:image/png", "data:image/jpeg"))
            assert inside or (tag in ("image", "img") and is_picture), (tag, value)
        for value in attributes.values():
            for reference in re.findall(r"url\(([^)]*)\)", value or ""):
                assert reference.strip("'\"").removeprefix("#") in ids, reference
        for name in ("aria-labelledby", "aria-describedby"):
            for reference in (attributes.get(name) or "").split():
                assert reference in ids, (tag, reference)
    style = next(data for tag, data in page.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style
    assert not page.find_all("link")
    assert not page.find_all("iframe")
    _check_script(page)
    for attributes in page.find_all("svg"):
        assert attributes["role"] == "img"
        assert len((attributes["aria-labelledby"] or "").split()) == 2
    assert (
        len(page.find_all("svg")) == len(page.find_all("title")) - 1 == len(page.find_all("desc"))
    )
    for tag, attributes, above in page.starts:
        if tag == "table":
            assert above[-1] == "div", above
        if tag == "div" and attributes.get("class") == "scroll":
            assert attributes["tabindex"] == "0"
            assert attributes["aria-label"]
    # A caption inside a scrolling element would be cut off on narrow screens.
    assert not page.find_all("caption")
    for tag, _, above in page.starts:
        if tag == "figcaption":
            assert above[-1] == "figure", above
            assert "div" not in above or above.index("div") < above.index("figure"), above
    assert all(attributes["alt"] for attributes in page.find_all("img"))
    for attributes in page.find_all("th"):
        assert attributes["scope"] in ("col", "row")
    return page


def _check_script(page: Elements) -> None:
    (script,) = [data for tag, data in page.texts if tag == "script"]
    assert len(page.find_all("script")) == 1
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [
        attributes["content"] or ""
        for attributes in page.find_all("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"
    assert set(rules) == {
        "default-src",
        "style-src",
        "img-src",
        "script-src",
        "base-uri",
        "form-action",
    }
