// Elements, numbers and times. Texts become text nodes, so that no markup in them runs.

/**
 * Make an element.
 * @param {string} tag
 * @param {Object<string, string|boolean|Function|null|undefined>} attributes - `onclick` and the like take
 *   a listener; an attribute that is false, null or undefined is left out.
 * @param {...(Node|string|null|undefined|Array)} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      made.addEventListener(name.slice(2), value);
    } else if (value !== false && value !== null && value !== undefined) {
      made.setAttribute(name, value === true ? "" : value);
    }
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

/** Let the buttons be pressed that wait for the script of their page: it has made ready for them. */
export function enableButtons() {
  for (const button of document.querySelectorAll("button:disabled")) {
    button.disabled = false;
  }
}

/** @param {number} value @returns {string} `1,234` */
export function number(value) {
  return value.toLocaleString("en", { maximumFractionDigits: 1 });
}

/**
 * @param {number} count
 * @param {string} noun - in the singular
 * @returns {string} `1 job`, `2,000 jobs`
 */
export function counted(count, noun) {
  const plural = noun.endsWith("y") ? `${noun.slice(0, -1)}ies` : `${noun}s`;
  return `${number(count)} ${count === 1 ? noun : plural}`;
}

const UNITS = [
  [86_400, "day"],
  [3_600, "hour"],
  [60, "minute"],
  [1, "second"],
];

/** @param {number} seconds @returns {string} in the two largest units: `2 hours 5 minutes`, `1.6 seconds` */
export function duration(seconds) {
  if (seconds < 60) {
    return seconds < 10 ? `${number(seconds)} seconds` : counted(Math.round(seconds), "second");
  }
  const first = UNITS.findIndex(([length]) => seconds >= length);
  const [length, name] = UNITS[first];
  const [nextLength, nextName] = UNITS[first + 1];
  const rest = Math.floor((seconds % length) / nextLength);
  const whole = counted(Math.floor(seconds / length), name);
  return rest ? `${whole} ${counted(rest, nextName)}` : whole;
}

/** @param {string} time - in ISO 8601 @returns {number} the seconds since then, negative if it is to come */
export function secondsSince(time) {
  return (Date.now() - Date.parse(time)) / 1000;
}

/**
 * @param {string} time - in ISO 8601
 * @returns {HTMLTimeElement} `3 hours ago` or `in 3 hours`, with the time itself as its title
 */
export function timeElement(time) {
  const title = `${new Date(time).toISOString().slice(0, 19).replace("T", " ")} UTC`;
  return element("time", { datetime: time, title, class: "relative" }, relative(time));
}

/** Let the times say how long ago they are now. */
export function refreshTimes() {
  for (const made of document.querySelectorAll("time.relative")) {
    made.textContent = relative(made.dateTime);
  }
}

function relative(time) {
  const seconds = secondsSince(time);
  if (Math.abs(seconds) < 1) {
    return "now";
  }
  const [length, name] = UNITS.find(([size]) => Math.abs(seconds) >= size);
  const count = seconds / length;
  return count < 0 ? `in ${counted(Math.round(-count), name)}` : `${counted(Math.floor(count), name)} ago`;
}

/** @param {string} text @param {string} state - ok, warn, bad, info or neutral @returns {HTMLElement} */
export function badge(text, state) {
  return element("span", { class: `badge ${state}` }, text);
}

/** @param {string} address - of a page of Airflow, relative to ours @param {string} text */
export function airflowLink(address, text, attributes = {}) {
  return element("a", { href: address, "data-airflow": true, ...attributes }, text);
}

/**
 * A message about an error, or about what was done.
 * @param {Error|string|Node} content
 * @param {"ok"|"warn"|"bad"} state
 */
export function notice(content, state = "bad") {
  const isError = content instanceof Error;
  const made = element("div", { class: `notice ${state}`, role: state === "bad" ? "alert" : "status" });
  made.append(element("p", {}, isError ? content.message : content));
  if (isError && content.isLoggedOut) {
    made.append(airflowLink("../auth/login", "Log in", { class: "button" }));
  }
  return made;
}
