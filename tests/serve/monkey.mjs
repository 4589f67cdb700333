// A seeded monkey on the page's reducer: random actions, and a service whose answers come late and in any order. After every
// action the state must show only what belongs to the photo and the prompt that it shows. Run: node monkey.mjs PAGE SEED ACTIONS
import assert from "node:assert";
import { pathToFileURL } from "node:url";

const [page, seed, count] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const load = (name) => import(pathToFileURL(`${page}/${name}`));
const [{ initial, reduce }, select, { Mask }] = [await load("reducer.js"), await load("select.js"), await load("mask.js")];

let dice = seed >>> 0;
const random = () => { dice = (Math.imul(dice, 1664525) + 1013904223) >>> 0; return dice / 2 ** 32; };
const below = (n) => Math.floor(random() * n);
const one = (list) => list[below(list.length)];

let state = initial();
let waiting = [];                 // what the service has been asked and has not answered
const asked = new Set(), used = new Set(), truth = new WeakMap(), seen = {};
const SIDE = 40;

/** A mask that says what it is for. */
function answerTo(what) {
  const mask = new Mask(2 + below(20), 2 + below(20), 9, 9, new Uint8Array(81).fill(1));
  truth.set(mask, what);
  return mask;
}

function send() {
  for (const question of select.questions(state)) {
    if (asked.has(question.key)) continue;
    asked.add(question.key);
    waiting.push({ ...question, mask: answerTo(question.of) });
  }
  const { job } = state;
  if (job && !used.has(job.ticket)) {
    used.add(job.ticket);
    waiting.push({ kind: "job", job, mask: answerTo(job.of) });
  }
}

function receive(answer) {
  waiting = waiting.filter((other) => other !== answer);
  const failed = random() < 0.1;
  if (answer.kind === "job") {
    const { ticket, of, kind } = answer.job;
    if (failed) return { type: "jobFailed", ticket, text: "it failed" };
    if (random() < 0.3) waiting.push(answer);   // answered twice, as a reconnected stream may
    return { type: "jobDone", ticket, result: kind === "layers" ? { objects: [1, 2], mask: answer.mask }
      : { amodal: answer.mask, visible: answer.mask, samples: [answer.mask, answer.mask], made: of } };
  }
  asked.delete(answer.key);
  return { type: "answered", kind: answer.kind, of: answer.of, ...(failed ? { error: "nothing is there" } : { answer: { mask: answer.mask, score: 0.5, others: random() < 0.5 ? [answerTo(answer.of)] : [] } }) };
}

const place = () => ({ x: 1 + below(SIDE - 2), y: 1 + below(SIDE - 2) });
const ACTIONS = [
  () => ({ type: "choose", files: Array.from({ length: 1 + below(2) }, (_, k) => ({ name: `${k}.jpg`, blob: {} })) }),
  () => ({ type: "decoded", photo: one(state.photos)?.key ?? -1, width: SIDE, height: SIDE }),
  () => ({ type: "decoded", photo: state.current ?? -1, width: SIDE, height: SIDE }),
  () => ({ type: "mark", ...place(), label: 1 }), () => ({ type: "mark", ...place(), label: 1 }), () => ({ type: "mark", ...place(), label: below(2) }),
  () => ({ type: "stroke", points: [[below(SIDE), below(SIDE)], [below(SIDE), below(SIDE)]], radius: 1 + below(5) }),
  () => ({ type: "box", box: [1, 1, 10 + below(20), 10 + below(20)] }), () => ({ type: "mask", mask: answerTo("the user") }),
  () => ({ type: "begin", kind: "completion" }), () => ({ type: "begin", kind: "completion" }), () => ({ type: "begin", kind: "layers" }),
  () => ({ type: "begin", kind: "completion", keys: select.photoOf(state)?.objects.map(({ key }) => key) ?? [] }),
  () => (select.active(state)?.correction ? { type: "begin", kind: "repaint" } : { type: "tool", tool: "grow" }),
  () => ({ type: "cancel" }), () => ({ type: "undo" }), () => ({ type: "undo" }), () => ({ type: "redo" }), () => ({ type: "add" }), () => ({ type: "reset" }),
  () => ({ type: "remove", object: one(select.photoOf(state)?.objects ?? [{ key: -1 }]).key }), () => ({ type: "select", object: one(select.photoOf(state)?.objects ?? [{ key: -1 }]).key }),
  () => ({ type: "show", photo: one(state.photos)?.key ?? -1 }), () => (state.photos.length > 4 ? { type: "close", photo: one(state.photos).key } : { type: "undo" }),
  () => ({ type: "occluder", mode: one(["auto", "none"]) }), () => ({ type: "settings", patch: { samples: 1 + below(2) } }),
  () => ({ type: "settings", patch: { choice: random() < 0.5 ? {} : { segmenter: "grabcut" } } }),
  () => ({ type: "tool", tool: one(["plus", "minus", "box", "brush", "eraser", "occluder", "grow", "shrink"]) }),
  () => ({ type: "view", view: one(["overlay", "cutout", "certainty", "photo"]) }), () => ({ type: "propose", index: below(3) }),
  () => ({ type: "sample", index: below(3) - 1 }), () => ({ type: "layersOpen", open: random() < 0.5 }),
  () => ({ type: "arrange", items: select.layersShown(state)?.items.map((item) => ({ ...item, dx: below(9) })) }),
  () => ({ type: "restore", saved: structuredSave() }),
];
const NEEDS_OBJECT = new Set(["mark", "stroke", "box", "mask", "occluder", "remove", "select", "sample", "propose", "arrange", "reset"]);

/** What the page writes for a reload, and reads. */
function structuredSave() {
  const { photos, current, settings, next } = state;
  return { photos, current, settings, next };
}

/** Whatever is shown must be of the photo and the prompt that are shown. */
function check(last) {
  const keys = state.photos.flatMap(({ key, objects }) => [key, ...objects.map((object) => object.key)]);
  assert.equal(new Set(keys).size, keys.length, "keys are unique");
  assert(keys.every((key) => key < state.next), "keys are not used again");
  const photo = select.photoOf(state);
  for (const each of state.photos) {
    assert(each.objects.some(({ key }) => key === each.active), "one object is chosen");
    if (each.layers) assert.equal(each.layers.of.photo, each.key, "layers are of their photo");
    for (const object of each.objects) {
      const visible = select.visibleOf(object, each);
      const for_ = truth.get(visible);
      if (for_ && for_ !== "the user") assert(for_.photo === each.key && for_.object === object.key, `visible mask of ${JSON.stringify(for_)} on ${each.key}/${object.key} after ${last}`);
      if (for_?.segmenter && !object.prompt.steps.length && !object.proposals) assert.equal(for_.prompt, object.prompt.id);
      if (object.result) {
        const { made } = object.result;
        assert(made.photo === each.key && made.object === object.key && made.prompt === object.prompt.id, `result of ${JSON.stringify(made)} on prompt ${object.prompt.id} after ${last}`);
        const fits = made.settings === select.settingsKey(state) && made.occluder === object.occluder.id;
        assert.equal(select.outdated(state, object) === "", fits, "what is out of date says so");
        seen.results = (seen.results ?? 0) + 1;
        if (!fits) seen.outdated = (seen.outdated ?? 0) + 1;
      }
    }
  }
  if (state.job) assert.equal(state.job.of.photo, photo.key, "a job is for the photo that is shown");
  assert(select.usable(state, state.tool), `the tool ${state.tool} can be used`);
  if (state.layersOpen) seen.layers = (seen.layers ?? 0) + 1;
}

for (let turn = 0; turn < count; turn++) {
  let action = waiting.length && random() < 0.35 ? receive(one(waiting)) : one(ACTIONS)();
  if (NEEDS_OBJECT.has(action.type) && !select.ready(state)) action = { type: "view", view: "photo" };
  const before = state.photos, frozen = JSON.stringify(before.map(({ key, active }) => [key, active]));
  state = reduce(state, action);
  assert.equal(JSON.stringify(before.map(({ key, active }) => [key, active])), frozen, "the old state is not changed");
  seen[action.type] = (seen[action.type] ?? 0) + 1;
  check(JSON.stringify(action).slice(0, 300));
  send();
}
console.log(JSON.stringify(seen));
