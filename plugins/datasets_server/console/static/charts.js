// Draws the charts of a page: each <div data-chart="address"> gets the chart that this address returns.

import { explained } from "./console.js";

const NARROW = matchMedia("(max-width: 640px)");

async function draw(place) {
  const address = new URL(place.dataset.chart, document.baseURI);
  address.searchParams.set("theme", document.documentElement.dataset.theme);
  address.searchParams.set("narrow", NARROW.matches);
  const answer = await fetch(address, { headers: { Accept: "application/json" } });
  if (!answer.ok) {
    throw new Error(await explained(answer));
  }
  await embed(place, await answer.json());
}

async function embed(place, { item, legend }) {
  const earlier = [...place.childNodes];
  const drawing = document.createElement("div");
  drawing.id = `${item.root_id}-drawing`;
  place.append(drawing);
  await window.Bokeh.embed.embed_item(item, drawing.id);
  earlier.forEach((node) => node.remove());
  if (legend.length > 1) {
    place.prepend(drawnLegend(legend));
  }
}

function drawnLegend(legend) {
  const list = document.createElement("ul");
  list.className = "legend";
  for (const { name, color } of legend) {
    const entry = document.createElement("li");
    entry.textContent = name;
    entry.style.setProperty("--color", color);
    list.append(entry);
  }
  return list;
}

async function drawOrSay(place) {
  try {
    await draw(place);
    place.dataset.drawn = "";
  } catch (error) {
    place.textContent = `The chart cannot be drawn: ${error.message}`;
  }
}

function drawAll() {
  for (const place of document.querySelectorAll("[data-chart]")) {
    drawOrSay(place);
  }
}

document.addEventListener("themechange", drawAll);
NARROW.addEventListener("change", drawAll);
document.addEventListener("refreshed", drawAll);
drawAll();
