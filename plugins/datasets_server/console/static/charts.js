// Draws each <div data-chart="address of its JSON" data-label="what it shows">, again when the theme changes.

const OPTIONS = {
  ast: true, // Expressions are interpreted: the page allows no eval.
  actions: false,
  logLevel: 1, // Errors.
  defaultStyle: false,
  renderer: "svg",
  tooltip: { disableDefaultStyle: true },
};
const TOKEN = /^var\((--[\w-]+)\)$/;
const TAKES_TOKEN = /(color|font|range|stroke)$/i;
const drawn = new WeakMap(); // The place of a chart → its JSON, and how to end what draws it.
let library;

function loadLibrary() {
  library ??= import(document.getElementById("chart-library").href).catch((error) => {
    library = undefined; // Tried again at the next refresh.
    throw error;
  });
  return library;
}

/** Read the JSON of a chart, and look up the colours and fonts that it names: only where Vega takes one. */
function read(text) {
  const style = getComputedStyle(document.documentElement);
  const lookUp = (value) => {
    const token = typeof value === "string" ? TOKEN.exec(value) : null;
    return token ? style.getPropertyValue(token[1]).trim() : value;
  };
  return JSON.parse(text, (key, value) => {
    if (!TAKES_TOKEN.test(key)) {
      return value;
    }
    return Array.isArray(value) ? value.map(lookUp) : lookUp(value);
  });
}

async function fetchText(place) {
  const answer = await fetch(place.dataset.chart, { headers: { Accept: "application/json" } });
  if (!answer.ok) {
    throw new Error(answer.status === 401 ? "you are logged out" : `the answer was ${answer.status}`);
  }
  return answer.text();
}

async function draw(place, text) {
  const chart = read(text);
  const before = drawn.get(place);
  if (chart.usermeta.empty) {
    before?.end();
    say(place, "There are no numbers yet.");
    drawn.set(place, { text, end() {} });
    return;
  }
  const { vegaEmbed } = await loadLibrary();
  before?.end();
  const label = place.dataset.label ?? "Chart";
  const result = await vegaEmbed(place, { ...chart, description: label }, OPTIONS);
  drawn.set(place, { text, end: () => result.finalize() });
}

function say(place, sentence) {
  const paragraph = document.createElement("p");
  paragraph.className = "muted";
  paragraph.textContent = sentence;
  place.replaceChildren(paragraph);
}

/** Draw a chart, unless it is drawn with the same numbers. */
async function update(place) {
  try {
    const text = await fetchText(place);
    if (drawn.get(place)?.text !== text) {
      await draw(place, text);
    }
  } catch (error) {
    drawn.get(place)?.end();
    drawn.delete(place);
    say(place, `The chart could not be drawn: ${error.message}.`);
  }
}

function each(action) {
  document.querySelectorAll("[data-chart]").forEach(action);
}

function redraw(place) {
  const text = drawn.get(place)?.text;
  if (text !== undefined) {
    draw(place, text);
  }
}

/** Show the tooltip where a finger taps: Vega shows it where a pointer moves. */
function point({ target, clientX, clientY }) {
  if (target.closest?.("[data-chart]")) {
    for (const type of ["pointerover", "pointermove"]) {
      target.dispatchEvent(new PointerEvent(type, { bubbles: true, clientX, clientY }));
    }
  }
}

each(update);
document.addEventListener("click", point);
document.addEventListener("refreshed", () => each(update));
document.addEventListener("themechange", () => each(redraw));
