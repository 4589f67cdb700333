"""The made parts of pages (choose, install, batch, scenes, recognize, datasets/compared): from the registry, weights.toml and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from amodal.core import extras
from amodal.evaluation.tables import markdown, percent
from amodal.plugins import registry
from amodal.weights import catalogue
from amodal.weights.ready import size_text

ANSWERS = {
    "visible": ("no", "deterministic", "no"),
    "hull": ("no", "deterministic", "no"),
    "embedded": ("helps", "deterministic", "no"),
    "occamodal": ("finds it itself", "deterministic", "no"),
    "inpaint": ("no", "sampled", "yes"),
    "sam": ("no", "deterministic", "no"),
    "tuning-free": ("no", "sampled", "yes"),
    "pix2gestalt": ("no", "sampled", "yes"),
    "sdamodal": ("no", "deterministic", "no"),
    "deocclusion": ("needed", "deterministic", "with `content_weights`"),
    "deocclusion-single": ("no", "deterministic", "no"),
    "asbu": ("needed", "deterministic", "no"),
}
"""Method to: whether it must be told the occluder; one answer or drawn samples; whether it paints the occluded pixels itself."""

BRINGS = {
    "diffusion": "diffusion inpainters, SAM, pix2gestalt, SDAmodal, deocclusion, CLIP; fetching from the hub",
    "serve": "the web page, the HTTP service, its client",
    "train": "training, and `occamodal`",
    "scenes": "reading, rendering and lifting 3-D meshes",
    "physics": "piles of objects that fall, for scenes",
    "fast": "masks decoded by pycocotools, which is faster",
    "ray": "work on many machines; Parquet",
    "parquet": "Parquet beside the JSON of a batch",
    "heif": "HEIC photographs",
    "docs": "this site (`make docs`)",
    "test": "the tests",
    "dev": "formatter, linter, type checker",
}
"""Extra to what it is for."""

FREE = ("Apache-2.0", "MIT")
RAIL = "CreativeML Open RAIL"


def commercial(license: str) -> str:
    """May I use it commercially: what a license's name says, in a few words; never more than it says."""
    if license.startswith(FREE):
        return "yes"
    if license.startswith(RAIL):
        return "yes, within its list of forbidden uses"
    if any(word in license for word in ("Non-Commercial", "non-commercial", "NC", "research")):
        return "no"
    if "none given" in license:
        return "no license was given: ask"
    if any(word in license for word in ("own terms", "terms", "see the release")):
        return "read its terms"
    return "no license was given: ask"


def methods(reports: dict[str, dict[str, dict[str, Any]]], sets: dict[str, str]) -> str:
    """The methods, one a row: what each needs and answers, and its IoU on our sets."""
    head = [
        "method",
        "occluder",
        "weights",
        "memory",
        "seconds an object, CPU",
        "license",
        "answer",
        "paints",
        *(f"IoU, {name.split(' (')[0].split(',')[0]}" for name in sets.values()),
    ]
    rows = [head]
    for name in registry.names("methods"):
        cls = registry.find("methods", name)
        needed = [catalogue.find(each) for each in cls.needed_weights()]
        to_fetch = [entry for entry in needed if entry.kind != "embedded"]
        weights = "none"
        if needed:
            weights = f"fetch {size_text(sum(entry.size for entry in to_fetch))}" if to_fetch else "embedded"
        elif cls.needs_inpainter:
            weights = "the inpainter's"
        elif name == "sam":
            weights = "the segmenter's"
        elif "weights" in cls.Options.model_fields:
            weights = "your own" if "released none" in cls.license else "your own, or the authors'"
        found = [reports.get(data, {}).get(name) for data in sets]
        scores = [percent(each["metrics"]["iou"]["method"]) if each else "not measured" for each in found]
        took = [each["seconds_per_object"] for each in found if each]
        seconds = f"{max(took):.2g}" if took else "not measured"
        needs = [ANSWERS[name][0], weights, cls.memory or "little", seconds, cls.license]
        rows.append([f"`{name}`", *needs, *ANSWERS[name][1:], *scores])
    return markdown(rows)


def command_times(file: Path) -> str:
    """How long each command takes, from `python -m benchmarks commands`."""
    content = json.loads(file.read_text(encoding="utf-8"))
    rows = [["command", "what", "processor seconds"]]
    for row in content["result"]["rows"]:
        command = row["command"].replace(" --force", "")
        rows.append([f"`{command}`", row["what"], f"{row['processor_s']:.1f}"])
    return f"On {content['machine']['cpu']}, one core, starting included:\n\n{markdown(rows)}"


def inpainters() -> str:
    """The inpainters, one a row."""
    rows = [["inpainter", "what", "memory", "license", "fetch"]]
    for name in registry.names("inpainters"):
        cls = registry.find("inpainters", name)
        size = sum(entry.size for each in cls.needed_weights() if (entry := catalogue.find(each)).kind != "embedded")
        rows.append(
            [f"`{name}`", cls.summary, cls.memory or "little", cls.license, size_text(size) if size else "nothing"]
        )
    return markdown(rows)


def licenses() -> str:
    """Code, each entry of weights, each data set: its license and whether it may be used commercially."""
    rows = [["what", "license", "commercial use"], ["the code", "Apache-2.0", "yes"]]
    for name, entry in catalogue.entries().items():
        may = commercial(entry.license)
        if entry.kind == "embedded" and "for research" in entry.note:
            may = "by its license yes; some training photographs are for research ([model card](model-card.md))"
        rows.append([f"weights `{name}`", entry.license, may])
    for name in registry.names("datasets"):
        license = registry.find("datasets", name).license
        if license:
            rows.append([f"data set `{name}`", license, commercial(license)])
    return markdown(rows)


def extras_table(file: Path) -> str:
    """The extras, from pyproject.toml, with what `python -m benchmarks install` measured."""
    rows = [["extra", "for", "packages", "MB"]]
    sizes = json.loads(file.read_text(encoding="utf-8"))["result"]["bytes"]
    for extra, packages in extras.from_checkout().items():
        listed = ", ".join(f"`{name}`" for name in packages)
        what = [f"`{extra}`", BRINGS[extra]] if extra else ["(none)", "the light install"]
        rows.append([*what, listed, f"{sizes[extra] / 1e6:.0f}" if extra in sizes else "not measured"])
    return markdown(rows)


def counted(file: Path) -> str:
    """What our readers counted in data sets, one a row."""
    rows = [["set", "reader", "images", "objects", "categories", "more than 5 % occluded", "problems"]]
    for name, found in json.loads(file.read_text(encoding="utf-8"))["sets"].items():
        hidden = sum(count for label, count in found["occlusion_percent"].items() if label not in ("0", "0-5"))
        numbers = [f"{found[key]:,}" for key in ("images", "objects")]
        categories = str(found["categories"] or "not told")
        share = f"{hidden:,} ({100 * hidden / found['objects']:.0f} %)"
        rows.append([f"`{name}`", f"`{found['reader']}`", *numbers, categories, share, str(found["bad_entries"])])
    return markdown(rows)


def recognised(file: Path) -> str:
    """What the classifier says of occluded objects, a view a row, from the committed JSON."""
    result = json.loads(file.read_text(encoding="utf-8"))["result"]
    rows = [["shown", "top 1", "top 3"]]
    whole = {"object-crop": "the object without its occluder, cropped", "photo": "the photo without the occluder"}
    shown = {f"`{view}`": found for view, found in result["table"].items()}
    shown |= {text: result["unoccluded"][view] for view, text in whole.items()}
    rows += [[text, f"{found['top1']:.1f}", f"{found['top3']:.1f}"] for text, found in shown.items()]
    return markdown(rows)


def between(path: Path, parts: dict[str, str]) -> str:
    """A page with what stands between `<!-- begin: NAME ... -->` and `<!-- end: NAME -->` made anew."""
    text = path.read_text(encoding="utf-8")
    for name, content in parts.items():
        begin, end = f"<!-- begin: {name} (python -m benchmarks.tables) -->", f"<!-- end: {name} -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"{path.name} has no place {begin} ... {end}")
        text = f"{head}{begin}\n{content}\n{end}{tail}"
    return text


def scene_speed(file: Path) -> str:
    """Of docs/scenes.md: what the masks of a view cost, from the committed JSON."""
    content = json.loads(file.read_text(encoding="utf-8"))
    result, machine = content["result"], content["machine"]
    words = {
        "spans (used)": "spans (used)",
        "spans, objects beyond the frame (half a frame)": "spans, amodal masks half a frame beyond the frame",
        "embree, nearest hits only (no amodal masks)": "Embree, nearest hits only: no amodal masks",
        "embree, layer after layer": "Embree, layer after layer",
        "embree, one cast per object in its box": "Embree, one cast per object in its box",
    }
    rows = [["all masks of a view", "views", "processor seconds, median", "lowest to highest"]]
    for key, text in words.items():
        entry = result[key]
        spread = f"{entry['lowest_cpu_s']:.2f} to {entry['highest_cpu_s']:.2f}"
        rows.append([text, str(entry["views"]), f"{entry['median_cpu_s']:.2f}", spread])
    pixels = ", ".join(f"{size}: {seconds:.2f} s" for size, seconds in result["pixels_s"].items())
    objects = ", ".join(f"{count}: {seconds:.2f} s" for count, seconds in result["objects_s"].items())
    return "\n\n".join(
        [
            f"{result['faces']:,} faces, {result['objects']} objects, {result['pixels']}, on {machine['cpu']} "
            f"({machine['cores']} cores, load {machine['load']:.1f}); [JSON](../benchmarks/results/scenes.json):",
            markdown(rows),
            f"By pixels: {pixels}. The same faces as so many objects: {objects}. The whole process takes "
            f"{result['memory_mb']['whole process']} MB.",
        ]
    )


MILLION = 1_000_000
MACHINES, CORES = 100, 16
PHOTO_BYTES = 4e6


def million(batch: Path, planning: Path) -> str:
    """Of docs/batch.md: what a million photos cost on 100 machines, worked out from what two cores took."""
    result, plan = (json.loads(file.read_text(encoding="utf-8"))["result"] for file in (batch, planning))
    workers, keeping = result["workers"], plan["keeping"]
    a_photo = workers["one_s"] / workers["photos"]
    hours = MILLION * a_photo / 3600
    share = workers["speed_up"] / 2
    minutes = 60 * hours / (MACHINES * CORES * share)
    kept = MILLION * keeping["ms_a_photo"] / 60_000
    seconds = {name: plan[name]["first_row_s"] * MILLION / plan["photos"] for name in ("lines", "coco")}
    memory = {name: plan[name]["bytes_a_photo"] for name in ("lines", "coco", "folder_of_photos")}
    rows = [
        ["", ""],
        [
            f"one worker on one core, the default model, {workers['photos']} photos of 0.24 megapixels with "
            f"{workers['objects'] // workers['photos']} objects",
            f"{workers['one_s']:.2f} s: {a_photo:.2f} s a photo",
        ],
        [
            f"four workers of Ray's own cluster on the {workers['cores']} cores",
            f"{workers['ray_four_s']:.2f} s, its start included",
        ],
        ["what the engine adds to the work itself", f"{100 * result['overhead']['overhead']:.1f} %"],
        ["a million such photos", f"{hours:.0f} core hours"],
        [
            f"{MACHINES} machines of {CORES} cores, at the measured {workers['speed_up']:.2f} of 2 for the second worker",
            f"{minutes:.0f} minutes",
        ],
        [
            "planning: the list is read once, by the machine that runs the command",
            f"{seconds['lines']:.0f} s for a list of prompts with {plan['objects_a_photo']} masks a photo, {seconds['coco']:.0f} s "
            f"for a COCO file; {memory['lines']} and {memory['coco']} bytes of memory a photo ({memory['folder_of_photos']} for a "
            "folder), and none more as rows are taken",
        ],
        [
            "keeping: the records of all photos, written by that machine alone",
            f"{keeping['ms_a_photo']:.2f} ms a photo: {kept:.1f} minutes, {MILLION * keeping['bytes_a_photo'] / 1e9:.1f} GB",
        ],
    ]
    return (
        "From `benchmarks/results/batch.json` and `planning.json`, measured on two cores; the rest is arithmetic.\n\n"
        f"{markdown(rows)}\n\n"
        "The workers need nothing of each other. What is shared is the store that holds the photos and the one machine that "
        f"writes. A million photos of {PHOTO_BYTES / 1e6:.0f} MB are {MILLION * PHOTO_BYTES / 1e12:.0f} TB: in those {minutes:.0f} "
        f"minutes that is {MILLION * PHOTO_BYTES / 1e9 / (60 * minutes):.1f} GB a second, which a single file server does not give, "
        "so with large photos reading is the first bottleneck. With small ones it is the keeping, which at "
        f"{MACHINES} machines takes {100 * kept / minutes:.0f} % of the time of the work itself: more than "
        f"{MACHINES * minutes / kept:.0f} machines bring nothing to one batch. Then split the list and run one batch a part, each in "
        "its own folder."
    )
