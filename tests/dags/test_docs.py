"""The tables that are made from the DAGs, in their pages and in the README."""

from __future__ import annotations

import pytest
from airflow.sdk import Param

from datasets_server.pages import page, parameter_table
from dev.docs import PROJECT, README, with_tables


def test_the_readme_has_the_tables_that_make_docs_writes() -> None:
    text = README.read_text()

    assert text == with_tables(text), "run make docs"


def test_the_readme_has_every_parameter() -> None:
    from airflow.dag_processing.dagbag import DagBag

    names = {name for dag in DagBag(PROJECT / "dags").dags.values() for name in dag.params}

    assert names
    assert [name for name in names if f"| `{name}` |" not in README.read_text()] == []


def test_a_table_with_an_unknown_name_is_an_error() -> None:
    text = README.read_text() + "\n<!-- table: parameters of nothing -->\n<!-- end of table -->\n"

    with pytest.raises(KeyError, match="parameters of nothing"):
        with_tables(text)


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
