"""The text of each Variable, from the environment variables that it replaces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from datasets_server import settings
from datasets_server.settings import DIRECTORY_CLEANING_KEYS, Setting
from include.errors import ConfigurationError

#: The name of the imported entry in the list of directories to clean.
IMPORTED_DIRECTORY = "imported"


def updated_text(setting: Setting[object], present: str | None, env: Mapping[str, str]) -> str | None:
    """Return the present text, changed by the environment variables.

    :param present: None if there is no such Variable yet.
    :return: None if no environment variable belongs to this Variable.
    :raises ConfigurationError: if one of them has an invalid value.
    """
    if setting is settings.DIRECTORY_CLEANING:
        text = _with_imported_directory(present or setting.default, env)
    else:
        text = next((env[name] or setting.default for name in setting.replaces if name in env), None)
    if text is not None:
        setting.check(text)
    return text


def _with_imported_directory(present: str, env: Mapping[str, str]) -> str | None:
    """Add the directory of the CronJob to the list, which may have others."""
    given: dict[str, Any] = {key: env[name] for name, key in DIRECTORY_CLEANING_KEYS.items() if env.get(name)}
    if not given:
        return None
    if "directory" not in given:
        raise ConfigurationError("A directory to clean also requires DIRECTORY_CLEANING_CACHE_DIRECTORY.")
    seconds = given.get("expired_time_interval_seconds", "")
    if seconds.isdecimal():
        given["expired_time_interval_seconds"] = int(seconds)
    settings.DIRECTORY_CLEANING.check(present)
    others = (entry for entry in json.loads(present) if entry["name"] != IMPORTED_DIRECTORY)
    return json.dumps([*others, {"name": IMPORTED_DIRECTORY, **given}])
