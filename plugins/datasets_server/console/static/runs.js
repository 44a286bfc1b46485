// The runs of the DAGs. Each list says in its attributes which runs it shows, and is kept up to date.

import { hasEnded, listRuns, logPage, runPage } from "./airflow.js";
import {
  airflowLink,
  badge,
  counted,
  duration,
  element,
  enableButtons,
  notice,
  number,
  refreshTimes,
  timeElement,
} from "./dom.js";
import { errorsOf, inWords, numbersOf, rateOf, reportTasks, samplesOf } from "./reports.js";
import { factsOf, keyOf, knownFactsOf, outcomeBadge } from "./run_facts.js";
import { askAndBackfill, askAndTrigger, triggeredNotice } from "./trigger.js";

const SOON_MILLISECONDS = 4_000; // While a run is at work.
const LATER_MILLISECONDS = 30_000;
const SAID_MILLISECONDS = 20_000;
const ERRORS_SHOWN = 3;

/** Some states of a task in words. */
const TASK_STATES = {
  deferred: "waits",
  awaiting_input: "waits for a person",
  up_for_retry: "will be tried again",
};

// A run as an element

function row(run, facts, isNamed) {
  const made = element("li", { class: "run" });
  const name = isNamed ? element("strong", {}, run.dag_id) : null;
  made.append(
    element("div", { class: "outcome" }, outcome(run, facts), name),
    element("div", { class: "did" }, facts ? did(run, facts) : element("p", { class: "muted" }, "…")),
    element("div", { class: "when muted" }, when(run, facts)),
    element("div", { class: "links" }, links(run, facts)),
  );
  return made;
}

function outcome(run, facts) {
  const isDry = facts?.report?.dry_run ?? run.conf?.dry_run;
  return [outcomeBadge(run, facts), isDry ? badge("dry run", "neutral") : null];
}

function did(run, { report, failed, progress }) {
  if (progress) {
    return progressBar(run, progress);
  }
  const logs = failed.map((task) => ["Failed in ", airflowLink(logPage(run, task), task.task_id), "."]);
  if (!report) {
    return [element("p", { class: "muted" }, whyNoReport(run)), listOf(logs, "problems")];
  }
  const problems = [...logs, ...errorsOf(report).slice(0, ERRORS_SHOWN), ...(report.warnings ?? [])];
  return [
    element("p", {}, sentenceOf(run, report)),
    listOf(problems, "problems"),
    listOf(report.decisions ?? [], "decisions"),
    details(run, report),
  ];
}

function whyNoReport(run) {
  if (run.state === "failed") {
    return "It ended without a report.";
  }
  return reportTasks(run.dag_id).length ? "It was skipped: its log says why." : "It had nothing to report.";
}

function sentenceOf(run, report) {
  const words = inWords(run.dag_id, report);
  return report.dry_run ? `Would have done: ${words}.` : `${words[0].toUpperCase()}${words.slice(1)}.`;
}

function progressBar(run, { done, total, active }) {
  if (run.state === "queued") {
    return element("p", {}, "Waits for an earlier run of this DAG to end, or for the scheduler.");
  }
  const tasks = active.map((task) => `${task.task_id} ${TASK_STATES[task.state] ?? `is ${task.state}`}`);
  const now = tasks.length ? `: ${[...new Set(tasks)].join(", ")}` : "";
  const bar = element("progress", { value: done, max: Math.max(total, 1), "aria-label": "Tasks done" });
  const asks = active.some((task) => task.state === "awaiting_input");
  const answer = asks ? [". ", element("a", { href: "now" }, "Answer it")] : null;
  return element("p", {}, bar, ` ${done} of ${counted(total, "task")} done${now}`, answer);
}

function listOf(items, kind) {
  const rows = items.map((item) => element("li", { class: "name" }, item));
  return rows.length ? element("ul", { class: kind }, rows) : null;
}

function details(run, report) {
  const sample = ([title, lines]) => [element("h4", {}, title), listOf(lines, "sample")];
  const hasParameters = Object.keys(run.conf ?? {}).length > 0;
  const parameters = [element("h4", {}, "Parameters"), element("pre", {}, JSON.stringify(run.conf, null, 2))];
  const parts = [numbers(report), samplesOf(report).map(sample), hasParameters ? parameters : null];
  return element("details", {}, element("summary", {}, "Report"), parts);
}

function numbers(report) {
  const rows = numbersOf(report).map(([name, value]) => {
    const cells = [element("th", { scope: "row" }, name), element("td", { class: "number" }, value)];
    return element("tr", {}, cells);
  });
  const caption = element("caption", { class: "visually-hidden" }, "Numbers of the report");
  return element("table", { class: "data numbers" }, caption, element("tbody", {}, rows));
}

function when(run, facts) {
  const rate = facts?.report ? rateOf(facts.report) : null;
  return [
    element("span", {}, timeElement(run.start_date ?? run.run_after)),
    run.duration ? element("span", {}, `took ${duration(run.duration)}`) : null,
    rate ? element("span", {}, `${number(rate)} datasets a second`) : null,
    element("span", {}, triggeredBy(run)),
  ];
}

function triggeredBy(run) {
  const user = run.triggering_user_name ? ` by ${run.triggering_user_name}` : "";
  const kinds = { manual: `by hand${user}`, scheduled: "scheduled", backfill: `for a range of dates${user}` };
  return kinds[run.run_type] ?? run.run_type;
}

function links(run, facts) {
  const task = facts?.failed[0] ?? (facts?.reportTask && { task_id: facts.reportTask });
  const again = {
    onclick: () => start(run.dag_id, run.conf ?? {}),
    title: "Opens the form with the parameters of this run",
  };
  return [
    airflowLink(runPage(run), "In Airflow"),
    task ? airflowLink(logPage(run, task), "Log") : null,
    element("button", again, "Trigger again…"),
  ];
}

// Lists of runs

/**
 * Show the runs that an element asks for, and return whether one of them is at work.
 * @param {HTMLElement} list - `data-runs`: the ids of the DAGs; `data-limit`; `data-page`, from 1;
 *   `data-states`: only runs in these
 */
async function show(list) {
  const dagIds = list.dataset.runs.split(" ");
  const limit = Number(list.dataset.limit);
  const offset = (Number(list.dataset.page) - 1) * limit;
  const states = list.dataset.states?.split(" ");
  const { runs, total } = await listRuns(dagIds, limit, { states, offset });
  const isNamed = dagIds.length > 1;
  draw(list, runs, runs.map(knownFactsOf), isNamed);
  draw(list, runs, await Promise.all(runs.map(factsOf)), isNamed);
  document.getElementById("older")?.toggleAttribute("hidden", offset + runs.length >= total);
  return runs.some((run) => !hasEnded(run));
}

/** What each row says, of which run. @type {WeakMap<Element, {run: string, says: string}>} */
const drawn = new WeakMap();

/** Draw the rows, but leave those alone that say the same or have the focus. */
function draw(list, runs, facts, isNamed) {
  const before = new Map([...list.children].map((child) => [drawn.get(child)?.run, child]));
  const rows = runs.map((run, index) => {
    const [id, says] = [`${run.dag_id} ${run.dag_run_id}`, JSON.stringify([keyOf(run), facts[index]])];
    const old = before.get(id);
    if (old && (drawn.get(old).says === says || old.contains(document.activeElement))) {
      return old;
    }
    const made = row(run, facts[index], isNamed);
    drawn.set(made, { run: id, says });
    return made;
  });
  place(list, rows.length ? rows : [element("li", { class: "muted" }, "There are none.")]);
}

/** Replace the children of an element, without moving those that stay: that would take the focus away. */
function place(list, rows) {
  rows.forEach((each, index) => {
    if (list.children[index] !== each) {
      list.insertBefore(each, list.children[index] ?? null);
    }
  });
  while (list.children.length > rows.length) {
    list.lastElementChild.remove();
  }
}

const lists = [...document.querySelectorAll("[data-runs]")];
const messages = document.getElementById("messages");
let timer;
let outage; // The notice that the runs cannot be read.

async function update() {
  clearTimeout(timer);
  let isSoon = false;
  if (!document.hidden) {
    outage?.remove();
    try {
      isSoon = (await Promise.all(lists.map(show))).some(Boolean);
      refreshTimes();
    } catch (error) {
      outage = notice(error);
      messages.append(outage);
    }
  }
  timer = setTimeout(update, isSoon ? SOON_MILLISECONDS : LATER_MILLISECONDS);
}

// What the buttons do

async function start(dagId, conf = {}) {
  await tell(async () => {
    const run = await askAndTrigger(dagId, conf);
    return run && triggeredNotice(run);
  });
}

async function backfill(dagId) {
  await tell(async () => {
    const made = await askAndBackfill(dagId);
    return made && notice(`The runs of ${dagId} were created. They run one after the other.`, "ok");
  });
}

/** Do something that the user asked for, say what came of it, and show the new runs. */
async function tell(act) {
  try {
    const said = await act();
    if (said) {
      messages.replaceChildren(said);
      setTimeout(() => said.remove(), SAID_MILLISECONDS);
      await update();
    }
  } catch (error) {
    messages.replaceChildren(notice(error));
  }
}

document.addEventListener("click", ({ target }) => {
  const { trigger, backfill: dagId } = target.closest("button")?.dataset ?? {};
  if (trigger) {
    start(trigger);
  } else if (dagId) {
    backfill(dagId);
  }
});
document.getElementById("filter").addEventListener("change", (event) => event.currentTarget.requestSubmit());
document.addEventListener("visibilitychange", () => document.hidden || update());
update();
enableButtons();
