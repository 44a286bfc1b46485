"""Summaries: they add up over tasks, go through JSON, and stay small."""

from __future__ import annotations

import json

from include.actions.backfill.report import BackfillSummary, RemovalSummary, backfill_report
from include.summaries import SAMPLE_SIZE, add_to_sample, as_text

BACKFILL = BackfillSummary(
    untouched=5,
    proven_by_record=2,
    proven_by_screening=1,
    backfilled=4,
    unsupported=3,
    failed=2,
    jobs_created=1_100,
    jobs_deleted=10,
    artifacts_up_to_date=5_000,
    artifacts_in_need=1_200,
    hub_requests=9,
    jobs_by_reason={"empty": 1_000, "obsolete": 100},
    plan_sample=["a: create 1 jobs (1 empty)"],
    unsupported_sample=["b: it is not found on the Hub"],
    error_sample=["c: the Hub did not answer"],
    warnings=["the listing is gone", "the listing is gone"],
)
REMOVAL = RemovalSummary(
    removed=2,
    failed=1,
    spared=1,
    waiting_jobs=7,
    cache_entries=80,
    archives=2,
    asset_folders=3,
    hub_requests=4,
    error_sample=["d: its files could not be removed"],
)


def test_the_summaries_of_tasks_add_up_after_they_passed_through_json() -> None:
    one = BackfillSummary(untouched=1, jobs_by_reason={"empty": 1, "obsolete": 2}, error_sample=["a: b"])
    other = BackfillSummary(untouched=10, failed=3, jobs_by_reason={"empty": 5}, error_sample=["c: d"])

    total = BackfillSummary.total(json.loads(json.dumps([one.as_json(), other.as_json()])))

    assert total == BackfillSummary(
        untouched=11, failed=3, jobs_by_reason={"empty": 6, "obsolete": 2}, error_sample=["a: b", "c: d"]
    )


def test_without_tasks_the_total_is_zero() -> None:
    assert RemovalSummary.total([]) == RemovalSummary()


def test_adding_leaves_the_other_summary_as_it_was() -> None:
    other = BackfillSummary(jobs_by_reason={"empty": 5}, plan_sample=["a: b"])
    summary = BackfillSummary()

    summary.add(other)
    summary.add(other)

    assert other == BackfillSummary(jobs_by_reason={"empty": 5}, plan_sample=["a: b"])
    assert summary == BackfillSummary(jobs_by_reason={"empty": 10}, plan_sample=["a: b", "a: b"])


def test_samples_stay_small() -> None:
    summary = RemovalSummary()
    for number in range(SAMPLE_SIZE + 5):
        add_to_sample(summary.error_sample, f"user/data{number}", "is broken")

    summary.add(summary)

    assert summary.error_sample == [f"user/data{number}: is broken" for number in range(SAMPLE_SIZE)]


def test_summaries_share_nothing() -> None:
    add_to_sample(BackfillSummary().plan_sample, "user/data", "create 1 jobs")

    assert BackfillSummary().plan_sample == []


def test_the_errors_of_a_rebuild_are_errors_of_the_backfill() -> None:
    summary = BackfillSummary(failed=1, error_sample=["a: b"])

    summary.add_errors_of(REMOVAL)

    assert summary.failed == 2
    assert summary.error_sample == ["a: b", "d: its files could not be removed"]


def test_a_report_sums_up_the_run() -> None:
    report = backfill_report(BACKFILL, REMOVAL, 12.345, listing_requests=500, dry_run=False)

    assert json.loads(json.dumps(report)) == {
        "dry_run": False,
        "duration_seconds": 12.3,
        "datasets": {"untouched": 5, "backfilled": 4, "unsupported": 3, "removed": 2, "failed": 3},
        "untouched_because_of": {"a_record": 2, "the_screening": 1, "a_plan": 2},
        "artifacts": {"up_to_date": 5_000, "need_jobs": 1_200},
        "rebuilt": 0,
        "jobs": {"created": 1_100, "deleted": 10},
        "jobs_by_reason": {"empty": 1_000, "obsolete": 100},
        "removed": {"waiting_jobs": 7, "cache_entries": 80, "archives": 2, "asset_folders": 3},
        "decisions": [],
        "hub_requests": {"listing": 500, "single_datasets": 13},
        "over_daily_limit": {"removals": 0, "rebuilds": 0},
        "warnings": ["the listing is gone"],
        "plan_sample": ["a: create 1 jobs (1 empty)"],
        "unsupported_sample": ["b: it is not found on the Hub"],
        "over_daily_limit_sample": [],
        "error_sample": ["c: the Hub did not answer", "d: its files could not be removed"],
    }


def test_a_report_shows_what_exceeds_the_limit_of_the_day() -> None:
    backfill, removal = BackfillSummary(rebuilt=2), RemovalSummary()
    backfill.count_over_limit(["a", "b"])
    removal.count_over_limit(["c"])

    report = backfill_report(backfill, removal, 0.0, dry_run=False)

    assert (report["rebuilt"], report["datasets"]["untouched"]) == (2, 2)
    assert report["over_daily_limit"] == {"removals": 1, "rebuilds": 2}
    assert report["over_daily_limit_sample"] == ["c", "a", "b"]
    assert [warning.partition(",")[0] for warning in report["warnings"]] == [
        "1 datasets were not removed",
        "2 datasets were not rebuilt",
    ]


def test_a_report_says_who_decided() -> None:
    decision = "Ada approved the removal of 200 datasets"

    report = backfill_report(BACKFILL, REMOVAL, 0.0, decisions=[decision], dry_run=False)

    assert f"  decisions: {decision}" in as_text(report)


def test_a_report_is_readable_as_text() -> None:
    report = backfill_report(BACKFILL, REMOVAL, 12.345, dry_run=False)

    assert as_text(report).splitlines()[:4] == [
        "The run did this:",
        "  duration seconds: 12.3",
        "  datasets, untouched: 5",
        "  datasets, backfilled: 4",
    ]
    assert "  jobs, created: 1,100" in as_text(report)
    assert "  hub requests, single datasets: 13" in as_text(report)
    assert "  error sample: d: its files could not be removed" in as_text(report)


def test_the_report_of_a_dry_run_says_so() -> None:
    report = backfill_report(BackfillSummary(), RemovalSummary(), 0.0, dry_run=True)

    assert as_text(report).startswith("Dry run: nothing was written. It would do this:\n")
