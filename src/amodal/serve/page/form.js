// Method, inpainter and segmenter with their options, as a form made from the JSON schema of the options.

import { node } from "./dom.js";
import { draws } from "./select.js";
import { dispatch, now } from "./store.js";

const PARTS = [["method", "options", "Method"], ["inpainter", "inpainter_options", "Inpainter: paints what is occluded"], ["segmenter", "segmenter_options", "Segmenter: finds what is clicked"]];

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
  out.onchange = () => {
    const parts = out.value.split(",").map(Number);
    if (kind.type === "array" && parts.some(Number.isNaN)) { out.setCustomValidity("numbers with commas"); out.reportValidity(); return; }
    out.setCustomValidity("");
    set(kind.type === "array" ? parts : out.value);
  };
  return out;
}

function options(state, part, key, title, again) {
  const { about, settings: { choice } } = state, list = about[`${part}s`];
  const method = about.methods.choices.find(({ name }) => name === (choice.method ?? about.methods.default));
  const standard = part === "inpainter" && method ? method.inpainter : list.default;
  const chosen = choice[part] ?? standard;
  const select = node("select", { id: `choice-${part}`, aria: { "aria-label": part } }, ...list.choices.map(({ name, ready, do: mend }) =>
    node("option", { value: name, textContent: ready ? name : `${name} (not here)`, selected: name === chosen, disabled: !ready && name !== chosen, title: mend })));
  const change = (patch) => dispatch({ type: "settings", patch: { choice: Object.fromEntries(Object.entries({ ...now().settings.choice, ...patch }).filter(([, value]) => value !== undefined)) } });
  select.onchange = () => {
    const other = part === "method" && !choice.inpainter ? { inpainter_options: undefined } : {}; // another one's, maybe
    change({ [key]: undefined, ...other, [part]: select.value === standard ? undefined : select.value });
    again();
  };
  const found = list.choices.find(({ name }) => name === chosen);
  const absent = list.choices.filter(({ ready }) => !ready);
  const rows = Object.entries(found?.schema.properties ?? {}).map(([name, schema]) => {
    const set = (next) => {
      const others = { ...now().settings.choice[key] };
      if (JSON.stringify(next) === JSON.stringify(schema.default)) delete others[name];
      else others[name] = next;
      change({ [key]: Object.keys(others).length ? others : undefined });
    };
    const label = name.replaceAll("_", " ");
    const what = schema.description ? [node("span", { className: "what", textContent: schema.description })] : [];
    return node("label", {}, label[0].toUpperCase() + label.slice(1), ...what, field(schema, choice[key]?.[name] ?? schema.default, set));
  });
  const folded = (text, ...children) => (children.length ? [node("details", {}, node("summary", { className: "quiet", textContent: text }), ...children)] : []);
  return node("fieldset", {}, node("legend", { textContent: title }), select,
    node("p", { className: "quiet", textContent: found ? `${found.summary} (${found.license ?? ""})` : "" }),
    ...folded(`Options of ${chosen}`, ...rows),
    ...folded(`${absent.length} more that this machine does not have`, ...absent.map(({ name, do: mend }) => node("p", { className: "quiet" }, `${name}: `, node("code", { textContent: mend })))));
}

/** Fill `place` from the state. */
export function drawForm(place) {
  const state = now();
  if (!state.about) return;
  const open = [...place.querySelectorAll("details")].map((part) => part.open), held = document.activeElement?.id;
  const chosen = state.settings.choice.method ?? state.about.methods.default;
  const number = (text, name, low, high, why = "") => {
    const input = node("input", { type: "number", min: low, max: high, step: 1, value: state.settings[name], id: `set-${name}`, disabled: Boolean(why) });
    input.onchange = () => { if (input.reportValidity()) dispatch({ type: "settings", patch: { [name]: Number(input.value) } }); };
    return node("label", {}, text, ...(why ? [node("span", { className: "what", textContent: why })] : []), input);
  };
  const again = () => drawForm(place);
  place.replaceChildren(number("Samples to choose from", "samples", 1, state.about.limits.samples, draws(state) ? "" : `${chosen} has one answer: it draws nothing by chance.`), number("Seed: same seed, same answer", "seed", 0, 2147483647),
    ...PARTS.map(([part, key, title]) => options(state, part, key, title, again)));
  [...place.querySelectorAll("details")].forEach((part, k) => { part.open = open[k] ?? false; });
  if (held && place.querySelector(`#${held}`)) place.querySelector(`#${held}`).focus();
}
