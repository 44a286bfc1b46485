"""The DAG ``backfill``, run whole on a real Airflow, MongoDB, S3 server and client of the Hub."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from datasets_server.operators.backfill import ApproveRemovalsOperator, FindWorkOperator
from datasets_server.options import entries_per_shard
from dev.local_stack.hub_server import HubServer
from dev.local_stack.s3_server import S3Server
from dev.local_stack.sample_state import Outcome, datasets_by_outcome
from include.databases.maintenance_store import MaintenanceStore
from include.databases.mongo import MAINTENANCE_DATABASE
from include.databases.owed_counts import CountMove, OwedCounts
from include.errors import ConfigurationError
from tests.conftest import Databases
from tests.dags.conftest import BUCKET, RELEASE, FinishedRun, RunDag, parsed, set_variable


def dump(*databases: Database[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return {
        f"{database.name}.{name}": list(database[name].find().sort("_id"))
        for database in databases
        for name in sorted(database.list_collection_names())
    }


def test_a_run_does_with_each_dataset_what_the_rules_say(
    sample: None, run_dag: RunDag, databases: Databases, tmp_path: Path, s3_server: S3Server
) -> None:
    expected = datasets_by_outcome(RELEASE)
    jobs_before = set(databases.queue.jobsBlue.distinct("_id"))
    entries_before = databases.cache.cachedResponsesBlue.count_documents({})

    finished = run_dag("backfill")

    report = finished.report
    assert finished.state == "success"
    assert report["datasets"] == {
        "untouched": len(expected[Outcome.UNTOUCHED]),
        "backfilled": len(expected[Outcome.BACKFILLED]),
        "unsupported": len(expected[Outcome.REMOVED]),
        "removed": len(expected[Outcome.REMOVED]),
        "failed": len(expected[Outcome.FAILED]),
    }
    cached = set(databases.cache.cachedResponsesBlue.distinct("dataset"))
    assert not cached & expected[Outcome.REMOVED]
    assert cached >= expected[Outcome.UNTOUCHED]
    entries = databases.cache.cachedResponsesBlue.count_documents({})
    assert report["removed"]["cache_entries"] == entries_before - entries
    jobs = list(databases.queue.jobsBlue.find())
    created = [job for job in jobs if job["_id"] not in jobs_before]
    assert report["jobs"]["created"] == len(created) == sum(report["jobs_by_reason"].values())
    assert {job["dataset"] for job in created} <= expected[Outcome.BACKFILLED]
    gone = len(jobs_before) - (len(jobs) - len(created))
    assert report["jobs"]["deleted"] + report["removed"]["waiting_jobs"] == gone
    for name in expected[Outcome.REMOVED]:
        assert not (tmp_path / "assets" / name / "--").exists()
        prefix = f"cached-assets/{name}/--/"
        assert s3_server.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)["KeyCount"] == 0


def test_a_second_run_finds_nothing_left_to_do(sample: None, run_dag: RunDag, databases: Databases) -> None:
    run_dag("backfill")
    before = dump(databases.cache, databases.queue)

    finished = run_dag("backfill")

    report = finished.report
    assert finished.state == "success"
    assert report["datasets"]["backfilled"] == report["datasets"]["removed"] == 0
    assert dump(databases.cache, databases.queue) == before


def test_a_dry_run_reports_the_same_and_writes_nothing(
    sample: None, run_dag: RunDag, databases: Databases
) -> None:
    before = dump(databases.cache, databases.queue)

    finished = run_dag("backfill", dry_run=True)

    assert finished.state == "success"
    assert dump(databases.cache, databases.queue) == before
    dry = finished.report
    real = run_dag("backfill").report
    assert dump(databases.cache, databases.queue) != before
    assert dry["dry_run"]
    assert not real["dry_run"]
    assert dry["datasets"] | {"removed": real["datasets"]["removed"]} == real["datasets"]
    assert dry["jobs"] == real["jobs"]
    assert dry["plan_sample"] == real["plan_sample"] != []
    assert dry["removed"] == {"waiting_jobs": 0, "cache_entries": 0, "archives": 0, "asset_folders": 0}


def test_without_datasets_to_remove_airflow_skips_the_approval_and_the_removal(
    sample: None, run_dag: RunDag
) -> None:
    up_to_date = sorted(datasets_by_outcome(RELEASE)[Outcome.UNTOUCHED])

    finished = run_dag("backfill", datasets=up_to_date)

    assert finished.state == "success"
    assert finished.report["datasets"]["untouched"] == len(up_to_date)
    assert finished.tasks == dict.fromkeys(("find_work", "backfill_shard", "report"), "success") | (
        dict.fromkeys(("removals_found", "approve_removals", "remove_datasets"), "skipped")
    )


def test_without_datasets_at_all_there_is_no_shard(
    sample: None, run_dag: RunDag, databases: Databases, hub_server: HubServer
) -> None:
    finished = run_dag("backfill", datasets=["nobody/*"])

    assert finished.state == "success"
    assert set(finished.report["datasets"].values()) == {0}
    assert finished.tasks == dict.fromkeys(("find_work", "report"), "success") | dict.fromkeys(
        ("backfill_shard", "removals_found", "approve_removals", "remove_datasets"), "skipped"
    )
    assert hub_server.state.requests_by_route == {"whoami": 1}
    maintenance = databases.cache.client[MAINTENANCE_DATABASE]
    assert maintenance["leases"].count_documents({}) == 0
    assert maintenance["runRecords"].find_one({"last_good_run": {"$exists": True}}) is None


def test_a_run_without_datasets_pays_what_an_earlier_run_owes_to_the_counts(
    sample: None, run_dag: RunDag, databases: Databases
) -> None:
    count = {"job_type": "dataset-config-names", "status": "waiting"}
    before = databases.queue["jobTotalMetric"].find_one(count)
    assert before is not None
    OwedCounts(databases.queue).owe([CountMove("jobTotalMetric", count, "total", 5)], None)

    run_dag("backfill", datasets=["nobody/*"], dry_run=True)
    assert databases.queue["jobTotalMetric"].find_one(count) == before

    run_dag("backfill", datasets=["nobody/*"])
    assert databases.queue["jobTotalMetric"].find_one(count) == before | {"total": before["total"] + 5}


def test_the_report_waits_for_all_shards_though_one_has_failed(airflow_database: None) -> None:
    report = parsed("backfill").get_task("report")

    assert report.upstream_task_ids == {"backfill_shard", "remove_datasets"}
    assert report.trigger_rule == "all_done"


def test_only_the_named_datasets_change(
    sample: None, run_dag: RunDag, databases: Databases, hub_server: HubServer
) -> None:
    lonely, *others = sorted(datasets_by_outcome(RELEASE)[Outcome.BACKFILLED])
    jobs_before = set(databases.queue.jobsBlue.distinct("_id"))

    finished = run_dag("backfill", datasets=[lonely], priority="high")

    report = finished.report
    assert finished.state == "success"
    assert report["datasets"]["backfilled"] == sum(report["datasets"].values()) == 1
    created = databases.queue.jobsBlue.find({"_id": {"$nin": list(jobs_before)}})
    assert {(job["dataset"], job["priority"]) for job in created} == {(lonely, "high")}
    assert hub_server.state.requests_by_route["listing"] == 0
    assert others


def test_a_wildcard_selects_the_datasets_of_a_namespace(sample: None, run_dag: RunDag) -> None:
    names = [name for names in datasets_by_outcome(RELEASE).values() for name in names]
    namespace = "biomed-nlp"

    report = run_dag("backfill", datasets=[f"{namespace}/*"], dry_run=True).report

    datasets = report["datasets"]
    seen = sum(datasets[outcome] for outcome in ("untouched", "backfilled", "unsupported", "failed"))
    assert seen == sum(name.startswith(f"{namespace}/") for name in names) > 0


def test_a_time_range_selects_the_datasets_with_an_entry_updated_in_it(
    sample: None, run_dag: RunDag, databases: Databases
) -> None:
    newest = databases.cache.cachedResponsesBlue.find_one(sort=[("updated_at", -1)])
    assert newest is not None
    since = newest["updated_at"].replace(tzinfo=UTC)

    report = run_dag("backfill", updated_from=since.isoformat(), dry_run=True).report

    datasets = report["datasets"]
    seen = sum(datasets[outcome] for outcome in ("untouched", "backfilled", "unsupported", "failed"))
    assert seen == len(
        databases.cache.cachedResponsesBlue.distinct("dataset", {"updated_at": {"$gte": since}})
    )


def test_times_in_the_wrong_order_are_refused(sample: None, run_dag: RunDag) -> None:
    finished = run_dag("backfill", updated_from="2026-02-01T00:00:00Z", updated_to="2026-01-01T00:00:00Z")

    assert finished.state == "failed"
    assert finished.tasks["find_work"] == "failed"
    assert finished.tasks["backfill_shard"] == "upstream_failed"


def test_a_revoked_token_removes_nothing(
    sample: None, run_dag: RunDag, databases: Databases, hub_server: HubServer
) -> None:
    before = dump(databases.cache, databases.queue)
    hub_server.state.tokens = {}

    finished = run_dag("backfill")

    assert finished.state == "failed"
    assert dump(databases.cache, databases.queue) == before


@pytest.mark.parametrize("listed", [True, False])
def test_a_dataset_that_the_hub_did_not_find_once_stays(
    sample: None, run_dag: RunDag, databases: Databases, hub_server: HubServer, listed: bool
) -> None:
    """The Hub answers with a 404 when it is first asked about a dataset that needs jobs."""
    if not listed:
        let_the_listing_miss_most(hub_server)
    supported = datasets_by_outcome(RELEASE)[Outcome.BACKFILLED]
    hub_server.state.not_found_times = dict.fromkeys(supported, 1)

    finished = run_dag("backfill")

    assert finished.state == "success"
    assert supported <= set(databases.cache.cachedResponsesBlue.distinct("dataset"))
    assert finished.report["datasets"]["removed"] == len(datasets_by_outcome(RELEASE)[Outcome.REMOVED])


@pytest.mark.parametrize("listed", [True, False])
def test_a_hub_that_no_longer_finds_anything_removes_nothing(
    sample: None,
    run_dag: RunDag,
    databases: Databases,
    hub_server: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    listed: bool,
) -> None:
    """It breaks between the shards and the removal."""
    if not listed:
        let_the_listing_miss_most(hub_server)
    before = set(databases.cache.cachedResponsesBlue.distinct("dataset"))
    execute = ApproveRemovalsOperator.execute

    def break_the_hub(operator: ApproveRemovalsOperator, context: Any) -> None:
        execute(operator, context)
        hub_server.state.datasets.clear()

    monkeypatch.setattr(ApproveRemovalsOperator, "execute", break_the_hub)

    finished = run_dag("backfill")

    assert finished.tasks["remove_datasets"] == finished.state == "failed"
    assert set(databases.cache.cachedResponsesBlue.distinct("dataset")) == before


@pytest.mark.parametrize(("of_run", "limit"), [(None, 4), (3, 3), (1000, 4), (0, 0)])
def test_no_more_datasets_are_removed_than_the_limit_of_the_day(
    sample: None,
    run_dag: RunDag,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
    of_run: int | None,
    limit: int,
) -> None:
    set_variable(monkeypatch, "datasets_server_max_removals_per_day", "4")
    unsupported = datasets_by_outcome(RELEASE)[Outcome.REMOVED]

    finished = run_dag("backfill", max_removals_per_day=of_run)

    report = finished.report
    assert finished.state == "success"
    assert report["datasets"]["removed"] == limit
    left = unsupported & set(databases.cache.cachedResponsesBlue.distinct("dataset"))
    assert report["over_daily_limit"] == {"removals": len(left), "rebuilds": 0}
    assert len(left) == len(unsupported) - limit
    assert set(report["over_daily_limit_sample"]) == left
    [warning] = report["warnings"]
    assert warning.startswith(f"{len(left)} datasets were not removed")


def test_the_limit_of_the_day_is_for_all_dags_together(
    sample: None, run_dag: RunDag, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variable(monkeypatch, "datasets_server_max_removals_per_day", "4")
    before = len(databases.cache.cachedResponsesBlue.distinct("dataset"))

    reports = [run_dag("backfill").report]
    databases.cache.cachedResponsesBlue.update_many({}, {"$set": {"error_code": "ConnectionError"}})
    reports.append(run_dag("backfill-retryable-errors").report)

    assert [report["datasets"]["removed"] for report in reports] == [4, 0]
    assert len(databases.cache.cachedResponsesBlue.distinct("dataset")) == before - 4
    assert reports[0]["over_daily_limit"] == reports[1]["over_daily_limit"]


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("datasets", [[], ["nobody/*"]], ids=["all datasets", "none"])
def test_a_run_finishes_the_removals_of_an_earlier_one(
    sample: None, run_dag: RunDag, databases: Databases, tmp_path: Path, dry_run: bool, datasets: list[str]
) -> None:
    """An earlier run has removed all but the files."""
    names = datasets_by_outcome(RELEASE)[Outcome.REMOVED]
    ledger = MaintenanceStore(databases.cache.client[MAINTENANCE_DATABASE]).removal_ledger()
    ledger.begin("earlier run", dict.fromkeys(names, "it is gone"), limit=100)
    databases.cache.cachedResponsesBlue.delete_many({"dataset": {"$in": list(names)}})
    folders = [tmp_path / "assets" / name / "--" for name in names]
    assert any(folder.exists() for folder in folders)

    finished = run_dag("backfill", dry_run=dry_run, datasets=datasets)

    assert finished.state == "success"
    assert finished.tasks["remove_datasets"] == ("skipped" if dry_run else "success")
    assert any(folder.exists() for folder in folders) == dry_run
    assert set(ledger.unfinished()) == (names if dry_run else set())


def test_several_shards_do_what_one_does(sample: None, run_dag: RunDag, databases: Databases) -> None:
    one = run_dag("backfill", dry_run=True, shards=1).report
    seven = run_dag("backfill", dry_run=True, shards=7, batch_size=3).report

    assert seven["datasets"] == one["datasets"]
    assert seven["jobs"] == one["jobs"]
    assert seven["jobs_by_reason"] == one["jobs_by_reason"]


def test_the_configuration_says_how_many_entries_a_shard_has(
    sample: None, run_dag: RunDag, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = databases.cache.cachedResponsesBlue.count_documents({})
    monkeypatch.setenv("AIRFLOW__DATASETS_SERVER__ENTRIES_PER_SHARD", str(-(-entries // 3)))

    assert len(run_dag("backfill", dry_run=True).mapped) == 3


@pytest.mark.parametrize("number", ["0", "many", "-1"])
def test_a_shard_has_at_least_one_entry(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    monkeypatch.setenv("AIRFLOW__DATASETS_SERVER__ENTRIES_PER_SHARD", number)

    with pytest.raises(ConfigurationError, match=r"entries_per_shard in \[datasets_server\] is '.+': it may"):
        entries_per_shard()


def test_with_too_many_errors_the_run_fails_at_its_end(
    sample: None, run_dag: RunDag, databases: Databases
) -> None:
    finished = run_dag("backfill", error_limit=0)

    assert finished.state == "failed"
    assert finished.tasks["backfill_shard"] == "failed"
    backfilled = len(datasets_by_outcome(RELEASE)[Outcome.BACKFILLED])
    assert finished.report["datasets"]["backfilled"] == backfilled


def datasets_seen(report: dict[str, Any]) -> int:
    return sum(
        report["datasets"][outcome] for outcome in ("untouched", "backfilled", "unsupported", "failed")
    )


def test_the_report_counts_the_requests_to_the_hub(
    sample: None, run_dag: RunDag, hub_server: HubServer
) -> None:
    hub_server.state.page_size = 50
    pages = -(-len(datasets_listed(hub_server)) // 50)

    report = run_dag("backfill").report

    made = hub_server.state.requests_by_route
    assert made["listing"] == pages > 1
    assert report["hub_requests"] == {
        "listing": made["whoami"] + made["listing"],
        "single_datasets": made["dataset"] + made["whoisthis"],
    }
    assert report["warnings"] == []
    to_ask = {Outcome.BACKFILLED, Outcome.REMOVED, Outcome.FAILED}
    expected = datasets_by_outcome(RELEASE)
    assert made["dataset"] >= sum(len(expected[outcome]) for outcome in to_ask)
    assert made["dataset"] < datasets_seen(report)


def datasets_listed(hub_server: HubServer) -> list[str]:
    return [
        name for name, each in hub_server.state.datasets.items() if each.in_listing and not each.renamed_to
    ]


def let_the_listing_miss_most(hub_server: HubServer) -> None:
    for name in sorted(datasets_listed(hub_server))[20:]:
        hub_server.state.put(replace(hub_server.state.datasets[name], in_listing=False))


def test_without_a_trusted_listing_the_hub_is_asked_about_each_dataset(
    sample: None, run_dag: RunDag, hub_server: HubServer
) -> None:
    usual = run_dag("backfill", dry_run=True).report
    let_the_listing_miss_most(hub_server)
    hub_server.state.requests_by_route.clear()

    finished = run_dag("backfill", dry_run=True)

    assert finished.state == "success"
    assert finished.report["datasets"] == usual["datasets"]
    [warning] = finished.report["warnings"]
    assert "is not trusted: it has 20 datasets, less than 50% of" in warning
    assert hub_server.state.requests_by_route["dataset"] >= datasets_seen(usual)


def test_without_a_trusted_listing_the_run_stops_if_it_is_to_stop(
    sample: None, run_dag: RunDag, hub_server: HubServer, databases: Databases
) -> None:
    let_the_listing_miss_most(hub_server)
    before = dump(databases.cache, databases.queue)

    finished = run_dag("backfill", untrusted_listing="stop")

    assert finished.state == finished.tasks["find_work"] == "failed"
    assert dump(databases.cache, databases.queue) == before

    assert run_dag("backfill", untrusted_listing="stop", listing_min_share=5).state == "success"


def test_a_shard_whose_listing_is_gone_asks_the_hub_about_each_dataset(
    sample: None, run_dag: RunDag, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = FindWorkOperator.execute

    def lose_the_listing(operator: FindWorkOperator, context: Any) -> list[dict[str, Any]]:
        shards = execute(operator, context)
        listings = MaintenanceStore(databases.cache.client[MAINTENANCE_DATABASE]).listings()
        listings.drop(listings.all()[0])
        return shards

    monkeypatch.setattr(FindWorkOperator, "execute", lose_the_listing)

    report = run_dag("backfill").report

    [warning] = report["warnings"]
    assert "is no longer there: clear the task find_work. The run asks the Hub about each dataset." in warning
    assert report["hub_requests"]["single_datasets"] >= datasets_seen(report)


def test_a_selection_of_many_datasets_uses_a_listing_and_then_uses_it_again(
    sample: None, run_dag: RunDag, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets_server.operators.backfill.FEW_DATASETS", 20)

    first = run_dag("backfill", datasets=["*"], dry_run=True).report
    pages = hub_server.state.requests_by_route["listing"]
    second = run_dag("backfill", datasets=["*"], dry_run=True).report

    assert pages > 0
    assert hub_server.state.requests_by_route["listing"] == pages
    assert second["datasets"] == first["datasets"]
    assert second["hub_requests"]["single_datasets"] == first["hub_requests"]["single_datasets"]
    assert datasets_seen(first) > first["hub_requests"]["single_datasets"]


# What has not changed


def because_of(finished: FinishedRun) -> dict[str, int]:
    found: dict[str, int] = finished.report["untouched_because_of"]
    return found


def let_time_pass(databases: Databases, days: int) -> None:
    """Let the entries and the records be older."""
    maintenance = databases.cache.client[MAINTENANCE_DATABASE]
    for collection, field in (
        (databases.cache.cachedResponsesBlue, "updated_at"),
        (maintenance.looksForChanges, "begun_at"),
        (maintenance.looksForChanges, "all_read_at"),
    ):
        collection.update_many(
            {field: {"$type": "date"}},
            [{"$set": {field: {"$dateSubtract": {"startDate": f"${field}", "unit": "day", "amount": days}}}}],
        )


@pytest.fixture
def records(sample: None, run_dag: RunDag, databases: Databases) -> int:
    """A backfill that has kept records, a day ago: their number."""
    run_dag("backfill")
    let_time_pass(databases, 1)
    return databases.cache.client[MAINTENANCE_DATABASE].provenDatasets.count_documents({})


def test_a_run_reads_only_what_has_changed_unless_it_is_to_read_everything(
    records: int, run_dag: RunDag
) -> None:
    dry, real = run_dag("backfill", dry_run=True), run_dag("backfill")
    everything = run_dag("backfill", read="everything")

    # A few have an entry that was updated right before the first run, and a worker's clock may be slow.
    assert because_of(dry)["a_record"] > 0.9 * records > 0
    assert because_of(real)["a_record"] > 0.9 * records
    assert because_of(everything)["a_record"] == 0
    assert because_of(everything)["the_screening"] > 0


def test_a_run_reads_everything_after_a_week_and_after_a_restore(
    records: int, run_dag: RunDag, databases: Databases
) -> None:
    let_time_pass(databases, 7)
    a_week_later = run_dag("backfill")
    let_time_pass(databases, 1)
    the_day_after = run_dag("backfill")
    assert run_dag("restore-datasets", datasets=["*"]).state == "success"
    after_the_restore = run_dag("backfill")

    assert because_of(a_week_later)["a_record"] == 0
    assert because_of(the_day_after)["a_record"] > 0.9 * records
    assert because_of(after_the_restore)["a_record"] == 0


def test_a_run_with_other_codes_to_retry_neither_uses_nor_leaves_records(
    records: int, run_dag: RunDag, databases: Databases
) -> None:
    kept = databases.cache.client[MAINTENANCE_DATABASE].provenDatasets
    before = list(kept.find())
    names = {"datasets": ["*"], "updated_from": "2000-01-01T00:00:00Z"}

    other = run_dag("backfill-retryable-errors", error_codes=["UnexpectedError"], **names)

    assert because_of(other)["a_record"] == 0
    assert list(kept.find()) == before
