"""Texts of unknown origin, such as names of datasets, in a document in Markdown."""

from __future__ import annotations

import html
import re

# Every character that can mean something in Markdown or HTML; those that html.escape replaces are left to it.
_PUNCTUATION = re.compile(r"""([!#$%()*+,\-.:;=?@\[\\\]^_`{|}~])""")


def as_plain_text(text: str) -> str:
    """Return the Markdown that shows a text as it is, on one line, whatever is in it."""
    printable = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
    return html.escape(_PUNCTUATION.sub(r"\\\1", printable))
