"""A seeded monkey in a real browser: clicks, keys, drags, other photos, reloads; answers late and in another order.

Whatever it does, the page may show only what is of the photo and the prompt on it, and may not fail. The suite does a few
dozen actions; `PYTHONPATH=src:tests python -m serve.monkey 2000 --seed 1` does more, on the default model.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from amodal.pipeline.choice import ModelChoice
from serve.browser import Keys, Page, chromium
from serve.conftest import running

DELAYS = """
let dice = SEED;
const random = () => { dice = (dice * 1103515245 + 12345) % 2147483648; return dice / 2147483648; };
const pause = (longest) => new Promise((done) => setTimeout(done, random() * longest));
const real = window.fetch, told = JSON.parse(sessionStorage.told ?? "{}");
window.told = told;
window.fetch = async (path, request) => {
  await pause(120);
  const answer = await real(path, request);
  if (answer.ok && path.endsWith("/visible")) {  // what was asked of which photo, and what was answered
    const { points, labels, box } = JSON.parse(request.body), key = JSON.stringify([path.split("/")[3], points, labels, box]);
    told[key] = [...(told[key] ?? []), (await answer.clone().json()).area];
    sessionStorage.told = JSON.stringify(told);
  }
  await pause(200);
  return answer;
};
const send = XMLHttpRequest.prototype.send;
XMLHttpRequest.prototype.send = function (...content) { setTimeout(() => send.apply(this, content), random() * 200); };
window.faults = [];
addEventListener("error", (event) => window.faults.push(event.message));
addEventListener("unhandledrejection", (event) => window.faults.push(String(event.reason)));
"""
CHECK = """
(() => {
  const wrong = [...window.faults];
  for (const each of state.photos) for (const other of each.objects) {
    const { result, prompt } = other, { points, box } = prompt, mask = prompt.steps.length ? null : select.visibleOf(other, each);
    const asked = points.map(({ x, y }) => [x, y]), labels = points.map(({ label }) => label);
    const answers = window.told[JSON.stringify([each.scene, ...(asked.length ? [asked, labels] : [null, null]), box])];
    if (mask && answers && !answers.includes(mask.area)) wrong.push(`a visible mask of ${mask.area} pixels, ${answers} were told`);
    if (!result) continue;
    const { provenance, image } = result.record;
    if (provenance.image.file !== each.name || image.width !== each.width)
      wrong.push(`${each.name} has a result of ${provenance.image.file}`);
    if (provenance.repainted) continue;
    const clicks = JSON.stringify(provenance.prompt.points ?? []);
    if (clicks !== JSON.stringify(asked)) wrong.push(`a result of the clicks ${clicks} is shown for ${JSON.stringify(asked)}`);
    if (!select.outdated(state, other) && provenance.samples !== (select.draws(state) ? state.settings.samples : 1))
      wrong.push("an old result is not marked");
  }
  const shown = !document.getElementById("result").hidden, mine = object?.result && !select.layersShown(state);
  if (shown !== Boolean(mine)) wrong.push("the panel shows no result where there is one, or one where there is none");
  const count = mine && `${object.result.visible.area.toLocaleString("en")} px`;
  if (mine && !document.getElementById("facts").textContent.includes(count)) wrong.push("the panel has another result's numbers");
  const layers = select.layersShown(state), { preview } = stage.draft, visible = object && select.visibleOf(object, photo);
  const on = { job: state.job, result: mine, layers, preview, visible };
  return [wrong, Object.keys(on).filter((name) => on[name])];
})()
"""
LETTERS = [*"pnbreoakmsl1234[]+-0", Keys.ENTER, Keys.ENTER, Keys.ENTER, Keys.DELETE, Keys.ESCAPE]
CODES = {Keys.ENTER: ("Enter", 13), Keys.DELETE: ("Delete", 46), Keys.ESCAPE: ("Escape", 27)}
CODES |= {Keys.PAGE_UP: ("PageUp", 33), Keys.PAGE_DOWN: ("PageDown", 34)}


class Monkey:
    """Real input events, one after the other, from one seed."""

    def __init__(self, driver: Any, page: Page, seed: int) -> None:
        self.driver, self.page, self.dice = driver, page, random.Random(seed)
        self.did: Counter[str] = Counter()
        self.shown: Counter[str] = Counter()
        """After how many actions what was on the screen: a monkey that never saw a result proves nothing."""

    def run(self, actions: int, reloads: int, layers: bool = False) -> None:
        """Do `actions`, one of `reloads` of them a reload, `layers` too (they take long), and complete an object at the end.

        Raises AssertionError where the page shows what it must not."""
        doings = [self.sample, *[self.click] * 4, self.rest, self.drag, *[self.press] * 4, self.travel, self.settings]
        doings += [self.turn, self.panel, self.patience, *[self.layers] * layers]
        self.sample()
        self.page.until(lambda: self.page.state("photo?.width"))
        for turn in range(1, actions + 1):
            doing = self.reload if turn % reloads == 0 else self.dice.choice(doings)
            doing()
            self.check(doing.__name__, turn)
        self.page.open()
        self.page.js("document.querySelector('[data-tool=plus]').click()")
        self.page.at(220, 150).click().perform()
        self.page.visible()
        self.page.js("document.getElementById('run').click()")
        self.page.result()
        self.check("result", actions)
        errors = [text for text in self.page.errors() if "429" not in text]
        assert errors == [], errors

    def check(self, name: str, turn: int) -> None:
        self.did[name] += 1
        wrong, shown = self.page.state(CHECK.strip())
        self.shown.update(shown)
        assert wrong == [], f"after action {turn}, {name}: {wrong}"

    def mouse(self, kind: str, x: float, y: float, buttons: int = 0) -> None:
        self.driver.execute_cdp_cmd(
            "Input.dispatchMouseEvent",
            {
                "type": kind,
                "x": x,
                "y": y,
                "button": "left" if kind != "mouseMoved" or buttons else "none",
                "buttons": buttons,
                "clickCount": 1,
            },
        )

    def place(self) -> tuple[float, float]:
        return 460 + self.dice.randrange(-300, 300), 400 + self.dice.randrange(-200, 200)

    def patience(self) -> None:
        """Ask for a result, or for what is asked already, and wait for it a while."""
        self.page.js("document.getElementById('run').click()")
        self.wait(5)

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.page.state("Boolean(state.job || select.questions(state).length)"):
            time.sleep(0.1)

    def layers(self) -> None:
        self.page.js("document.getElementById('apart').click()")
        self.wait(30)

    def sample(self) -> None:
        name = self.dice.choice(["coffee.jpg", "chelsea.jpg"])
        self.page.js("document.querySelector(arguments[0])?.click()", f"#samples [data-example='{name}']")

    def rest(self) -> None:
        self.mouse("mouseMoved", *self.place())
        time.sleep(0.6)  # longer than the page waits before it asks, and than the answer is held back

    def click(self) -> None:
        place = self.place()
        self.mouse("mousePressed", *place, 1)
        self.mouse("mouseReleased", *place)

    def drag(self) -> None:
        x, y = self.place()
        self.mouse("mousePressed", x, y, 1)
        for step in range(1, 4):
            self.mouse("mouseMoved", x + 30 * step, y + 12 * step, 1)
        self.mouse("mouseReleased", x + 90, y + 36)

    def key(self, key: str, modifiers: int = 0) -> None:
        name, code = CODES.get(key, (key, ord(key.upper()[0])))
        event = {"key": name, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        if key not in CODES and not modifiers:
            event["text"] = key
        self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyDown", **event})
        self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyUp", **event})

    def press(self) -> None:
        self.key(self.dice.choice(LETTERS))

    def travel(self) -> None:
        self.key(self.dice.choice("zy"), modifiers=2)

    def turn(self) -> None:
        self.key(self.dice.choice([Keys.PAGE_UP, Keys.PAGE_DOWN]))

    def settings(self) -> None:
        patch = f"{{ samples: {self.dice.randrange(1, 3)} }}"
        self.page.state(f"store.dispatch({{ type: 'settings', patch: {patch} }}) && 1")

    def panel(self) -> None:
        """A button of the panel or of the row of photos that loses nothing by a question."""
        names = [
            "#occluder button",
            "#objects button",
            "#proposals button",
            "#run",
            "#run-all",
            "#cancel",
            "#row .chip",
        ]
        script = "const all = [...document.querySelectorAll(arguments[0])]; all[arguments[1] % all.length]?.click()"
        self.page.js(script, self.dice.choice(names), self.dice.randrange(8))

    def reload(self) -> None:
        self.driver.refresh()
        self.page.ready()


def begin(driver: Any, url: str, folder: Path, seed: int) -> Monkey:
    """A monkey on the page of a service, whose answers it delays."""
    script = DELAYS.replace("SEED", str(seed))
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    return Monkey(driver, Page(driver, url, folder), seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("actions", type=int)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        running(model=ModelChoice()) as service,
        chromium(Path(folder)) as driver,
    ):
        monkey = begin(driver, service.url, Path(folder), arguments.seed)
        monkey.run(arguments.actions, reloads=60, layers=True)
    print(f"nothing wrong in {arguments.actions} actions: {dict(monkey.did)}; on the screen: {dict(monkey.shown)}")


if __name__ == "__main__":
    main()
