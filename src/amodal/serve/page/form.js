// Method, inpainter and segmenter with their options, as a form made from the JSON schema of the options.

import { state } from "./store.js";

const PARTS = [["method", "options"], ["inpainter", "inpainter_options"], ["segmenter", "segmenter_options"]];

const node = (name, attributes = {}, ...children) => {
  const out = document.createElement(name);
  Object.assign(out, attributes);
  out.append(...children);
  return out;
};

/** One schema, without the null of an optional value. */
const kindOf = (schema) => schema.anyOf?.find((option) => option.type !== "null") ?? schema;

function field(schema, value, set) {
  const kind = kindOf(schema);
  if (kind.enum) {
    const out = node("select", {}, ...kind.enum.map((choice) => node("option", { value: choice, textContent: choice })));
    out.value = value;
    out.onchange = () => set(out.value);
    return out;
  }
  if (kind.type === "boolean") {
    const out = node("input", { type: "checkbox", checked: Boolean(value) });
    out.onchange = () => set(out.checked);
    return out;
  }
  if (kind.type === "integer" || kind.type === "number") {
    const out = node("input", { type: "number", value: value ?? "", step: kind.type === "integer" ? 1 : "any" });
    const low = kind.minimum ?? kind.exclusiveMinimum, high = kind.maximum ?? kind.exclusiveMaximum;
    if (low !== undefined) out.min = low;
    if (high !== undefined) out.max = high;
    out.onchange = () => { if (out.reportValidity()) set(out.value === "" ? null : Number(out.value)); };
    return out;
  }
  const out = node("input", { type: "text", value: Array.isArray(value) ? value.join(", ") : value ?? "" });
  out.onchange = () => set(kind.type === "array" ? out.value.split(",").map((part) => Number(part)) : out.value);
  return out;
}

function options(part, key, redraw) {
  const list = state.about[`${part}s`];
  const { choices, default: usual } = state.about.methods;
  const method = choices.find((choice) => choice.name === (state.choice.method ?? usual));
  const standard = part === "inpainter" && method ? method.inpainter : list.default;
  const chosen = state.choice[part] ?? standard;
  const select = node("select", { id: `choice-${part}` }, ...list.choices.map((choice) =>
    node("option", { value: choice.name, textContent: choice.name, selected: choice.name === chosen })));
  select.setAttribute("aria-label", part);
  select.onchange = () => {
    delete state.choice[key];
    if (part === "method" && !state.choice.inpainter) delete state.choice.inpainter_options; // another one's, maybe
    if (select.value === standard) delete state.choice[part];
    else state.choice[part] = select.value;
    redraw(part, true);
  };
  const found = list.choices.find((choice) => choice.name === chosen);
  const about = node("p", { className: "quiet", textContent: found ? `${found.summary} (${found.licence})` : "" });
  const rows = Object.entries(found?.schema.properties ?? {}).map(([name, schema]) => {
    const value = state.choice[key]?.[name] ?? schema.default;
    const set = (next) => {
      const others = { ...state.choice[key] };
      if (JSON.stringify(next) === JSON.stringify(schema.default)) delete others[name];
      else others[name] = next;
      if (Object.keys(others).length) state.choice[key] = others;
      else delete state.choice[key];
      redraw(part, false);
    };
    return node("label", { title: schema.description ?? "" }, name.replaceAll("_", " "), field(schema, value, set));
  });
  return node("fieldset", {}, node("legend", { textContent: part }), select, about, ...rows);
}

/** Fill `place`; `redraw(part, anew)` is called after a change; `anew` if the form itself must change. */
export function drawForm(place, redraw) {
  if (!state.about) return;
  const number = (text, name, low, high) => {
    const input = node("input", { type: "number", min: low, max: high, step: 1, value: state[name], id: `set-${name}` });
    input.onchange = () => { if (input.reportValidity()) { state[name] = Number(input.value); redraw("common", false); } };
    return node("label", {}, text, input);
  };
  place.replaceChildren(
    number("samples (guesses)", "samples", 1, state.about.limits.samples),
    number("seed", "seed", 0, 2147483647),
    ...PARTS.map(([part, key]) => options(part, key, redraw)),
  );
}
