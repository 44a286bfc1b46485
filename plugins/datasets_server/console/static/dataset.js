// The page of a dataset: its artifacts as matrices of which only the visible rows are drawn, and its buttons.

import { getJson, refresh } from "./console.js";
import { badge, element, enableButtons, notice } from "./dom.js";
import { askAndTrigger, triggeredNotice } from "./trigger.js";

const ROW_PIXELS = 32;
const ROWS_PER_REQUEST = 100;
const ROWS_AROUND = 10;
const WAIT_MILLISECONDS = 200;

const matrix = document.getElementById("matrix");
const name = document.querySelector("h1").textContent;
const signs = new Map(
  (matrix?.dataset.signs ?? "").split("|").map((each) => {
    const [state, sign, look] = each.split(":");
    return [state, { sign, look }];
  }),
);

// Matrices

/** One matrix: a table that scrolls, with a row of the height of what is not drawn above and below. */
class Rows {
  constructor(box) {
    this.box = box;
    this.level = box.dataset.level;
    this.body = box.querySelector("tbody");
    this.steps = [...box.querySelectorAll("[data-step]")].map((head) => head.dataset.step);
    this.head = box.querySelector("thead");
    this.count = box.parentElement.querySelector("[data-count]");
    this.active = { row: 0, column: 0 };
    this.filter = [];
    box.addEventListener("scroll", () => this.draw(), { passive: true });
    box.addEventListener("keydown", (event) => this.press(event));
    box.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.draw()).observe(box);
    this.load();
  }

  /** Read the rows that meet the filter anew. */
  async load() {
    this.parts = new Map();
    this.total = null;
    await this.part(0);
    if (this.total === null) {
      return;
    }
    this.active.row = Math.min(this.active.row, Math.max(0, this.total - 1));
    this.count.textContent = this.total.toLocaleString("en");
    this.box.querySelector("table").setAttribute("aria-rowcount", this.total + 1);
    this.box.parentElement.hidden = this.total === 0;
    document.getElementById("no-match").hidden = matrix.querySelector(".level:not([hidden])") !== null;
    this.draw();
  }

  async part(index) {
    if (this.parts.has(index)) {
      return;
    }
    const parts = this.parts;
    parts.set(index, []);
    const place = [["name", name], ["level", this.level], ["first", index * ROWS_PER_REQUEST]];
    try {
      const found = await getJson("dataset/rows", [...place, ["count", ROWS_PER_REQUEST], ...this.filter]);
      if (parts === this.parts) {
        parts.set(index, found.rows);
        this.total = found.total;
      }
    } catch (error) {
      parts.delete(index);
      this.body.replaceChildren(element("tr", {}, element("td", { colspan: this.steps.length + 1 }, error.message)));
    }
  }

  row(index) {
    return this.parts.get(Math.floor(index / ROWS_PER_REQUEST))?.[index % ROWS_PER_REQUEST];
  }

  async draw() {
    if (this.total === null) {
      return;
    }
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW_PIXELS) - ROWS_AROUND);
    const visible = Math.ceil(this.box.clientHeight / ROW_PIXELS) + 2 * ROWS_AROUND;
    const last = Math.min(this.total, first + visible);
    const missing = new Set();
    for (let index = first; index < last; index++) {
      if (!this.parts.has(Math.floor(index / ROWS_PER_REQUEST))) {
        missing.add(Math.floor(index / ROWS_PER_REQUEST));
      }
    }
    this.drawRows(first, last);
    if (missing.size > 0) {
      await Promise.all([...missing].map((index) => this.part(index)));
      this.draw();
    }
  }

  drawRows(first, last) {
    const hadFocus = this.body.contains(document.activeElement);
    const rows = [this.space(first)];
    for (let index = first; index < last; index++) {
      rows.push(this.drawnRow(index, this.row(index)));
    }
    rows.push(this.space(this.total - last));
    this.body.replaceChildren(...rows);
    if (hadFocus) {
      (this.activeCell() ?? this.box).focus({ preventScroll: true });
    }
  }

  space(rows) {
    const space = element("tr", { "aria-hidden": "true", class: "space" }, element("td"));
    space.style.height = `${rows * ROW_PIXELS}px`;
    return space;
  }

  drawnRow(index, row) {
    const parts = row ? [row.config, row.split].filter((part) => part !== null) : ["…"];
    const shown = parts.length > 0 ? parts : [name];
    const head = element("th", { scope: "row", class: "place", title: shown.join(" / ") }, joined(shown, " / "));
    const cells = (row?.states ?? []).map((state, column) => this.cell(index, column, state, row));
    return element("tr", { "aria-rowindex": index + 2 }, head, ...cells, element("td", { class: "rest" }));
  }

  cell(row, column, state, { has_job }) {
    const { sign, look } = signs.get(state);
    const job = has_job[column] ? ", a job is pending" : "";
    const isActive = row === this.active.row && column === this.active.column;
    const cell = element("td", {
      role: "gridcell",
      class: `state ${look} ${state.replaceAll(" ", "-")}${job ? " has-job" : ""}`,
      title: `${this.steps[column]}: ${state}${job}`,
      "aria-label": `${this.steps[column]}: ${state}${job}`,
      tabindex: isActive ? "0" : "-1",
    }, sign);
    cell.dataset.row = row;
    cell.dataset.column = column;
    return cell;
  }

  activeCell() {
    const { row, column } = this.active;
    return this.body.querySelector(`[data-row="${row}"][data-column="${column}"]`);
  }

  press(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / ROW_PIXELS) - 8);
    const { row, column } = this.active;
    const lastRow = this.total - 1;
    const moved = {
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      PageUp: [row - page, column],
      PageDown: [row + page, column],
      Home: event.ctrlKey ? [0, column] : [row, 0],
      End: event.ctrlKey ? [lastRow, column] : [row, this.steps.length - 1],
    }[event.key];
    if (moved) {
      event.preventDefault();
      this.moveTo(clamp(moved[0], lastRow), clamp(moved[1], this.steps.length - 1));
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.show();
    }
  }

  async moveTo(row, column) {
    this.active = { row, column };
    const top = row * ROW_PIXELS;
    const room = this.box.clientHeight - this.head.offsetHeight - ROW_PIXELS;
    this.box.scrollTop = Math.min(top, Math.max(this.box.scrollTop, top - room));
    await this.draw();
    const cell = this.activeCell();
    cell?.focus({ preventScroll: true });
    cell?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  click(event) {
    const cell = event.target.closest("td.state");
    if (cell) {
      this.active = { row: Number(cell.dataset.row), column: Number(cell.dataset.column) };
      this.drawRows(Number(this.body.children[1].ariaRowIndex) - 2, this.lastDrawn());
      this.activeCell()?.focus({ preventScroll: true });
      this.show();
    }
  }

  lastDrawn() {
    return Number(this.body.children[this.body.children.length - 2].ariaRowIndex) - 1;
  }

  show() {
    const row = this.row(this.active.row);
    if (row) {
      showArtifact(this.steps[this.active.column], row.config, row.split, () => this.activeCell());
    }
  }
}

/** Join parts of a name so that none turns the direction of the others; one that is empty is seen. */
function joined(parts, separator = " · ") {
  return parts.flatMap((part, index) => [index > 0 ? separator : null, element("bdi", {}, part || '""')]);
}

function clamp(number, last) {
  return Math.max(0, Math.min(number, last));
}

// One artifact

const artifact = document.getElementById("artifact");
let returnFocus = () => null;

async function showArtifact(kind, config, split, opener) {
  const key = [["name", name], ["kind", kind]];
  for (const [field, value] of [["config", config], ["split", split]]) {
    if (value !== null && value !== undefined) {
      key.push([field, value]);
    }
  }
  returnFocus = opener;
  const title = document.getElementById("artifact-title");
  const text = document.getElementById("artifact-text");
  const parts = [kind, config, split].filter((part) => part !== null && part !== undefined);
  title.replaceChildren(...joined(parts).filter((part) => part !== null));
  try {
    text.replaceChildren(...artifactText(await getJson("dataset/artifact", key)));
  } catch (error) {
    text.replaceChildren(element("p", { class: "notice bad" }, error.message));
  }
  artifact.hidden = false;
  title.focus();
}

function artifactText(found) {
  const state = badge(`${found.sign} ${found.state}`, found.badge);
  const parts = [element("p", {}, state, " ", found.why.join(" "))];
  const message = found.message ?? {};
  if (message.text) {
    parts.push(element("pre", {}, message.text));
  }
  if (message.cause || message.cause_message) {
    const cause = [message.cause, message.cause_message].filter(Boolean).join(": ");
    parts.push(element("p", { class: "name" }, `Caused by ${cause}`));
  }
  if (message.copied_from) {
    const parent = message.copied_from.filter((part) => part !== null);
    parts.push(element("p", { class: "name" }, "The error is that of ", joined(parent), "."));
  }
  parts.push(...found.jobs.map((job) => element("p", { class: "name" }, `• ${job}`)));
  const facts = Object.entries(found.facts).flatMap(([fact, value]) => [
    element("dt", {}, fact),
    element("dd", { class: "name" }, value),
  ]);
  parts.push(element("dl", { class: "facts" }, ...facts));
  return parts;
}

function closeArtifact() {
  artifact.hidden = true;
  returnFocus()?.focus({ preventScroll: true });
}

// The page

function startMatrices() {
  const grids = [...matrix.querySelectorAll(".rows")].map((box) => new Rows(box));
  const form = matrix.querySelector(".filters");
  const attention = document.getElementById("attention");
  const boxes = [...form.querySelectorAll("[name=state]")];
  let timer;

  function apply() {
    const states = boxes.filter((box) => box.checked).map((box) => ["state", box.value]);
    const isAttention = boxes.every((box) => box.checked === (box.value !== "up to date"));
    attention.setAttribute("aria-pressed", String(isAttention));
    const text = form.elements.text.value.trim();
    for (const grid of grids) {
      grid.filter = text ? [...states, ["text", text]] : states;
      grid.box.scrollTop = 0;
      grid.load();
    }
  }

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(apply, WAIT_MILLISECONDS);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  attention.addEventListener("click", () => {
    const isOn = attention.getAttribute("aria-pressed") !== "true";
    for (const box of boxes) {
      box.checked = isOn && box.value !== "up to date";
    }
    apply();
  });
  document.addEventListener("refreshed", () => grids.forEach((grid) => grid.load()));
  document.getElementById("close-artifact").addEventListener("click", closeArtifact);
  artifact.addEventListener("keydown", (event) => event.key === "Escape" && closeArtifact());
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-kind]");
  if (button && artifact) {
    const { kind, config, split } = button.dataset;
    showArtifact(kind, config, split, () => button);
  }
});

if (matrix) {
  startMatrices();
}

// Actions

const triggered = document.getElementById("triggered");
const WATCHED_TIMES = 12;
const WATCH_MILLISECONDS = 10_000;

/** Say which run was triggered, if any was, or why none was, and show what the run changes. */
async function start(triggering) {
  try {
    const run = await triggering;
    if (run) {
      triggered.replaceChildren(triggeredNotice(run));
      watch(WATCHED_TIMES);
    }
  } catch (error) {
    triggered.replaceChildren(notice(error));
  }
}

/** Refresh the page some times, sooner than it does by itself. */
function watch(times) {
  setTimeout(async () => {
    await refresh().catch(() => null); // The next one may succeed.
    if (times > 1) {
      watch(times - 1);
    }
  }, WATCH_MILLISECONDS);
}

/** What a person chooses, beside the dataset. */
const TO_CHOOSE = { "refresh-datasets": { steps: [], with_children: false, recreate: false } };

for (const button of document.querySelectorAll("button[data-ask]")) {
  const dag = button.dataset.ask;
  const conf = { datasets: [name], ...TO_CHOOSE[dag] };
  button.addEventListener("click", () => start(askAndTrigger(dag, conf)));
}
enableButtons();
