"""``make docs``: write the tables of the documentation from the DAGs.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``. The names are ``actions``,
``parameters of DAG_ID`` and ``further parameters of backfill-retryable-errors``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.timetables.interval import CronDataIntervalTimetable

from datasets_server.actions import ACTIONS, BACKFILL, BACKFILL_RETRYABLE_ERRORS, Action
from datasets_server.pages import parameter_table, table

PROJECT = Path(__file__).parents[1]
ACTIONS_PAGE = PROJECT / "docs" / "actions.md"
#: The documents that contain such tables.
DOCUMENTS = (PROJECT / "README.md", ACTIONS_PAGE)

_TABLE = re.compile(r"(<!-- table: ([\w -]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def with_tables(text: str) -> str:
    """Return a Markdown document with its tables up to date.

    :raises KeyError: if the document has a table with an unknown name.
    """
    tables = {"actions": _action_table(), **_parameter_tables()}
    return _TABLE.sub(lambda found: f"{found[1]}\n{tables[found[2]]}\n\n{found[3]}", text)


def _action_table() -> str:
    headings = _HEADING.findall(ACTIONS_PAGE.read_text(encoding="utf-8"))
    rows = [(_link(action, headings), action.description, _schedule(action)) for action in ACTIONS]
    return table(("action", "what it does", "schedule (UTC)"), rows)


def _link(action: Action, headings: list[str]) -> str:
    """Return the id of an action, as a link to the section about it, if there is one."""
    anchors = [heading.replace(" ", "-") for heading in headings if action.id in heading.split()]
    path = ACTIONS_PAGE.relative_to(PROJECT)
    return f"[`{action.id}`]({path}#{anchors[0]})" if anchors else f"`{action.id}`"


def _schedule(action: Action) -> str:
    in_words = CronDataIntervalTimetable(str(action.schedule), timezone="UTC").description
    return f"{in_words}: `{action.schedule}`"


def _parameter_tables() -> Mapping[str, str]:
    dags = DagBag(PROJECT / "dags").dags
    params = {
        dag_id: {name: dag.params.get_param(name) for name in dag.params} for dag_id, dag in dags.items()
    }
    of_errors = params[BACKFILL_RETRYABLE_ERRORS.id]
    further = {name: param for name, param in of_errors.items() if name not in params[BACKFILL.id]}
    return {
        **{f"parameters of {dag_id}": parameter_table(each) for dag_id, each in params.items()},
        f"further parameters of {BACKFILL_RETRYABLE_ERRORS.id}": parameter_table(further),
    }


def main() -> None:
    """Write the tables of the documents."""
    for document in DOCUMENTS:
        document.write_text(with_tables(document.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
