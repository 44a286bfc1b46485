// Follows Airflow's theme, before the first paint and live. Inside Airflow, it also takes over Airflow's
// colours and font, which an Airflow may have changed ([api] theme).
"use strict";

(() => {
  const TAKEN_OVER = {
    "--bg": "--chakra-colors-bg",
    "--bg-subtle": "--chakra-colors-bg-subtle",
    "--bg-muted": "--chakra-colors-bg-muted",
    "--fg": "--chakra-colors-fg",
    "--fg-muted": "--chakra-colors-fg-muted",
    "--border": "--chakra-colors-border",
    "--brand": "--chakra-colors-brand-solid",
    "--brand-fg": "--chakra-colors-brand-fg",
    "--brand-contrast": "--chakra-colors-brand-contrast",
    "--font": "--chakra-fonts-body",
  };
  const root = document.documentElement;
  const airflow = airflowRoot();

  function airflowRoot() {
    try {
      return window.parent === window ? null : window.parent.document.documentElement;
    } catch {
      return null; // The frame is on a page of another site.
    }
  }

  function chosenTheme() {
    const chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") {
      return chosen;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  }

  function follow() {
    const theme = chosenTheme();
    const isNew = root.dataset.theme !== theme;
    root.dataset.theme = theme;
    if (airflow !== null) {
      takeOver(getComputedStyle(airflow));
    }
    if (isNew) {
      document.dispatchEvent(new CustomEvent("themechange", { detail: theme }));
    }
  }

  function takeOver(style) {
    for (const [ours, theirs] of Object.entries(TAKEN_OVER)) {
      const value = style.getPropertyValue(theirs).trim();
      if (value) {
        root.style.setProperty(ours, value);
      }
    }
  }

  follow();
  window.addEventListener("storage", follow);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", follow);
  if (airflow !== null) {
    const watched = { attributes: true, attributeFilter: ["class", "style"] };
    new MutationObserver(follow).observe(airflow, watched);
  }
})();
