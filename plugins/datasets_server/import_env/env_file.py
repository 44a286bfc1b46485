"""Reading a file of ``KEY=VALUE`` lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv.parser import Binding, parse_stream
from dotenv.variables import Atom, Variable, parse_variables

from include.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_env_file(path: Path) -> dict[str, str]:
    """Read a file as :func:`parse_env` does.

    :raises ConfigurationError: if it cannot be read, or as :func:`parse_env`.
    """
    try:
        return parse_env(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"It cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError("It cannot be read: it is not UTF-8 text.") from None


def parse_env(text: str) -> dict[str, str]:
    """Parse ``KEY=VALUE`` lines as python-dotenv does; the last line with a key counts.

    ``${VAR}`` and ``${VAR:-default}`` in a value are expanded, as for the CronJob, but only from the lines
    above. The environment of this process belongs to Airflow, not to the CronJob: a variable with the same
    name would silently set another value.

    :raises ConfigurationError: naming the number of each line that cannot be read or expanded, but not its
        text, which may be secret.
    """
    values: dict[str, str] = {}
    problems: list[str] = []
    for binding in parse_stream(StringIO(text)):
        key, value, line = binding.key, binding.value, f"Line {_line_number(binding)}"
        if key is None and not binding.error:
            continue  # a comment, or blank lines at the end
        if key is None or value is None or not _NAME.fullmatch(key):
            problems.append(f"{line} cannot be read: write KEY=VALUE, and close every quote.")
            continue
        atoms = list(parse_variables(value))
        if any(_is_undefined(atom, values) for atom in atoms):
            problems.append(
                f"{line} refers to a variable that no line above it sets: set it above, or write a default,"
                " as in ${NAME:-default}."
            )
        values[key] = "".join(atom.resolve(values) for atom in atoms)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return values


def _line_number(binding: Binding) -> int:
    """Return the number of the line with the key: a binding includes the blank lines before it."""
    text = binding.original.string
    blank = text[: len(text) - len(text.lstrip())]
    return binding.original.line + blank.count("\n")


def _is_undefined(atom: Atom, values: Mapping[str, str]) -> bool:
    return isinstance(atom, Variable) and atom.default is None and atom.name not in values
