// What the page "Now" asks Airflow: the questions that wait for a person, and whether maintenance runs.

import { dagPage, lastRuns, listDags, listRuns, logPage, progressOf, runPage } from "./airflow.js";
import { showApprovals } from "./approvals.js";
import {
  airflowLink,
  badge,
  counted,
  duration,
  element,
  notice,
  refreshTimes,
  secondsSince,
  timeElement,
} from "./dom.js";
import { factsOf, outcomeBadge } from "./run_facts.js";

const REFRESH_MILLISECONDS = 30_000;
const LONG_SECONDS = 600; // What waits longer is told.
const LATE_SECONDS = 7_200; // A run may be so late, or by a whole interval if that is shorter.
const CHECKS = "check-connections";

/** For what a task waits, by its state. */
const WAITS = {
  deferred: "for another run to end, or for a person",
  awaiting_input: "for a person",
  queued: "for a free worker",
  scheduled: "for a free slot of its pool",
  up_for_retry: "to be tried again after an error",
};
/** How each level looks, the worst first. */
const LEVELS = {
  bad: { verdict: ["✗ something is wrong", "bad"], finding: ["✗ problem", "bad"] },
  unknown: { verdict: ["? not known", "warn"] },
  warn: { verdict: ["! something needs a look", "warn"], finding: ["! warning", "warn"] },
  note: { verdict: ["✓ all is well", "ok"], finding: ["i note", "info"] },
  ok: { verdict: ["✓ all is well", "ok"] },
};

/**
 * @typedef {import("./airflow.js").Run} Run
 * @typedef {import("./airflow.js").Dag} Dag
 * @typedef {import("./run_facts.js").Facts} Facts
 * @typedef {{dag: Dag, runs: Run[], last: ?Run, facts: ?Facts, good: ?Run}} Health - of a DAG: its last runs,
 *   the newest first, what is known of the last one, and its last good one
 * @typedef {{level: string, text: Array<string|Node>, toDo: Array<string|Node>|string}} Problem
 */

/** @param {Dag[]} dags @returns {Promise<Health[]>} */
function healthOf(dags) {
  return Promise.all(
    dags.map(async (dag) => {
      const { runs, good } = await lastRuns(dag);
      return { dag, runs, last: runs[0], facts: runs.length ? await factsOf(runs[0]) : null, good };
    }),
  );
}

// What is wrong

/** @param {Health[]} health @returns {Promise<Problem[]>} */
async function problemsOf(health) {
  const found = [
    ...health.map(failure),
    ...health.map(lateness),
    ...failedChecks(health),
    ...(await stuckRuns(health.map(({ dag }) => dag.dag_id))),
  ];
  return found.filter((each) => each).sort((one, other) => rank(one.level) - rank(other.level));
}

function failure({ dag, last, facts }) {
  if (last?.state !== "failed") {
    return null;
  }
  const logs = facts.failed.map((task) => airflowLink(logPage(last, task), `The log of ${task.task_id}`));
  return {
    level: "bad",
    text: [airflowLink(runPage(last), `The last run of ${dag.dag_id}`), " failed ", timeElement(last.end_date), "."],
    toDo: logs.length ? [logs[0], " says why."] : "Its tasks say why.",
  };
}

function lateness({ dag, good }) {
  const [start, end] = [dag.next_dagrun_data_interval_start, dag.next_dagrun_data_interval_end];
  if (!areSchedulesOn || !good || !start || !end) {
    return null;
  }
  const interval = (Date.parse(end) - Date.parse(start)) / 1000;
  if (secondsSince(good.end_date) < interval + Math.min(interval, LATE_SECONDS)) {
    return null;
  }
  const every = `, and it is to run every ${duration(interval)}.`;
  return {
    level: "warn",
    text: [dag.dag_id, " had its last good run ", timeElement(good.end_date), every],
    toDo: whyLate(dag),
  };
}

function whyLate(dag) {
  const due = dag.next_dagrun_run_after;
  if (dag.is_paused) {
    return ["The DAG is paused: ", airflowLink(dagPage(dag.dag_id), "unpause it"), "."];
  }
  return due && secondsSince(due) > LONG_SECONDS
    ? ["Airflow's scheduler ought to have started a run ", timeElement(due), ": see whether it is alive."]
    : ["See ", element("a", { href: runsOf(dag.dag_id) }, "its last runs"), "."];
}

/** Tell of the runs that wait for long, and for what. */
async function stuckRuns(dagIds) {
  const { runs } = await listRuns(dagIds, 20, { states: ["running", "queued"] });
  return Promise.all(runs.map((run) => (run.state === "queued" ? queuedForLong(run) : waitingForLong(run))));
}

function queuedForLong(run) {
  const since = run.queued_at ?? run.run_after;
  const toDo = "It waits for an earlier run of this DAG, or for the scheduler.";
  return secondsSince(since) > LONG_SECONDS
    ? { level: "warn", text: [linkTo(run), " was queued ", timeElement(since), "."], toDo }
    : null;
}

async function waitingForLong(run) {
  const { active } = await progressOf(run);
  const since = (task) => task.end_date ?? task.start_date ?? task.queued_when ?? task.scheduled_when;
  const isStuck = (task) => WAITS[task.state] && secondsSince(since(task)) > LONG_SECONDS;
  const task = active.find(isStuck);
  if (!task) {
    return null;
  }
  return {
    level: "warn",
    text: [linkTo(run), ` waits ${WAITS[task.state]}, since `, timeElement(since(task)), "."],
    toDo: ["See the log of ", airflowLink(logPage(run, task), task.task_id), "."],
  };
}

const linkTo = (run) => airflowLink(runPage(run), `A run of ${run.dag_id}`);

function failedChecks(health) {
  const report = health.find(({ dag }) => dag.dag_id === CHECKS)?.facts?.report;
  const again = ["Trigger ", element("a", { href: runsOf(CHECKS) }, CHECKS), " again when this is mended."];
  return (report?.to_fix ?? []).map((line) => ({
    level: "bad",
    text: [`The last check of the Connections says: ${line}`],
    toDo: again,
  }));
}

function rank(level) {
  return Object.keys(LEVELS).indexOf(level);
}

function runsOf(dagId) {
  return `runs?action=${encodeURIComponent(dagId)}`;
}

// As elements

/** @param {Problem} problem */
function item({ level, text, toDo }) {
  const [label, look] = LEVELS[level].finding;
  return element("li", {}, badge(label, look), element("p", {}, text), element("p", { class: "muted" }, toDo));
}

function table(health) {
  const names = ["Action", "Last good run", "Last run, and those before", "Next run"];
  const head = element("tr", {}, names.map((name) => element("th", { scope: "col" }, name)));
  const caption = element("caption", {}, "Maintenance");
  const rows = health.map((each) => row(each, names));
  const made = element("table", { class: "data health" }, caption);
  made.append(element("thead", {}, head), element("tbody", {}, rows));
  return made;
}

function row({ dag, runs, last, facts, good }, names) {
  const name = element("th", { scope: "row" }, element("a", { href: runsOf(dag.dag_id) }, dag.dag_id));
  const cells = [good ? ended(good) : "none", last ? [outcomeBadge(last, facts), " ", strip(runs)] : "none", next(dag)];
  // On a phone, each cell says its column.
  const attributes = (index) => ({ "data-column": names[index + 1] });
  const columns = cells.map((cell, index) => element("td", attributes(index), element("span", {}, cell)));
  return element("tr", {}, name, columns);
}

/** The outcomes of the last runs, the oldest first, as Airflow's own pages have them. */
function strip(runs) {
  const bars = runs.toReversed().map((run) => element("span", { class: `outcome ${run.state}` }));
  const counts = Map.groupBy(runs, (run) => run.state);
  const said = [...counts].map(([state, those]) => `${those.length} ${state}`).join(", ");
  const label = `The last ${counted(runs.length, "run")}: ${said}`;
  return element("span", { class: "strip", role: "img", "aria-label": label, title: label }, bars);
}

function ended(run) {
  return airflowLink(runPage(run), timeElement(run.end_date));
}

function next(dag) {
  const due = dag.next_dagrun_run_after;
  if (dag.is_paused) {
    return badge("paused", "warn");
  }
  if (!dag.timetable_summary) {
    return "no schedule";
  }
  if (!areSchedulesOn) {
    return "schedules are off";
  }
  if (!due) {
    return "after the run that is at work";
  }
  return secondsSince(due) > LONG_SECONDS ? [badge("late", "warn"), " was due ", timeElement(due)] : timeElement(due);
}

// All is well, or what is the worst

const levels = { databases: "ok", airflow: "ok", questions: "ok" };

/** Say at the top what the worst is of all that the page knows. */
function showVerdict() {
  levels.databases = isStale ? "unknown" : document.getElementById("level").dataset.level;
  const worst = Object.values(levels).sort((one, other) => rank(one) - rank(other))[0];
  const [text, look] = LEVELS[worst].verdict;
  const verdict = document.getElementById("verdict");
  if (verdict.textContent !== text) {
    verdict.replaceChildren(badge(text, look));
  }
  const findings = document.querySelectorAll("#findings > li, [data-airflow-problems] > li");
  document.getElementById("well").hidden = findings.length > 0 || worst !== "ok";
}

let isStale = false; // The last refresh of the page has failed.
for (const [event, isBehind] of [["refreshed", false], ["notrefreshed", true]]) {
  document.addEventListener(event, () => {
    isStale = isBehind;
    showVerdict();
  });
}

// The parts of the page

const approvals = document.querySelector("[data-airflow-approvals]");
const maintenance = document.querySelector("[data-airflow-last-runs]");
const problemList = document.querySelector("[data-airflow-problems]");
const areSchedulesOn = maintenance.dataset.schedules === "on";

async function showMaintenance(dags) {
  const health = await healthOf(dags);
  const problems = await problemsOf(health);
  maintenance.replaceChildren(table(health));
  problemList.replaceChildren(...problems.map(item));
  levels.airflow = problems[0]?.level ?? "ok";
}

async function showQuestions(dags) {
  const asking = approvals.dataset.airflowApprovals.split(" ");
  const pending = await showApprovals(approvals, dags.map((dag) => dag.dag_id).filter((id) => asking.includes(id)));
  document.title = pending.length ? `${counted(pending.length, "question")} · Datasets server` : TITLE;
  levels.questions = pending.length ? "warn" : "ok";
}

const TITLE = document.title;

async function update() {
  if (!document.hidden) {
    try {
      const dags = await listDags();
      await Promise.all([showQuestions(dags), showMaintenance(dags)]);
      refreshTimes();
    } catch (error) {
      levels.airflow = "unknown";
      maintenance.replaceChildren(notice(error));
    }
    showVerdict();
  }
  setTimeout(update, REFRESH_MILLISECONDS);
}

update();
