"""The Airflow plugin of the console, the page "Datasets server" in Airflow's navigation.

Airflow imports this file in each of its processes, so it loads nothing: the app is made by its first request.
"""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from datasets_server.console.lazy_app import LazyApp

#: Without a slash at the start, so that Airflow's own URL prefix stays in front of it; with one at the end,
#: because without it Airflow answers with its own page.
_HREF = "datasets-server/"


class DatasetsServerConsole(AirflowPlugin):
    """Mounts the app of the console, and shows it in Airflow's navigation."""

    name = "datasets_server_console"
    fastapi_apps = [  # noqa: RUF012 (Airflow reads a list)
        {"app": LazyApp(), "url_prefix": "/datasets-server", "name": "Datasets server"}
    ]
    external_views = [  # noqa: RUF012
        {
            "name": "Datasets server",
            "href": _HREF,
            "url_route": "datasets-server",
            "destination": "nav",
            "nav_top_level": True,
            "icon": f"{_HREF}static/icon.svg",
            "icon_dark_mode": f"{_HREF}static/icon-dark.svg",
        }
    ]
