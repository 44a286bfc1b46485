// What the runs of each DAG did, in words. A report is what one of its tasks returned.

import { counted, number } from "./dom.js";

/**
 * @typedef {Object<string, any>} Report
 * @typedef {{path: string, noun: string, verb: string, isAlwaysShown?: boolean}} Figure - a number of a
 *   report: where it is, what it counts, and what happened to that
 * @typedef {{tasks: string[], sentence: function(Report): string}} Words - `tasks` may have the report: the
 *   first one that returned counts
 */

const SAMPLES = {
  error_sample: "Failed",
  warnings: "Warnings",
  to_fix: "To fix",
  decisions: "Decisions",
  plan_sample: "Planned",
  refreshed_sample: "Planned",
  unsupported_sample: "Not supported by the Hub",
  over_daily_limit_sample: "Over the limit of the day",
  without_artifacts_sample: "Without these artifacts",
  left_out_sample: "Artifacts left out",
  restored_sample: "Restored",
  deleted_sample: "Deleted",
  posted_sample: "Posted",
  passed_over_sample: "Passed over",
  largest_groups: "Largest groups",
};
const ERRORS = ["error_sample", "to_fix"];
const MESSAGES = "message_sample"; // Whole texts, too long for a list.

const figure = (path, noun, verb, isAlwaysShown = false) => ({ path, noun, verb, isAlwaysShown });

const FAILED = figure("failed", "dataset", "failed");
const DATASETS_FAILED = figure("datasets.failed", "dataset", "failed");
const BACKFILL = [
  figure("datasets.backfilled", "dataset", "backfilled", true),
  figure("jobs.created", "job", "created", true),
  figure("jobs.deleted", "waiting job", "deleted"),
  figure("datasets.removed", "dataset", "removed"),
  figure("removed.cache_entries", "cache entry", "removed"),
  figure("rebuilt", "dataset", "rebuilt"),
  figure("datasets.untouched", "dataset", "up to date", true),
  DATASETS_FAILED,
];
const REFRESH = [
  figure("datasets.refreshed", "dataset", "refreshed", true),
  figure("datasets.recreated", "dataset", "made anew"),
  figure("jobs.created", "job", "created", true),
  figure("jobs.deleted", "waiting job", "replaced"),
  figure("datasets.pending", "dataset", "pending already"),
  figure("datasets.without_artifacts", "dataset", "without these artifacts"),
  figure("artifacts_left_out", "artifact", "left out"),
  figure("datasets.unsupported", "dataset", "not supported by the Hub"),
  DATASETS_FAILED,
];
const CLEANING = [
  figure("total.files", "file", "deleted", true),
  figure("total.folders", "folder", "deleted", true),
  figure("total.bytes_freed", "byte", "freed"),
  figure("total.failed", "path", "failed"),
];
const MESSAGES_POSTED = [
  figure("candidates", "dataset", "converted", true),
  figure("posted", "discussion", "opened", true),
  figure("already_posted", "dataset", "with one already"),
  figure("postponed", "dataset", "postponed"),
  FAILED,
];
const RESTORE = [
  figure("restored", "dataset", "restored", true),
  figure("restored_entries", "cache entry", "put back", true),
  figure("present_entries", "cache entry", "there already"),
  FAILED,
];

/** @type {Object<string, Words>} */
const WORDS = {
  "backfill": { tasks: ["report"], sentence: inFigures(BACKFILL) },
  "backfill-retryable-errors": { tasks: ["report"], sentence: inFigures(BACKFILL) },
  "refresh-datasets": { tasks: ["recreate_approved", "refresh_datasets"], sentence: inFigures(REFRESH) },
  "collect-cache-metrics": { tasks: ["report"], sentence: ofMetrics },
  "collect-queue-metrics": { tasks: ["report"], sentence: ofMetrics },
  "clean-directory": { tasks: ["report"], sentence: inFigures(CLEANING) },
  "post-messages": { tasks: ["post_messages"], sentence: inFigures(MESSAGES_POSTED) },
  "restore-datasets": { tasks: ["restore_datasets"], sentence: inFigures(RESTORE) },
  "check-connections": { tasks: ["check_connections"], sentence: ofChecks },
  "watch-backfill": { tasks: ["watch_backfill"], sentence: ofWatching },
};

function inFigures(figures) {
  return (report) => figures
    .map((each) => ({ ...each, count: valueAt(report, each.path) ?? 0 }))
    .filter(({ count, isAlwaysShown }) => count || isAlwaysShown)
    .map(({ count, noun, verb }) => `${counted(count, noun)} ${verb}`)
    .join(", ");
}

function valueAt(report, path) {
  return path.split(".").reduce((part, key) => part?.[key], report);
}

function ofMetrics({ counted: totals, groups_written: groups }) {
  const parts = Object.entries(totals).map(([name, total]) => {
    const what = name.replace(/[._]/g, " ");
    return `${number(total)} ${what} in ${counted(groups[name], "group")}`;
  });
  return `counted ${parts.join(", ")}`;
}

function ofChecks({ checked, to_fix: toFix }) {
  return `${counted(checked, "check")}, ${number(toFix.length)} to fix`;
}

function ofWatching({ overdue, last_good_run: last }) {
  const ended = last && `the last good run ended at ${last.slice(0, 16).replace("T", " ")} UTC`;
  return `backfill is ${overdue ? "overdue" : "in time"}: ${ended ?? "there was no good run yet"}`;
}

/** @param {string} dagId @returns {string[]} the tasks that may have the report, the likeliest first */
export function reportTasks(dagId) {
  return WORDS[dagId]?.tasks ?? [];
}

/** @param {string} dagId @param {Report} report @returns {string} what the run did, or would have done */
export function inWords(dagId, report) {
  return WORDS[dagId].sentence(report);
}

/** @param {Report} report @returns {string[]} examples of what failed */
export function errorsOf(report) {
  return ERRORS.flatMap((name) => report[name] ?? []);
}

/** @param {Report} report @returns {?number} the datasets that the run handled in a second */
export function rateOf(report) {
  if (!report.datasets || !report.duration_seconds) {
    return null;
  }
  const { untouched, backfilled, unsupported, failed } = report.datasets;
  return (untouched + backfilled + unsupported + failed) / report.duration_seconds;
}

/** @param {Report} report @returns {Array<[string, string[]]>} the lists of examples, each with its title */
export function samplesOf(report) {
  return Object.entries(SAMPLES)
    .filter(([name]) => report[name]?.length)
    .map(([name, title]) => [title, report[name]]);
}

/** @param {Report} report @returns {Array<[string, string]>} all numbers of a report, each with its name */
export function numbersOf(report) {
  return Object.entries(report)
    .filter(([name, value]) => name !== "dry_run" && name !== MESSAGES && !Array.isArray(value))
    .flatMap(([name, value]) => labelled(name.replaceAll("_", " "), value));
}

function labelled(label, value) {
  if (value !== null && typeof value === "object") {
    const parts = Object.entries(value);
    return parts.flatMap(([key, part]) => labelled(`${label}, ${key.replaceAll("_", " ")}`, part));
  }
  return [[label, typeof value === "number" ? number(value) : String(value)]];
}
