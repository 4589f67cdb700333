// "Copy as command" and "copy as Python": what was done here, as text that does it again with the same bytes.

const quote = (text) => (/^[\w./:,=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** Names of the three parts and the options that differ from their defaults. */
function parts(provenance, about) {
  const out = [];
  for (const part of ["method", "inpainter", "segmenter"]) {
    const { name, options } = provenance[part];
    const known = about[`${part}s`].choices.find((choice) => choice.name === name);
    const changed = Object.entries(options).filter(
      ([key, value]) => JSON.stringify(value) !== JSON.stringify(known?.schema.properties[key]?.default ?? value));
    out.push({ part, name, changed });
  }
  return out;
}

/** A remark for a photo that was scaled here: the places are not those in the file. */
const scaling = (photo) => (photo.scaled ? `# scale the photo from ${photo.scaled.join(" x ")} to ${photo.width} x ${photo.height} first: the places are in that size\n` : "");

const plain = (value) => (Array.isArray(value) ? value.join(",") : String(value));

/** `name` is what the object's files are called. */
export function command({ provenance }, photo, about, name) {
  const { points = [], labels = [], box, mask, text } = provenance.prompt;
  const words = ["amodal", "segment", photo.name];
  const nothing = provenance.occluder && !provenance.occluder.size[0];
  if (mask || (provenance.occluder && !nothing) || provenance.repainted) {
    const needs = `${name}.json`;
    return `${scaling(photo)}# needs ${needs}, the JSON download\n${[...words, "--like", needs].map(quote).join(" ")}`;
  }
  points.forEach(([x, y], k) => words.push("--point", `${x},${y}${labels[k] ? "" : ",0"}`));
  if (box) words.push("--box", box.join(","));
  if (text) words.push("--text", text);
  if (nothing) words.push("--occluder", "none");
  for (const { part, name: chosen, changed } of parts(provenance, about)) {
    words.push(`--${part}`, chosen);
    for (const [key, value] of changed) words.push("--set", `${part === "method" ? "" : `${part}.`}${key}=${plain(value)}`);
  }
  words.push("--samples", String(provenance.samples), "--seed", String(provenance.seed));
  return scaling(photo) + words.map(quote).join(" ");
}

const python = (value) =>
  JSON.stringify(value).replace(/("(?:\\.|[^"\\])*")|\btrue\b|\bfalse\b|\bnull\b/g,
    (found, text) => text ?? { true: "True", false: "False", null: "None" }[found]);
const maskOf = (record) => `amodal.Mask.from_dict(${python(record)})`;

export function code({ provenance }, photo, about) {
  const chosen = parts(provenance, about);
  const load = [python(chosen[0].name), ...chosen.slice(1).map(({ part, name }) => `${part}=${python(name)}`)];
  for (const { part, changed } of chosen) {
    if (changed.length) load.push(`${part === "method" ? "" : `${part}_`}options=${python(Object.fromEntries(changed))}`);
  }
  const lines = ["import amodal", "", `model = amodal.load(${load.join(", ")})`, `image = amodal.read(${python(photo.name)})`];
  const { points, labels, box, mask, text } = provenance.prompt;
  if (provenance.repainted) {
    lines.push(`visible = ${maskOf(mask)}`, `whole = ${maskOf(provenance.repainted)}`,
      `result = model.open(image).repaint(visible, whole, seed=${provenance.seed})`);
  } else {
    const call = [];
    if (points) call.push(`points=${python(points)}`, `labels=${python(labels)}`);
    if (box) call.push(`box=${python(box)}`);
    if (text) call.push(`text=${python(text)}`);
    if (mask) { lines.push(`visible = ${maskOf(mask)}`); call.push("mask=visible"); }
    if (provenance.occluder) { lines.push(`occluder = ${maskOf(provenance.occluder)}`); call.push("occluder=occluder"); }
    call.push(`samples=${provenance.samples}`, `seed=${provenance.seed}`);
    lines.push(`result = model(image, ${call.join(", ")})`);
  }
  lines.push('result.save("amodal-out")');
  return `${scaling(photo)}${lines.join("\n")}\n`;
}
