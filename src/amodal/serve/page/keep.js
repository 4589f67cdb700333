// The work is kept in the browser (IndexedDB), so that a reload, a crash or the way back loses nothing.

import { Mask } from "./mask.js";
import { worked } from "./select.js";
import { dispatch, now, onChange } from "./store.js";

const WAITING = 4e8; // bytes of photos that were not opened yet and are kept all the same
let base = null, timer = 0, written = new Map(), pending = false, broken = false;
const promised = (request) => new Promise((done, fail) => { request.onsuccess = () => done(request.result); request.onerror = () => fail(request.error); });

function open() {
  const request = indexedDB.open("amodal", 1);
  request.onupgradeneeded = () => { request.result.createObjectStore("photos", { keyPath: "key" }); request.result.createObjectStore("page"); };
  return promised(request);
}

/** What is left of a mask after it was stored: its fields; and so of everything that holds masks. */
function revive(value) {
  if (value instanceof Blob || value === null || typeof value !== "object") return value;
  if (value.data instanceof Uint8Array && "width" in value) return new Mask(value.x, value.y, value.width, value.height, value.data);
  if (Array.isArray(value)) return value.map(revive);
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, revive(part)]));
}

/** Another window of this page may keep its work in the same place: then this one keeps nothing. */
const alone = () => (navigator.locks ? new Promise((done, fail) => {
  navigator.locks.request("amodal", { signal: AbortSignal.timeout(1500) }, () => { done(); return new Promise(() => {}); }).catch(fail);
}) : null);

/** Bring back what was there. */
export async function restore() {
  try {
    await alone();
    base = await open();
    const store = base.transaction(["photos", "page"]), [photos, page] = await Promise.all([promised(store.objectStore("photos").getAll()), promised(store.objectStore("page").get("state"))]);
    if (!page || !photos.length || now().photos.length) return false;
    const saved = photos.sort((a, b) => a.place - b.place).map(({ place, ...photo }) => ({ ...revive(photo), past: [], future: [] }));
    for (const photo of saved) written.set(photo.key, photo);
    const current = saved.some(({ key }) => key === page.current) ? page.current : saved[0].key;
    dispatch({ type: "restore", saved: { photos: saved, current, settings: page.settings, next: Math.max(page.next, now().next) } });
    return saved.some(worked);
  } catch (error) {
    broken = true;
    console.warn("the work is not kept: another window keeps its own, or the browser does not allow it", error);
    return false;
  }
}

async function write() {
  timer = 0;
  const state = now();
  try {
    const task = base.transaction(["photos", "page"], "readwrite"), photos = task.objectStore("photos");
    let waiting = 0;
    state.photos.forEach((photo, place) => {
      if (!photo.width) waiting += photo.blob.size;
      if (written.get(photo.key) === photo || (!photo.width && waiting > WAITING)) return;
      const { past, future, ...kept } = photo;
      photos.put({ ...kept, place });
    });
    for (const key of written.keys()) if (!state.photos.some((photo) => photo.key === key)) photos.delete(key);
    task.objectStore("page").put({ current: state.current, settings: state.settings, next: state.next }, "state");
    await new Promise((done, fail) => { task.oncomplete = done; task.onerror = task.onabort = () => fail(task.error); });
    written = new Map(state.photos.map((photo) => [photo.key, photo]));
    pending = Boolean(timer);
  } catch (error) {
    broken = true;
    console.warn("the work cannot be kept in this browser", error);
  }
}

/** Keep the work from now on; ask before the page is left while something is not kept. */
export function keep() {
  onChange((state, before) => {
    if (state.photos === before.photos && state.current === before.current && state.settings === before.settings) return;
    pending = true;
    if (base && !broken && !timer) timer = setTimeout(write, 500);
  });
  addEventListener("beforeunload", (event) => {
    const state = now();
    if (state.job || (state.photos.some(worked) && (pending || broken))) event.preventDefault();
  });
}
