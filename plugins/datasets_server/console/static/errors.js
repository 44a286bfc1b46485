// The page of an error code: its buttons, which ask before they trigger a run.

import { getJson } from "./console.js";
import { counted, enableButtons, notice } from "./dom.js";
import { askAndTrigger, triggeredNotice } from "./trigger.js";

const triggered = document.getElementById("triggered");
const retryThese = document.getElementById("retry-these");
const all = document.getElementById("all-artifacts");
const boxes = [...document.querySelectorAll("input.artifact")];

async function ask(dag, conf, about) {
  try {
    const run = await askAndTrigger(dag, conf, about);
    if (run) {
      triggered.replaceChildren(triggeredNotice(run));
    }
  } catch (error) {
    triggered.replaceChildren(notice(error));
  }
}

function chosen() {
  return boxes.filter((box) => box.checked);
}

function showWhatIsChosen() {
  const count = chosen().length;
  all.checked = count > 0 && count === boxes.length;
  all.indeterminate = count > 0 && count < boxes.length;
  retryThese.textContent = count > 0 ? `Retry the chosen ${count}…` : `Retry these ${boxes.length}…`;
}

function retry(code, artifacts, which) {
  const about = `Computes ${which} again, whether they have retries left or not. An entry that no longer has`
    + " this error is left alone.";
  return ask("refresh-datasets", { artifacts, error_codes: [code] }, about);
}

retryThese?.addEventListener("click", () => {
  const wanted = chosen().length > 0 ? chosen() : boxes;
  retry(retryThese.dataset.code, wanted.map((box) => box.value), "these entries");
});

document.getElementById("retry-matching")?.addEventListener("click", async ({ target }) => {
  try {
    const { artifacts, are_all: areAll } = await getJson("errors/artifacts", location.search);
    const count = counted(artifacts.length, "entry");
    const which = areAll ? `the ${count} that match` : `the newest ${count} of those that match`;
    await retry(target.dataset.code, artifacts, which);
  } catch (error) {
    triggered.replaceChildren(notice(error));
  }
});

document.getElementById("retry-all")?.addEventListener("click", ({ target }) => {
  const conf = { error_codes: [target.dataset.code], ignore_failed_runs: true };
  ask("backfill-retryable-errors", conf, "Backfills all datasets with this error, however often it has failed.");
});

if (retryThese) {
  all.addEventListener("change", () => {
    for (const box of boxes) {
      box.checked = all.checked;
    }
    showWhatIsChosen();
  });
  for (const box of boxes) {
    box.addEventListener("change", showWhatIsChosen);
  }
  showWhatIsChosen(); // A browser may keep what was chosen when it loads the page again.
}
enableButtons();
