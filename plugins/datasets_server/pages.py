"""The page of a DAG in the UI, with a table of its parameters, which docs/actions.md has too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow.sdk import Param

#: Where a docstring wants the table.
PLACE = "{parameters}"

_KINDS = {"array": "a list", "boolean": "`true` or `false`", "string": "a text"}


def page(doc: str | None, params: Mapping[str, Param]) -> str:
    """Return the page of a DAG: its docstring, with the table of its parameters."""
    return (doc or "").replace(PLACE, parameter_table(params))


def parameter_table(params: Mapping[str, Param]) -> str:
    """Return a table of parameters in Markdown: name, default, valid values, description."""
    rows = [
        (f"`{name}`", _default(param), _valid_values(param.schema), _escaped(param.description))
        for name, param in params.items()
    ]
    return table(("parameter", "default", "valid values", "meaning"), rows)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, whose cells are Markdown too."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


def _default(param: Param) -> str:
    if param.value in (None, []):
        return "empty"
    return f"`{param.value if isinstance(param.value, str) else json.dumps(param.value)}`"


def _valid_values(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("format") == "date-time":
        return "a time"
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    if "integer" in kinds:
        return f"{schema['minimum']} " + (f"to {schema['maximum']}" if "maximum" in schema else "or more")
    return next(_KINDS[kind] for kind in kinds if kind != "null")


def _escaped(description: str | None) -> str:
    """Return a description, which is plain text, as Markdown."""
    return (description or "").replace("*", r"\*")
