// What all pages do: open Airflow's own pages in its window, and keep themselves up to date.

const REFRESH_MILLISECONDS = 30_000;

/** Open a page of Airflow: in the frame, it would show itself inside itself. */
function openInAirflow(address, newTab = false) {
  const page = window.parent.document;
  // The frame may not navigate its parent, but an element of the parent may.
  const link = page.createElement("a");
  link.href = new URL(address, document.baseURI).href;
  link.target = newTab ? "_blank" : "_self";
  link.rel = "noopener";
  page.body.append(link);
  link.click();
  link.remove();
}

function followAirflowLink(event) {
  const link = event.target.closest?.("a[data-airflow]");
  if (!link || window.parent === window) {
    return;
  }
  event.preventDefault();
  openInAirflow(link.href, event.ctrlKey || event.metaKey || event.shiftKey || event.button === 1);
}

/** Fetch this page again, and replace its parts that have an id and the attribute data-live. */
export async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) {
    throw new Error(answer.status === 401 ? "you are logged out." : `the answer was ${answer.status}.`);
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const changed = [...document.querySelectorAll("[data-live][id]")]
    .map((part) => [part, page.getElementById(part.id)])
    .filter(([part, fresh]) => fresh && fresh.outerHTML !== part.outerHTML);
  const isAtWork = ([part]) => part.contains(document.activeElement);
  for (const [part, fresh] of changed.filter((each) => !isAtWork(each))) {
    keepOpen(part, fresh);
    part.replaceWith(document.adoptNode(fresh));
  }
  if (!changed.some(isAtWork)) { // Otherwise a part is as old as before.
    document.getElementById("shown-at").replaceWith(page.getElementById("shown-at"));
  }
  document.dispatchEvent(new CustomEvent("refreshed"));
}

/**
 * Ask the console for data.
 * @param {string} address - relative to the console
 * @param {Object|Array|string} parameters - of its query
 * @throws {Error} with the sentence that the console says
 */
export async function getJson(address, parameters) {
  const query = new URLSearchParams(parameters);
  const answer = await fetch(`${address}?${query}`, { headers: { Accept: "application/json" } });
  const content = await answer.json();
  if (!answer.ok) {
    throw new Error(content.error);
  }
  return content;
}

function keepOpen(part, fresh) {
  const before = part.querySelectorAll("details");
  fresh.querySelectorAll("details").forEach((details, index) => {
    details.open = before[index]?.open ?? details.open;
  });
}

async function refreshIfSeen() {
  const state = document.getElementById("refresh-state");
  if (document.hidden || !document.querySelector("[data-live-page]")) {
    return;
  }
  try {
    await refresh();
    state.textContent = "";
  } catch (error) {
    state.textContent = `Not refreshed: ${error.message}`;
    document.dispatchEvent(new CustomEvent("notrefreshed"));
  }
}

document.addEventListener("click", followAirflowLink);
document.addEventListener("auxclick", followAirflowLink);
setInterval(refreshIfSeen, REFRESH_MILLISECONDS);
