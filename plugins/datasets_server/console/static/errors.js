// The page of an error code: its buttons, which ask before they trigger a run.

import { notice } from "./dom.js";
import { askAndTrigger, triggeredNotice } from "./trigger.js";

const triggered = document.getElementById("triggered");

async function ask(dag, conf) {
  try {
    const run = await askAndTrigger(dag, conf);
    if (run) {
      triggered.replaceChildren(triggeredNotice(run));
    }
  } catch (error) {
    triggered.replaceChildren(notice(error));
  }
}

document.getElementById("retry-these")?.addEventListener("click", ({ target }) => {
  const { code, datasets } = target.dataset;
  ask("refresh-datasets", { datasets: JSON.parse(datasets), error_codes: [code] });
});

document.getElementById("retry-all")?.addEventListener("click", ({ target }) => {
  ask("backfill-retryable-errors", { error_codes: [target.dataset.code], ignore_failed_runs: true });
});
