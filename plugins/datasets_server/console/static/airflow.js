// Airflow's own REST API, with the rights of the user who looks at the page: Airflow checks them, and its
// audit log says who did what.

// Relative to this file, so that it also holds behind a proxy and under a prefix of the address.
const API = new URL("../../api/v2/", import.meta.url);
const TAG = "datasets-server";
const APPROVE = "Approve";
const REJECT = "Reject";
const WAITING_FOR_A_PERSON = ["deferred", "awaiting_input"];
const UNFINISHED_TASKS = [
  "running",
  "deferred",
  "awaiting_input",
  "queued",
  "scheduled",
  "up_for_retry",
  "up_for_reschedule",
  "restarting",
];

/**
 * @typedef {{dag_id: string, dag_run_id: string, state: string, run_type: string, run_after: string,
 *   start_date: ?string, end_date: ?string, queued_at: ?string, duration: ?number, conf: ?Object,
 *   triggering_user_name: ?string}} Run
 * @typedef {{task_id: string, map_index: number, state: ?string, start_date: ?string, queued_when: ?string,
 *   scheduled_when: ?string}} Task
 * @typedef {{dag_id: string, description: ?string, is_paused: boolean, timetable_summary: ?string,
 *   next_dagrun_run_after: ?string}} Dag
 */

/** An error with a sentence for the user. */
export class AirflowError extends Error {
  /** @param {string} sentence @param {number} [status] - of the answer, if there was one */
  constructor(sentence, status = 0) {
    super(sentence);
    this.status = status;
    this.isLoggedOut = status === 401;
  }
}

/**
 * Send a request to Airflow's REST API.
 * @param {string} method
 * @param {string} path - below `/api/v2/`, with each part encoded
 * @param {Object} [body]
 * @param {string} [toDo] - what the request is to do, for the error if the user may not
 * @returns {Promise<any>}
 * @throws {AirflowError}
 */
export async function request(method, path, body, toDo = "do this") {
  const answer = await send(method, path, body);
  if (!answer.ok) {
    throw new AirflowError(await sentence(answer, toDo), answer.status);
  }
  return answer.json();
}

async function send(method, path, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
  }
  try {
    return await fetch(new URL(path, API), { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new AirflowError("Airflow does not answer. Are you connected to it?");
  }
}

async function sentence(answer, toDo) {
  if (answer.status === 401) {
    return "You are logged out: log in to Airflow again.";
  }
  if (answer.status === 403) {
    return `You need Airflow's permission to ${toDo}.`;
  }
  const said = await answer.json().then((content) => content.detail, () => null);
  const detail = Array.isArray(said) ? said.map((problem) => problem.msg).join("; ") : said;
  return detail ? `Airflow refused to ${toDo}: ${detail}` : `Airflow failed to ${toDo} (${answer.status}).`;
}

function get(path, query, dagId) {
  const text = new URLSearchParams(query).toString();
  return request("GET", text ? `${path}?${text}` : path, undefined, `read the DAG ${dagId}`);
}

function pathOf(dagId, runId, ...rest) {
  const parts = ["dags", dagId, "dagRuns", ...(runId === undefined ? [] : [runId]), ...rest];
  return parts.map(encodeURIComponent).join("/");
}

// What there is

/** @returns {Promise<Dag[]>} our DAGs that the user may see */
export async function listDags() {
  const answer = await get("dags", { tags: TAG, limit: 50, order_by: "dag_id" }, TAG);
  return answer.dags;
}

/** @param {string} dagId @returns {Promise<Dag & {params: Object}>} a DAG, with its parameters */
export function dagDetails(dagId) {
  return get(`dags/${encodeURIComponent(dagId)}/details`, {}, dagId);
}

/**
 * List the last runs, the newest first.
 * @param {string[]} dagIds
 * @param {number} limit
 * @param {{states?: string[], offset?: number}} [which]
 * @returns {Promise<{runs: Run[], total: number}>}
 */
export async function listRuns(dagIds, limit, { states, offset = 0 } = {}) {
  const which = { dag_ids: dagIds, states, order_by: "-run_after", page_limit: limit, page_offset: offset };
  const answer = await request("POST", "dags/~/dagRuns/list", which, `read the runs of ${dagIds.join(", ")}`);
  return { runs: answer.dag_runs, total: answer.total_entries };
}

/**
 * Return the last runs of a DAG, and the last good one: it succeeded, was no dry run, and if the DAG has a
 * schedule, did not only take some datasets.
 * @param {Dag} dag
 * @returns {Promise<{runs: Run[], good: ?Run}>} `good` is looked for among the last hundred runs that succeeded
 */
export async function lastRuns({ dag_id: dagId, timetable_summary: schedule }) {
  const isOfAll = ({ conf }) => !conf?.dry_run && !(schedule && conf?.datasets?.length);
  const isGood = (run) => run.state === "success" && isOfAll(run);
  const few = 10;
  const { runs, total } = await listRuns([dagId], few);
  let good = runs.find(isGood);
  if (!good && total > few) {
    good = (await listRuns([dagId], 10 * few, { states: ["success"] })).runs.find(isGood);
  }
  return { runs, good };
}

/**
 * Return what a task of a run returned.
 * @param {string} dagId
 * @param {string} runId
 * @param {string} taskId
 * @param {string} [key] - of another XCom
 * @returns {Promise<?Object>} null if it has not returned
 */
export async function xcom(dagId, runId, taskId, key = "return_value") {
  const path = pathOf(dagId, runId, "taskInstances", taskId, "xcomEntries", key);
  try {
    return (await get(path, { deserialize: true }, dagId)).value;
  } catch (error) {
    if (error.status === 404) {
      return null;
    }
    throw error;
  }
}

/**
 * Return the tasks of a run in some states.
 * @param {string[]} states - all states if it is empty
 * @returns {Promise<{tasks: Task[], total: number}>} the first few, and how many there are
 */
async function tasksIn(dagId, runId, states, limit) {
  const query = [["limit", limit], ["order_by", "-start_date"], ...states.map((state) => ["state", state])];
  const answer = await get(pathOf(dagId, runId, "taskInstances"), query, dagId);
  return { tasks: answer.task_instances, total: answer.total_entries };
}

/** @param {Run} run @returns {Promise<Task[]>} some tasks that failed by themselves */
export async function failedTasks(run) {
  return (await tasksIn(run.dag_id, run.dag_run_id, ["failed"], 3)).tasks;
}

/**
 * Return how far a run is.
 * @param {Run} run
 * @returns {Promise<{done: number, total: number, active: Task[]}>} `active` has some of the tasks at work
 */
export async function progressOf({ dag_id: dagId, dag_run_id: runId }) {
  const [all, active, toCome] = await Promise.all([
    tasksIn(dagId, runId, [], 1),
    tasksIn(dagId, runId, UNFINISHED_TASKS, 5),
    tasksIn(dagId, runId, ["no_status"], 1),
  ]);
  return { done: all.total - active.total - toCome.total, total: all.total, active: active.tasks };
}

// What to do

/**
 * Trigger a DAG.
 * @param {string} dagId
 * @param {Object} conf - the parameters that differ from their default
 * @returns {Promise<Run>}
 */
export function trigger(dagId, conf = {}) {
  return request("POST", pathOf(dagId), { logical_date: null, conf }, `trigger the DAG ${dagId}`);
}

/**
 * Create a backfill by date range: a run for each data interval that begins in it, one after the other.
 * @param {string} dagId
 * @param {string} from - in ISO 8601
 * @param {string} to
 * @param {Object} conf
 */
export function createBackfill(dagId, from, to, conf = {}) {
  const body = { dag_id: dagId, from_date: from, to_date: to, max_active_runs: 1, dag_run_conf: conf };
  return request("POST", "backfills", body, `create a backfill of the DAG ${dagId}`);
}

/** @param {Run} run */
export function hasEnded(run) {
  return run.state === "success" || run.state === "failed";
}

// Approvals

/**
 * @typedef {{dagId: string, runId: string, taskId: string, mapIndex: number, subject: string, body: string,
 *   options: string[], since: string, until: ?string, datasets: string[]}} Approval - `datasets` are those
 *   that `body` names
 */

/**
 * Return the questions of some DAGs that wait for a person.
 * @param {string[]} dagIds
 * @returns {Promise<Approval[]>} the oldest first
 */
export async function pendingApprovals(dagIds) {
  const asked = await Promise.all(dagIds.map(questionsOf));
  const ours = await Promise.all(asked.flat().map(asApproval));
  return ours.sort((one, other) => Date.parse(one.since) - Date.parse(other.since));
}

async function questionsOf(dagId) {
  const states = WAITING_FOR_A_PERSON.map((state) => ["state", state]);
  const query = [["response_received", false], ["order_by", "created_at"], ["limit", 50], ...states];
  return (await get(pathOf(dagId, "~", "hitlDetails"), query, dagId)).hitl_details;
}

async function asApproval(detail) {
  const { dag_id: dagId, dag_run_id: runId, task_id: taskId, map_index: mapIndex } = detail.task_instance;
  const asked = await xcom(dagId, runId, taskId, "asked").catch(() => null); // Not all may read XComs.
  const until = asked && new Date(Date.parse(detail.created_at) + asked.hours * 3_600_000).toISOString();
  const { subject, body, options, created_at: since } = detail;
  const datasets = asked?.datasets ?? [];
  return { dagId, runId, taskId, mapIndex, subject, body, options, since, until, datasets };
}

/**
 * Answer a question.
 * @param {Approval} approval
 * @param {boolean} isApproved
 */
export function answerApproval({ dagId, runId, taskId, mapIndex }, isApproved) {
  const path = pathOf(dagId, runId, "taskInstances", taskId, String(mapIndex), "hitlDetails");
  const body = { chosen_options: [isApproved ? APPROVE : REJECT], params_input: {} };
  return request("PATCH", path, body, `answer the questions of the DAG ${dagId}`);
}

// Addresses of Airflow's own pages, relative to ours

/** @param {string} dagId */
export function dagPage(dagId) {
  return `../dags/${encodeURIComponent(dagId)}`;
}

/** @param {Run} run */
export function runPage({ dag_id: dagId, dag_run_id: runId }) {
  return `${dagPage(dagId)}/runs/${encodeURIComponent(runId)}`;
}

/** @param {Run} run @param {{task_id: string, map_index?: number}} task @returns {string} of its log */
export function logPage(run, { task_id: taskId, map_index: mapIndex = -1 }) {
  const mapped = mapIndex >= 0 ? `/mapped/${mapIndex}` : "";
  return `${runPage(run)}/tasks/${encodeURIComponent(taskId)}${mapped}`;
}
