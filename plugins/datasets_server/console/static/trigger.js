// The dialogs that start runs. Airflow's own form cannot be opened by an address, nor be filled in.

import { createBackfill, dagDetails, dagPage, runPage, trigger } from "./airflow.js";
import { airflowLink, element, notice } from "./dom.js";
import { confOf, fieldOf, labelled } from "./fields.js";

const DRY_RUN = "dry_run";

/**
 * Ask for the parameters of a run, and trigger it.
 * @param {string} dagId
 * @param {Object} [conf] - the parameters with which the form begins; if there are any, it shows these first
 * @param {string} [about] - what the run does; by default, the description of the DAG
 * @returns {Promise<?import("./airflow.js").Run>} the run; null if the user has cancelled
 * @throws {import("./airflow.js").AirflowError} if the parameters cannot be read
 */
export async function askAndTrigger(dagId, conf = {}, about = undefined) {
  const dag = await dagDetails(dagId);
  const fields = fieldsOf(dag, conf);
  return askAndDo({
    title: `Trigger ${dagId}`,
    content: [element("p", { class: "muted" }, about ?? dag.description), pausedNote(dag), mentionedFirst(fields, conf)],
    doing: "Trigger",
    act: () => trigger(dagId, confOf(fields)),
  });
}

/**
 * Ask for a range of dates, and create a backfill of it.
 * @param {string} dagId
 * @returns {Promise<?Object>} Airflow's backfill; null if the user has cancelled
 */
export async function askAndBackfill(dagId) {
  const dag = await dagDetails(dagId);
  const day = { type: "string", format: "date-time" };
  const dates = [
    { schema: { ...day, title: "From" }, description: "The earliest start of a data interval." },
    { schema: { ...day, title: "To" }, description: "The latest start of a data interval." },
  ].map((param) => fieldOf(param.schema.title.toLowerCase(), param));
  const fields = fieldsOf(dag, {}).filter(({ name }) => name === DRY_RUN);
  const about = `One run for each data interval (${dag.timetable_summary}) that begins in this range, one`
    + " after the other. Each takes what was last changed in its interval.";
  return askAndDo({
    title: `Backfill ${dagId} by date range`,
    content: [element("p", { class: "muted" }, about), pausedNote(dag), [...dates, ...fields].map(labelled)],
    doing: "Create the runs",
    act: () => createBackfill(dagId, dates[0].read(), dates[1].read(), confOf(fields)),
  });
}

/** @param {import("./airflow.js").Run} run @returns {HTMLElement} a notice that it was triggered */
export function triggeredNotice(run) {
  const link = airflowLink(runPage(run), "its run in Airflow");
  return notice(element("span", {}, `${run.dag_id} was triggered: see `, link, "."), "ok");
}

/**
 * Show a dialog, and do what it asks when the user agrees. An error is shown in the dialog, which stays.
 * @template T
 * @param {{title: string, content: Array, doing: string, isDangerous?: boolean,
 *   act: function(): Promise<T>}} asked - `doing` is the text of the button
 * @returns {Promise<?T>} null if the user has cancelled
 */
export function askAndDo({ title, content, doing, isDangerous = false, act }) {
  const errors = element("div", { class: "errors" });
  const confirm = element("button", { class: isDangerous ? "danger" : "primary" }, doing);
  const leave = { type: "button", onclick: () => dialog.close(), autofocus: isDangerous };
  const cancel = element("button", leave, "Cancel");
  const buttons = element("div", { class: "actions" }, confirm, cancel);
  const heading = element("h2", { id: "dialog-title" }, title);
  const form = element("form", {}, heading, content, errors, buttons);
  const dialog = element("dialog", { "aria-labelledby": "dialog-title" }, form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    let done = null;
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });
    // A wrong value in a closed section would be reported where nobody sees it.
    const open = ({ target }) => target.closest("details")?.setAttribute("open", "");
    form.addEventListener("invalid", open, true);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      confirm.disabled = true;
      try {
        done = await act();
        dialog.close();
      } catch (error) {
        errors.replaceChildren(notice(error));
        confirm.disabled = false;
      }
    });
    dialog.showModal();
  });
}

function fieldsOf(dag, conf) {
  return Object.entries(dag.params ?? {}).map(
    ([name, param]) => fieldOf(name, param, name in conf ? conf[name] : param.value),
  );
}

/** Show the fields that the caller mentions, and the dry run; all others wait behind a click. */
function mentionedFirst(fields, conf) {
  const isFirst = ({ name }) => name in conf || name === DRY_RUN;
  if (Object.keys(conf).length === 0) {
    return inSections(fields);
  }
  const others = fields.filter((field) => !isFirst(field)).map(labelled);
  return [fields.filter(isFirst).map(labelled), others.length ? section("Other parameters", others, false) : null];
}

function inSections(fields) {
  const sections = Map.groupBy(fields, ({ param }) => param.schema.section);
  return [...sections].map(([title, within]) => {
    const controls = within.map(labelled);
    return title ? section(title, controls, Object.keys(confOf(within)).length > 0) : controls;
  });
}

function section(title, controls, isOpen) {
  return element("details", { class: "section", open: isOpen }, element("summary", {}, title), controls);
}

function pausedNote(dag) {
  if (!dag.is_paused) {
    return null;
  }
  const link = airflowLink(dagPage(dag.dag_id), "unpause it");
  return notice(element("span", {}, "This DAG is paused: the run waits until you ", link, "."), "warn");
}
