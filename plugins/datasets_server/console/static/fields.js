// The parameters of a DAG as a form, made of their schemas as Airflow describes them.

import { element } from "./dom.js";

/**
 * @typedef {{value: any, description: ?string, schema: Object}} Param
 * @typedef {{name: string, param: Param, control: HTMLElement, read: function(): any}} Field - `read` returns
 *   what the user has set
 */

/**
 * Make the field of a parameter.
 * @param {string} name
 * @param {Param} param
 * @param {any} value - with which the form begins
 * @returns {Field}
 */
export function fieldOf(name, param, value) {
  const [control, read] = controlOf(param.schema, value);
  control.id = `param-${name}`;
  control.setAttribute("name", name);
  control.setAttribute("aria-describedby", `${control.id}-help`);
  return { name, param, control, read };
}

function controlOf(schema, value) {
  const types = [schema.type].flat();
  if (types.includes("boolean")) {
    const box = element("input", { type: "checkbox", checked: Boolean(value) });
    return [box, () => box.checked];
  }
  if (types.includes("array")) {
    return schema.examples ? choices(schema.examples, value ?? []) : lines(value ?? []);
  }
  if (schema.enum) {
    const options = schema.enum.map((each) => element("option", { selected: each === value }, each));
    const select = element("select", {}, options);
    return [select, () => select.value];
  }
  return singleValue(schema, types, value);
}

function lines(values) {
  const area = element("textarea", { rows: 3, spellcheck: "false" }, values.join("\n"));
  const read = () => area.value.split("\n").map((line) => line.trim()).filter((line) => line);
  return [area, read];
}

function choices(examples, values) {
  const options = examples.map((each) => element("option", { selected: values.includes(each) }, each));
  const select = element("select", { multiple: true, size: Math.min(examples.length, 8) }, options);
  return [select, () => [...select.selectedOptions].map((option) => option.value)];
}

function singleValue(schema, types, value) {
  const isRequired = !types.includes("null");
  const input = element("input", { required: isRequired, autocomplete: "off", spellcheck: "false" });
  if (types.includes("integer")) {
    attributes(input, { type: "number", step: 1, min: schema.minimum, max: schema.maximum, value });
    return [input, () => (input.value === "" ? null : input.valueAsNumber)];
  }
  if (schema.format === "date-time") {
    // The control has no time zone: we read it in UTC, and the label says so.
    const local = value && new Date(value).toISOString().slice(0, 19);
    attributes(input, { type: "datetime-local", step: 1, value: local });
    return [input, () => (input.value ? new Date(`${input.value}Z`).toISOString() : null)];
  }
  attributes(input, { type: "text", value });
  return [input, () => (input.value === "" && !isRequired ? null : input.value)];
}

function attributes(input, values) {
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined) {
      input.setAttribute(name, value);
    }
  }
}

/** @param {Field} field @returns {HTMLElement} the field with its label and its help */
export function labelled({ name, param, control }) {
  const isBox = control.type === "checkbox";
  const zone = control.type === "datetime-local" ? " (UTC)" : "";
  const label = element("label", { for: control.id }, `${param.schema.title ?? name}${zone}`);
  const help = element("p", { id: `${control.id}-help`, class: "note" }, param.description ?? "");
  const first = isBox ? element("div", { class: "check" }, control, label) : [label, control];
  return element("div", { class: "field" }, first, help);
}

/** @param {Field[]} fields @returns {Object} the parameters that differ from their default */
export function confOf(fields) {
  const isSet = ({ param, value }) => JSON.stringify(value) !== JSON.stringify(param.value);
  return Object.fromEntries(
    fields
      .map(({ name, param, read }) => ({ name, param, value: read() }))
      .filter(isSet)
      .map(({ name, value }) => [name, value]),
  );
}
