// The one place where the state is: `dispatch` an action, `onChange` hears of the next state.

import { initial, reduce } from "./reducer.js";

let state = initial();
const listeners = [];

export const now = () => state;
export const onChange = (listener) => { listeners.push(listener); };
export function dispatch(action) {
  const before = state;
  state = reduce(state, action);
  if (state !== before) for (const listener of listeners) listener(state, before, action);
  return state;
}
