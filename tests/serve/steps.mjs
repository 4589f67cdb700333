// Stories of the page's state, one step after the other: what the user did can be undone, what was computed is not lost. Run: node steps.mjs PAGE
import assert from "node:assert";
import { pathToFileURL } from "node:url";

const load = (name) => import(pathToFileURL(`${process.argv[2]}/${name}`));
const [{ initial, reduce }, select, { Mask }] = [await load("reducer.js"), await load("select.js"), await load("mask.js")];

const square = () => new Mask(2, 2, 9, 9, new Uint8Array(81).fill(1));
const result = () => ({ amodal: square(), visible: square(), samples: [] });
let state;
const act = (type, more = {}) => { state = reduce(state, { type, ...more }); };
const click = (x = 5, y = 5) => act("mark", { x, y, label: 1 });
const done = (found = result()) => act("jobDone", { ticket: state.job.ticket, result: found });
const complete = () => { act("begin", { kind: "completion" }); done(); };
const object = () => select.active(state), photo = () => select.photoOf(state);

const stories = {
  "Undo takes back what the user did, not the result that came meanwhile"() {
    click();
    act("begin", { kind: "completion" });
    act("add");
    done();
    act("undo");
    assert.equal(photo().objects.length, 1);
    assert.ok(object().result);
    act("undo");
    assert.equal(object().result, null, "the click is undone, and what it gave");
  },
  "A result that takes the place of another can be undone, with the correction by hand"() {
    click();
    complete();
    act("tool", { tool: "grow" });
    act("stroke", { points: [[12, 12]], radius: 3 });
    const { result: before, correction } = object();
    complete();
    assert.equal(object().correction, null);
    act("undo");
    assert.equal(object().result, before);
    assert.equal(object().correction, correction);
  },
  "Layers outlive the objects; Reset takes them, and Undo brings them back"() {
    act("begin", { kind: "layers" });
    done({ objects: [1, 2] });
    act("layersOpen", { open: false });
    const { layers } = photo();
    act("remove", { object: photo().active });
    assert.equal(photo().layers, layers);
    assert.ok(select.worked(photo()), "they are work");
    act("reset");
    assert.equal(photo().layers, null);
    act("undo");
    assert.equal(photo().layers, layers);
    act("redo");
    assert.equal(photo().layers, null);
  },
  "Over the layers nothing is completed, and no other view is chosen"() {
    click();
    complete();
    act("begin", { kind: "layers" });
    done({ objects: [1, 2] });
    act("view", { view: "cutout" });
    act("begin", { kind: "completion" });
    assert.deepEqual([state.view, state.job], ["overlay", null]);
  },
  "Layers are out of date when what they were made of has changed, not when an object without a mark is added"() {
    click();
    act("begin", { kind: "layers" });
    done({ objects: [1, 2] });
    const fresh = () => select.same(photo().layers.of, select.belongsLayers(state));
    act("add");
    assert.ok(fresh());
    click(9, 9);
    assert.ok(!fresh(), "two marked objects would be the layers");
  },
  "Who says that nothing hides it is not asked for a click any more"() {
    act("tool", { tool: "occluder" });
    act("occluder", { mode: "none" });
    assert.equal(state.tool, "plus");
  },
  "What a service did not answer is asked again when it is back"() {
    click();
    const [{ kind, of }] = select.questions(state);
    act("answered", { kind, of, error: "no answer", status: 401 });
    assert.deepEqual(select.questions(state), []);
    act("about", { about: {} });
    assert.deepEqual(select.questions(state).map((question) => question.of), [of]);
    act("answered", { kind, of, error: "nothing is there", status: 422 });
    act("about", { about: {} });
    assert.deepEqual(select.questions(state), []);
  },
};

for (const [name, story] of Object.entries(stories)) {
  state = initial();
  act("choose", { files: [{ name: "a.jpg", blob: {} }] });
  act("decoded", { photo: state.current, width: 40, height: 40 });
  try { story(); } catch (error) { error.message = `${name}: ${error.message}`; throw error; }
}
