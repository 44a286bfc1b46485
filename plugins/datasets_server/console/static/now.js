// What the page "Now" asks Airflow: the questions that wait for a person, and whether maintenance runs.

import { dagPage, lastRuns, listDags, listRuns, logPage, progressOf, runPage, xcom } from "./airflow.js";
import { showApprovals } from "./approvals.js";
import {
  airflowLink,
  badge,
  duration,
  element,
  notice,
  refreshTimes,
  secondsSince,
  timeElement,
} from "./dom.js";
import { reportTasks } from "./reports.js";

const REFRESH_MILLISECONDS = 30_000;
const LONG_SECONDS = 600; // What waits longer is told.
const LATE_SECONDS = 7_200; // A run may be so late, or by a whole interval if that is shorter.
const CHECKS = "check-connections";
const WATCH = "watch-backfill";

/** For what a task waits, by its state. */
const WAITS = {
  deferred: "for another run to end, or for a person",
  awaiting_input: "for a person",
  queued: "for a free worker",
  scheduled: "for a free slot of its pool",
  up_for_retry: "to be tried again after an error",
};
/** How the state of a run looks. */
const STATES = { success: ["✓ ", "ok"], failed: ["✗ ", "bad"], running: ["▶ ", "info"] };

/**
 * @typedef {import("./airflow.js").Run} Run
 * @typedef {import("./airflow.js").Dag} Dag
 * @typedef {{dag: Dag, last: ?Run, good: ?Run}} Health - of a DAG: its last run, and its last good one
 * @typedef {Array<string|Node>} Sentence - for people, with links
 */

/** @param {Dag[]} dags @returns {Promise<Health[]>} */
function healthOf(dags) {
  return Promise.all(dags.map(async (dag) => ({ dag, ...(await lastRuns(dag)) })));
}

// What is wrong

/** @param {Health[]} health @returns {Promise<Sentence[]>} */
async function problemsOf(health) {
  const found = await Promise.all([
    stuckRuns(health.map(({ dag }) => dag.dag_id)),
    failedChecks(health),
    overdue(health),
  ]);
  return [...found.flat(), ...health.map(failure), ...health.map(lateness)].filter((each) => each);
}

function failure({ dag, last }) {
  if (last?.state !== "failed") {
    return null;
  }
  const link = airflowLink(runPage(last), `The last run of ${dag.dag_id}`);
  return [link, " failed ", timeElement(last.end_date), "."];
}

function lateness({ dag, good }) {
  const [start, end] = [dag.next_dagrun_data_interval_start, dag.next_dagrun_data_interval_end];
  if (!good || !start || !end) {
    return null;
  }
  const interval = (Date.parse(end) - Date.parse(start)) / 1000;
  if (secondsSince(good.end_date) < interval + Math.min(interval, LATE_SECONDS)) {
    return null;
  }
  const link = airflowLink(dagPage(dag.dag_id), dag.dag_id);
  const every = `, and it is to run every ${duration(interval)}`;
  return [link, " had its last good run ", timeElement(good.end_date), every, whyLate(dag), "."];
}

function whyLate(dag) {
  const due = dag.next_dagrun_run_after;
  if (dag.is_paused) {
    return ": the DAG is paused";
  }
  return due && secondsSince(due) > LONG_SECONDS
    ? [": Airflow's scheduler ought to have started a run ", timeElement(due)]
    : "";
}

/** Tell of the runs that wait for long, and for what. */
async function stuckRuns(dagIds) {
  const { runs } = await listRuns(dagIds, 20, { states: ["running", "queued"] });
  return Promise.all(runs.map((run) => (run.state === "queued" ? queuedForLong(run) : waitingForLong(run))));
}

function queuedForLong(run) {
  const since = run.queued_at ?? run.run_after;
  const reason = ": it waits for an earlier run of this DAG, or for the scheduler.";
  return secondsSince(since) > LONG_SECONDS && [linkTo(run), " was queued ", timeElement(since), reason];
}

async function waitingForLong(run) {
  const { active } = await progressOf(run);
  const since = (task) => task.end_date ?? task.start_date ?? task.queued_when ?? task.scheduled_when;
  const isStuck = (task) => WAITS[task.state] && secondsSince(since(task)) > LONG_SECONDS;
  const task = active.find(isStuck);
  if (!task) {
    return null;
  }
  const log = airflowLink(logPage(run, task), task.task_id);
  return [linkTo(run), ` waits ${WAITS[task.state]}: `, log, ", since ", timeElement(since(task)), "."];
}

const linkTo = (run) => airflowLink(runPage(run), `A run of ${run.dag_id}`);

async function failedChecks(health) {
  const report = await lastReport(health, CHECKS);
  return (report?.to_fix ?? []).map((line) => [`The last check of the Connections says: ${line}`]);
}

async function overdue(health) {
  const report = await lastReport(health, WATCH);
  return report?.overdue ? [["There was no good run of backfill over the whole cache for too long."]] : [];
}

async function lastReport(health, dagId) {
  const last = health.find(({ dag }) => dag.dag_id === dagId)?.last;
  return last ? xcom(dagId, last.dag_run_id, reportTasks(dagId)[0]) : null;
}

// As elements

async function showMaintenance(place, dags) {
  const health = await healthOf(dags);
  const problems = (await problemsOf(health)).map((problem) => element("li", {}, problem));
  const stuck = problems.length ? [notice(element("ul", {}, problems), "warn")] : [];
  place.replaceChildren(...stuck, table(health));
}

function table(health) {
  const names = ["Action", "Last good run", "Last run", "Next run"];
  const head = element("tr", {}, names.map((name) => element("th", { scope: "col" }, name)));
  const caption = element("caption", {}, "Maintenance");
  const rows = health.map((each) => row(each, names));
  const made = element("table", { class: "data health" }, caption);
  made.append(element("thead", {}, head), element("tbody", {}, rows));
  return made;
}

function row({ dag, last, good }, names) {
  const address = `runs?action=${encodeURIComponent(dag.dag_id)}`;
  const name = element("th", { scope: "row" }, element("a", { href: address }, dag.dag_id));
  const cells = [good ? ended(good) : "none", last ? state(last) : "none", next(dag)];
  // On a phone, each cell says its column.
  const attributes = (index) => ({ "data-column": names[index + 1] });
  const columns = cells.map((cell, index) => element("td", attributes(index), element("span", {}, cell)));
  return element("tr", {}, name, columns);
}

function ended(run) {
  return airflowLink(runPage(run), timeElement(run.end_date));
}

function state(run) {
  const [sign, look] = STATES[run.state] ?? ["", "neutral"];
  return badge(`${sign}${run.state}`, look);
}

function next(dag) {
  const due = dag.next_dagrun_run_after;
  if (dag.is_paused) {
    return badge("paused", "warn");
  }
  if (!due) {
    return dag.timetable_summary ? "after the run that is at work" : "by hand";
  }
  return secondsSince(due) > 0 ? ["due ", timeElement(due)] : timeElement(due);
}

// Both parts of the page

const approvals = document.querySelector("[data-airflow-approvals]");
const maintenance = document.querySelector("[data-airflow-last-runs]");

async function update() {
  if (!document.hidden) {
    try {
      const dags = await listDags();
      const dagIds = dags.map((dag) => dag.dag_id);
      await Promise.all([showApprovals(approvals, dagIds), showMaintenance(maintenance, dags)]);
      refreshTimes();
    } catch (error) {
      maintenance.replaceChildren(notice(error));
    }
  }
  setTimeout(update, REFRESH_MILLISECONDS);
}

update();
