"""The tables that are made from the DAGs, in their pages and in the README."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import Param

from datasets_server.actions import ACTIONS
from datasets_server.pages import page, parameter_table
from dev.docs import DOCUMENTS, PROJECT, with_tables


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_has_the_tables_that_make_docs_writes(document: Path) -> None:
    text = document.read_text(encoding="utf-8")

    assert "<!-- table: " in text
    assert text == with_tables(text), "run make docs"


def test_the_documents_have_every_action_and_every_parameter() -> None:
    text = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    params = {name for dag in DagBag(PROJECT / "dags").dags.values() for name in dag.params}

    assert params
    assert [name for name in params if f"| `{name}` |" not in text] == []
    assert [action.id for action in ACTIONS if f"docs/actions.md#{action.id}" not in text] == [
        "collect-queue-metrics"
    ], "it shares the section of collect-cache-metrics"


def test_a_table_with_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError, match="parameters of nothing"):
        with_tables("<!-- table: parameters of nothing -->\n<!-- end of table -->\n")


@pytest.mark.parametrize(
    ("param", "row"),
    [
        (Param(5, "How many.", type="integer", minimum=1, maximum=9), "`5` | 1 to 9 | How many."),
        (Param(None, "How many.", type=["null", "integer"], minimum=1), "empty | 1 or more | How many."),
        (Param(False, "Preview.", type="boolean"), "`false` | `true` or `false` | Preview."),
        (Param("ask", "Or stop.", type="string", enum=["ask", "stop"]), "`ask` | `ask`, `stop` | Or stop."),
        (Param([], "All org/*, *.", type=["array", "null"]), r"empty | a list | All org/\*, \*."),
        (Param("*", "Which.", type="string"), "`*` | a text | Which."),
        (Param(None, "When.", type=["null", "string"], format="date-time"), "empty | a time | When."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_row_has_the_default_the_valid_values_and_the_description(param: Param, row: str) -> None:
    assert parameter_table({"name": param}).splitlines()[2:] == [f"| `name` | {row} |"]


def test_a_page_has_the_table_where_its_docstring_says() -> None:
    text = page("Before.\n\n{parameters}\n\nAfter.", {"name": Param(1, "One.", type="integer", minimum=0)})

    assert text == (
        "Before.\n\n"
        "| parameter | default | valid values | meaning |\n"
        "| --- | --- | --- | --- |\n"
        "| `name` | `1` | 0 or more | One. |\n\n"
        "After."
    )
