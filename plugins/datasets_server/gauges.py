"""Counts as gauges of Airflow's own metrics (StatsD or OpenTelemetry), where these are switched on."""

from __future__ import annotations

import re
from collections.abc import Iterable

from airflow.configuration import conf
from airflow.sdk.observability import stats

from include.actions.collect_metrics import label
from include.databases.counts import Counts

PREFIX = "datasets_server."


def send_gauges(counts: Iterable[Counts]) -> None:
    """Send a gauge for each group: ``datasets_server.cache.entries`` and so on, its parts as tags.

    Null is the text ``none``, and a group that is gone goes to 0. Plain StatsD knows no tags: there, the
    parts follow in the name, ``datasets_server.cache.entries.dataset-info.200.none``.
    """
    in_name = _tags_would_be_lost()
    for each in counts:
        for labels, count in each.labelled():
            tags = {field: label(value) for field, value in labels.items()}
            if in_name:
                parts = [re.sub(r"[^a-zA-Z0-9_-]", "_", value) for value in tags.values()]
                stats.gauge(".".join([PREFIX + each.name, *parts]), count)
            else:
                stats.gauge(PREFIX + each.name, count, tags=tags)


def _tags_would_be_lost() -> bool:
    """Tell whether Airflow speaks plain StatsD, in which all groups would be one gauge."""
    with_tags = ("statsd_datadog_enabled", "statsd_influxdb_enabled")
    return conf.getboolean("metrics", "statsd_on") and not any(
        conf.getboolean("metrics", option) for option in with_tags
    )
