"""A page as a browser takes it apart, to test that names in it are text."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

#: Elements whose presence would mean that a name was taken for markup.
_FOREIGN = frozenset({"img", "iframe", "object", "svg"})

HOSTILE_NAMES = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "a/b%2Fc?d=e&f#g",
    "\u202eright to left \u0645\u0631\u062d\u0628\u0627",
    "\U0001f917\u200d\U0001f525",
    "long" * 200,
    "&amp;&lt;b&gt;",
]


@dataclass
class ParsedPage(HTMLParser):
    """The text of a page, its links, and the values of its attributes."""

    text: str = ""
    links: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        assert tag not in _FOREIGN, f"there is an element {tag}"
        assert not [name for name in attributes if name.startswith("on")], attributes
        assert "style" not in attributes
        if tag == "script":
            assert (attributes.get("src") or "").startswith("static/")
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]
        self.values += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed_page(html: str) -> ParsedPage:
    """Take a page apart; it must have no script of its own, and no address that is not relative."""
    page = ParsedPage()
    page.feed(html)
    page.close()
    assert not [link for link in page.links if link.startswith(("/", "javascript:")) or "://" in link]
    return page
