"""Counts as gauges of Airflow's metrics (StatsD or OpenTelemetry), if they are enabled."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow.configuration import conf
from airflow.sdk.observability import stats

from include.actions.collect_metrics import label

if TYPE_CHECKING:
    from include.databases.counts import Counts

PREFIX = "datasets_server."


def send_gauges(counts: Iterable[Counts]) -> None:
    """Send a gauge for each group: ``datasets_server.cache.entries`` and so on, with the group as tags.

    Null becomes the text ``none``, and the gauge of a group that no longer exists becomes 0. Plain StatsD has
    no tags, so the name contains the group: ``datasets_server.cache.entries.dataset-info.200.none``.
    """
    in_name = _is_plain_statsd()
    for each in counts:
        for labels, count in each.labelled():
            tags = {field: label(value) for field, value in labels.items()}
            if in_name:
                parts = [re.sub(r"[^a-zA-Z0-9_-]", "_", value) for value in tags.values()]
                stats.gauge(".".join([PREFIX + each.name, *parts]), count)
            else:
                stats.gauge(PREFIX + each.name, count, tags=tags)


def _is_plain_statsd() -> bool:
    """Return whether Airflow drops the tags, so that all groups would share one gauge."""
    with_tags = ("statsd_datadog_enabled", "statsd_influxdb_enabled")
    return conf.getboolean("metrics", "statsd_on") and not any(
        conf.getboolean("metrics", option) for option in with_tags
    )
