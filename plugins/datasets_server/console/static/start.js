// Triggers a run from a page, with the rights of the user, and says so there.

/** Trigger a run, and show in the element what came of it. Return whether it was triggered. */
export async function start(place, dag, conf) {
  say(place, "", `Triggering ${dag} …`);
  try {
    const { trigger } = await import("./airflow.js");
    const { dag_run_id: id } = await trigger(dag, conf);
    const link = document.createElement("a");
    link.href = `../dags/${encodeURIComponent(dag)}/runs/${encodeURIComponent(id)}`;
    link.dataset.airflow = "";
    link.textContent = id;
    say(place, "ok", `${dag} was triggered: `, link);
    return true;
  } catch (error) {
    say(place, "bad", `${dag} was not triggered: ${error.message}`);
    return false;
  }
}

function say(place, kind, ...text) {
  const notice = document.createElement("p");
  notice.className = `notice ${kind}`;
  notice.append(...text);
  place.replaceChildren(notice);
}
