// What the page "Now" asks Airflow: the questions that wait for a person, and whether maintenance runs.

import { lastGoodRuns, listDags, listRuns, logPage, progressOf, runPage, dagPage, xcom } from "./airflow.js";
import { showApprovals } from "./approvals.js";
import { airflowLink, badge, duration, element, notice, refreshTimes, secondsSince, timeElement } from "./dom.js";
import { reportTasks } from "./reports.js";

const REFRESH_MILLISECONDS = 30_000;
const LONG_SECONDS = 600; // A run or a task that waits longer is told.
const LATE_SECONDS = 7_200; // So much later than its schedule, or a whole interval if that is shorter.
const CHECKS = "check-connections";
const WATCH = "watch-backfill";

/**
 * @typedef {import("./airflow.js").Run} Run
 * @typedef {import("./airflow.js").Dag} Dag
 * @typedef {{dag: Dag, last: ?Run, good: ?Run}} Health - of a DAG
 */

/** @param {Dag[]} dags @returns {Promise<Health[]>} */
async function healthOf(dags) {
  const ids = dags.map((dag) => dag.dag_id);
  const [good, last] = await Promise.all([
    lastGoodRuns(ids),
    Promise.all(ids.map(async (id) => (await listRuns([id], 1)).runs[0])),
  ]);
  return dags.map((dag, index) => ({ dag, last: last[index], good: good.get(dag.dag_id) }));
}

/** @param {Health} health @returns {?number} the seconds for which its last good run has been too long ago */
function lateness({ dag, good }) {
  const [start, end] = [dag.next_dagrun_data_interval_start, dag.next_dagrun_data_interval_end];
  if (!good || !start || !end) {
    return null;
  }
  const interval = (Date.parse(end) - Date.parse(start)) / 1000;
  const late = secondsSince(good.end_date) - interval;
  return late > Math.min(interval, LATE_SECONDS) ? late : null;
}

// What is wrong

/** @param {Health} health @returns {Array<Array>} sentences, each as texts and links */
function problemsOf(health) {
  const { dag, last } = health;
  const late = lateness(health);
  return [
    last?.state === "failed" && [airflowLink(runPage(last), `The last run of ${dag.dag_id}`), " failed ", timeElement(last.end_date), "."],
    late && [airflowLink(dagPage(dag.dag_id), dag.dag_id), ` is late by ${duration(late)}: `, whyLate(dag), "."],
  ].filter(Boolean);
}

function whyLate(dag) {
  if (dag.is_paused) {
    return "the DAG is paused";
  }
  const due = dag.next_dagrun_run_after;
  const isNotStarted = due && secondsSince(due) > LONG_SECONDS;
  return isNotStarted ? ["Airflow's scheduler ought to have started a run ", timeElement(due)] : "no run since then was good";
}

/** Tell of the runs that wait, and for what. */
async function stuckRuns(dagIds) {
  const { runs } = await listRuns(dagIds, 20, { states: ["running", "queued"] });
  return (await Promise.all(runs.map(whyStuck))).filter(Boolean);
}

async function whyStuck(run) {
  const name = airflowLink(runPage(run), `A run of ${run.dag_id}`);
  if (run.state === "queued") {
    const isLong = secondsSince(run.queued_at ?? run.run_after) > LONG_SECONDS;
    const since = timeElement(run.queued_at ?? run.run_after);
    return isLong && [name, " was queued ", since, ": it waits for an earlier run of this DAG, or for the scheduler."];
  }
  const { active } = await progressOf(run);
  const task = active.find((each) => WAITS[each.state] && secondsSince(waitingSince(each, run)) > LONG_SECONDS);
  return task && [name, " waits in ", airflowLink(logPage(run, task), task.task_id), " since ", timeElement(waitingSince(task, run)), `: ${WAITS[task.state]}.`];
}

const WAITS = {
  deferred: "for another run to end, or for a person",
  awaiting_input: "for a person",
  queued: "for a free worker",
  scheduled: "for a free slot of its pool",
  up_for_retry: "to be tried again after an error",
};

const waitingSince = (task, run) => task.start_date ?? task.queued_when ?? task.scheduled_when ?? run.start_date;

/** @param {Health[]} health */
async function failedChecks(health) {
  const report = await lastReport(health, CHECKS);
  return (report?.to_fix ?? []).map((line) => ["The last check of the Connections: ", line]);
}

async function overdue(health) {
  const report = await lastReport(health, WATCH);
  return report?.overdue ? [[`There has been no good run of backfill over the whole cache for too long.`]] : [];
}

async function lastReport(health, dagId) {
  const last = health.find(({ dag }) => dag.dag_id === dagId)?.last;
  return last ? xcom(dagId, last.dag_run_id, reportTasks(dagId)[0]) : null;
}

// As elements

async function showLastRuns(place, dags) {
  const health = await healthOf(dags);
  const found = await Promise.all([stuckRuns(dags.map((dag) => dag.dag_id)), failedChecks(health), overdue(health)]);
  const problems = [...found.flat(), ...health.flatMap(problemsOf)];
  const items = problems.map((problem) => element("li", {}, problem));
  place.replaceChildren(...(items.length ? [notice(element("ul", {}, items), "warn")] : []), table(health));
}

function table(health) {
  const heads = ["Action", "Last good run", "Last run", "Next run"].map((name) => element("th", { scope: "col" }, name));
  const caption = element("caption", {}, "Maintenance: the last runs");
  const body = element("tbody", {}, health.map(row));
  const made = element("table", { class: "data" }, caption, element("thead", {}, element("tr", {}, heads)), body);
  return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption.textContent }, made);
}

function row({ dag, last, good }) {
  const name = element("th", { scope: "row" }, element("a", { href: `runs?action=${encodeURIComponent(dag.dag_id)}` }, dag.dag_id));
  const cells = [good ? ended(good) : "none", last ? state(last) : "none", next(dag)];
  return element("tr", {}, name, cells.map((cell) => element("td", {}, cell)));
}

function ended(run) {
  return airflowLink(runPage(run), timeElement(run.end_date));
}

function state(run) {
  const kinds = { success: "ok", failed: "bad", running: "info" };
  const signs = { success: "✓ ", failed: "✗ ", running: "▶ " };
  return badge(`${signs[run.state] ?? ""}${run.state}`, kinds[run.state] ?? "neutral");
}

function next(dag) {
  if (dag.is_paused) {
    return badge("paused", "warn");
  }
  const due = dag.next_dagrun_run_after;
  if (!due) {
    return dag.timetable_summary ? "after the run that is at work" : "by hand";
  }
  return secondsSince(due) > 0 ? ["due ", timeElement(due)] : timeElement(due);
}

// Both parts

const approvals = document.querySelector("[data-airflow-approvals]");
const lastRuns = document.querySelector("[data-airflow-last-runs]");

async function update() {
  if (!document.hidden) {
    try {
      const dags = await listDags();
      await Promise.all([
        approvals && showApprovals(approvals, dags.map((dag) => dag.dag_id)),
        lastRuns && showLastRuns(lastRuns, dags),
      ]);
      refreshTimes();
    } catch (error) {
      (approvals ?? lastRuns).replaceChildren(notice(error));
    }
  }
  setTimeout(update, REFRESH_MILLISECONDS);
}

if (approvals || lastRuns) {
  update();
}
