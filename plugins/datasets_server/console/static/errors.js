// The page of an error code: its buttons.

import { start } from "./start.js";

const triggered = document.getElementById("triggered");

document.getElementById("retry-these")?.addEventListener("click", ({ target }) => {
  const { code, datasets } = target.dataset;
  start(triggered, "refresh-datasets", { datasets: JSON.parse(datasets), error_codes: [code] });
});

document.getElementById("retry-all")?.addEventListener("click", ({ target }) => {
  start(triggered, "backfill-retryable-errors", {
    error_codes: [target.dataset.code],
    ignore_failed_runs: true,
  });
});
