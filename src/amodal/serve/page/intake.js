// How pictures come in: chosen, dropped or pasted; files, or whole folders as a queue.

import { $ } from "./dom.js";
import { dispatch } from "./store.js";
import { attempt, openFiles } from "./work.js";

const byName = (a, b) => a.localeCompare(b, undefined, { numeric: true });
const all = (reader) => new Promise((done, fail) => {
  const found = [], more = () => reader.readEntries((some) => { if (some.length) { found.push(...some); more(); } else done(found); }, fail);
  more();
});

/** The files of what was dropped: folders are opened, what is in them comes by name. */
async function filesOf(entries) {
  const out = [];
  for (const entry of entries) {
    if (entry.isFile) out.push(await new Promise((done, fail) => entry.file(done, fail)));
    else out.push(...await filesOf((await all(entry.createReader())).sort((a, b) => byName(a.name, b.name))));
  }
  return out;
}

function take(data) {
  const entries = [...(data?.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean), files = [...(data?.files ?? [])];
  if (entries.some(({ isDirectory }) => isDirectory)) attempt(async () => openFiles(await filesOf(entries)));
  else if (files.length) openFiles(files);
  else if (data?.getData("text/uri-list")) dispatch({ type: "notice", kind: "error", text: "Pictures are not fetched from addresses; save the picture, and drop the file." });
}

export function listenIntake() {
  $("file").onchange = () => { openFiles($("file").files); $("file").value = ""; };
  $("folder").onchange = () => { openFiles([...$("folder").files].sort((a, b) => byName(a.webkitRelativePath, b.webkitRelativePath))); $("folder").value = ""; };
  addEventListener("dragover", (event) => { event.preventDefault(); $("drop").hidden = false; });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").hidden = true; });
  addEventListener("drop", (event) => { event.preventDefault(); $("drop").hidden = true; take(event.dataTransfer); });
  addEventListener("paste", (event) => { if (!event.target.matches("input")) take(event.clipboardData); });
}
