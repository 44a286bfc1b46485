// What there is to know of a run beside the run itself: what it reported, what failed, how far it is.

import { failedTasks, hasEnded, progressOf, xcom } from "./airflow.js";
import { badge } from "./dom.js";
import { errorsOf, reportTasks } from "./reports.js";

/** How each state of a run looks. */
const STATES = {
  success: ["✓ success", "ok"],
  failed: ["✗ failed", "bad"],
  running: ["▶ running", "info"],
  queued: ["… queued", "neutral"],
};
const WITH_ERRORS = ["! success with errors", "warn"];
const WAITS_FOR_A_PERSON = ["? waits for a person", "warn"];

/**
 * @typedef {import("./airflow.js").Run} Run
 * @typedef {{report: ?Object, reportTask: ?string, failed: Array, progress: ?Object}} Facts - `reportTask` has
 *   the report, or ought to have it
 */

/** What is known of the runs that have ended: it does not change. @type {Map<string, Facts>} */
const known = new Map();

/** @param {Run} run @returns {string} a text that changes with the state of the run */
export const keyOf = (run) => [run.dag_id, run.dag_run_id, run.state, run.end_date].join(" ");

/** @param {Run} run @returns {?Facts} what is known without asking Airflow */
export function knownFactsOf(run) {
  return known.get(keyOf(run)) ?? null;
}

/** @param {Run} run @returns {Promise<Facts>} */
export async function factsOf(run) {
  const key = keyOf(run);
  if (!known.has(key)) {
    const facts = await askFor(run);
    if (!hasEnded(run)) {
      return facts;
    }
    known.set(key, facts);
  }
  return known.get(key);
}

async function askFor(run) {
  if (!hasEnded(run)) {
    return { report: null, reportTask: null, failed: [], progress: await progressOf(run) };
  }
  const failing = run.state === "failed" ? failedTasks(run) : [];
  const [found, failed] = await Promise.all([reportOf(run), failing]);
  return { ...found, failed, progress: null };
}

/** Find the report of a run: which task has it, and what it says. */
async function reportOf(run) {
  for (const task of reportTasks(run.dag_id)) {
    const report = await xcom(run.dag_id, run.dag_run_id, task);
    if (report !== null) {
      return { report, reportTask: task };
    }
  }
  return { report: null, reportTask: reportTasks(run.dag_id).at(-1) ?? null };
}

/**
 * @param {Run} run
 * @param {?Facts} facts
 * @returns {HTMLElement} a badge with the outcome: a success is none if datasets failed, and a run that waits
 *   for a person does not just run
 */
export function outcomeBadge(run, facts) {
  const [text, look] = outcome(run, facts);
  const made = badge(text, look);
  made.classList.toggle("running", run.state === "running" && look === "info");
  return made;
}

function outcome(run, facts) {
  if (run.state === "success" && facts?.report && errorsOf(facts.report).length > 0) {
    return WITH_ERRORS;
  }
  const active = facts?.progress?.active ?? [];
  if (run.state === "running" && active.some((task) => task.state === "awaiting_input")) {
    return WAITS_FOR_A_PERSON;
  }
  return STATES[run.state] ?? [run.state, "neutral"];
}
