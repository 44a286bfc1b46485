// The questions of runs that wait for a person.

import { answerApproval, logPage, pendingApprovals } from "./airflow.js";
import { airflowLink, element, notice, timeElement } from "./dom.js";
import { askAndDo } from "./trigger.js";

const LINES_SHOWN = 5;

/**
 * Show the questions that wait for a person, and the buttons that answer them.
 * @param {HTMLElement} place - its content is replaced, unless it would be the same
 * @param {string[]} dagIds
 * @returns {Promise<import("./airflow.js").Approval[]>} these questions
 */
export async function showApprovals(place, dagIds) {
  const pending = await pendingApprovals(dagIds);
  const seen = JSON.stringify(pending);
  if (place.dataset.seen === seen) {
    return pending;
  }
  place.dataset.seen = seen;
  place.replaceChildren(...pending.map((approval) => card(approval, () => showApprovals(place, dagIds))));
  return pending;
}

function card(approval, refresh) {
  const run = { dag_id: approval.dagId, dag_run_id: approval.runId };
  const task = { task_id: approval.taskId, map_index: approval.mapIndex };
  const answers = element("div", { class: "actions" });
  const made = element(
    "section",
    { class: "card approval" },
    element("h2", {}, approval.subject),
    element("p", { class: "muted" }, asked(approval)),
    explanation(approval),
    answers,
  );
  answers.append(
    element("button", { class: "danger-outline", onclick: () => answer(true) }, "Approve…"),
    element("button", { onclick: () => answer(false) }, "Reject…"),
    airflowLink(logPage(run, task), "Its task in Airflow"),
  );
  return made;

  async function answer(isApproved) {
    if (await confirmed(approval, isApproved)) {
      made.replaceWith(notice(`You ${isApproved ? "approved" : "rejected"}: ${approval.subject}`, "ok"));
      await refresh();
    }
  }
}

function asked({ dagId, since, until }) {
  const timeOut = until ? [" The question closes ", timeElement(until), "."] : [];
  return [`${dagId} asked `, timeElement(since), ".", timeOut];
}

function confirmed(approval, isApproved) {
  const effect = `The answer is recorded with your name, and the run of ${approval.dagId} goes on.`;
  return askAndDo({
    title: isApproved ? "Approve?" : "Reject?",
    content: [element("p", {}, approval.subject), element("p", { class: "muted" }, effect)],
    doing: isApproved ? "Approve" : "Reject",
    isDangerous: isApproved,
    act: () => answerApproval(approval, isApproved),
  });
}

/** Show the Markdown of our own questions, which has paragraphs and lists of escaped texts. */
function explanation({ body, datasets }) {
  const blocks = (body ?? "").split(/\n{2,}/).map((block) => block.split("\n"));
  const paragraph = (lines) => element("p", {}, plain(lines.join(" ")));
  return blocks.map((lines) => (lines[0].startsWith("- ") ? list(lines, datasets) : paragraph(lines)));
}

function list(lines, datasets) {
  const items = lines.map((line) => element("li", { class: "name" }, linked(plain(line.slice(2)), datasets)));
  const shown = element("ul", {}, items.slice(0, LINES_SHOWN));
  const more = items.slice(LINES_SHOWN);
  return more.length
    ? [shown, element("details", {}, element("summary", {}, `${more.length} more`), element("ul", {}, more))]
    : shown;
}

/** Link the dataset with which a line begins, if it does. */
function linked(line, datasets) {
  const name = datasets.find((each) => line === each || line.startsWith(`${each}: `));
  if (name === undefined) {
    return line;
  }
  const link = element("a", { href: `dataset?${new URLSearchParams({ name })}` }, name);
  return [link, line.slice(name.length)];
}

/** Undo the escapes of the Markdown; what comes of it is a text and never markup. */
function plain(text) {
  const unescaped = text.replace(/\\([!-/:-@[-`{-~])/g, "$1").replaceAll("`", "");
  return new DOMParser().parseFromString(unescaped.replaceAll("<", "&lt;"), "text/html").body.textContent;
}
