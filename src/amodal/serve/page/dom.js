// Small helpers for elements.

export const $ = (id) => document.getElementById(id);

export function node(name, attributes = {}, ...children) {
  const out = document.createElement(name);
  const { aria = {}, ...rest } = attributes;
  Object.assign(out, rest);
  for (const [key, value] of Object.entries(aria)) out.setAttribute(key, value);
  out.append(...children);
  return out;
}

const SVG = "http://www.w3.org/2000/svg";
export function icon(name) {
  const out = document.createElementNS(SVG, "svg"), use = document.createElementNS(SVG, "use");
  out.setAttribute("class", "icon");
  out.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  out.append(use);
  return out;
}

export const percent = (share) => `${(100 * share).toFixed(share && share < 0.1 ? 1 : 0)} %`;

/** Put rows in place of the old ones, but only when they differ, and keep the focus where it was. True if they did. */
export function refill(place, signature, make) {
  if (place.dataset.signature === signature) return false;
  place.dataset.signature = signature;
  const held = place.contains(document.activeElement) ? [...place.querySelectorAll("button, input, [tabindex]")].indexOf(document.activeElement) : -1;
  const at = document.activeElement?.dataset?.focus;
  place.replaceChildren(...make());
  if (held >= 0) {
    const rows = [...place.querySelectorAll("button, input, [tabindex]")];
    ((at && rows.find((row) => row.dataset.focus === at)) ?? rows[Math.min(held, rows.length - 1)] ?? $("canvas")).focus({ preventScroll: true });
  }
  return true;
}

/** Arrows move in a group of radio buttons; only the chosen one is in the order of tabs. */
export function radios(group) {
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const all = [...group.querySelectorAll("[role=radio]:not(:disabled)")], place = all.indexOf(document.activeElement);
    if (place < 0) return;
    event.preventDefault();
    event.stopPropagation();
    const next = all[(place + step + all.length) % all.length];
    next.focus();
    next.click();
  });
}

export function radio(chosen, attributes, ...children) {
  const { aria = {}, ...rest } = attributes;
  return node("button", { ...rest, type: "button", tabIndex: chosen ? 0 : -1, aria: { ...aria, role: "radio", "aria-checked": String(chosen) } }, ...children);
}
