"""`python -m benchmarks.tables [--check]`: write docs/results.md and the tables of other pages from the committed JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from amodal.evaluation.tables import markdown, percent

from . import pages

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
README = ROOT / "README.md"
CHOOSE, INSTALL, SCENES, COMPARED, BATCH, RECOGNIZE = (
    ROOT / "docs" / f"{name}.md" for name in ("choose", "install", "scenes", "datasets/compared", "batch", "recognize")
)
BEGIN, END = "<!-- results: python -m benchmarks.tables -->\n", "<!-- end of results -->"
ORDER = ("visible", "hull")
SETS = {
    "cocoa_demo": "COCO-A, the five demonstration images (48 regions, real annotation)",
    "composites_dev": "Composites of photographs (300 objects, exact truth)",
    "bookstore_dev": "Renders of a furnished bookstore (76 objects, exact truth, all occluded)",
}
COLUMNS = ("iou", "iou_pooled", "iou_occluded", "iou_occluded_pooled", "boundary_f")


def reports() -> dict[str, dict[str, dict[str, Any]]]:
    """The committed reports: set to method to content."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted((ROOT / "results").glob("*.*.json")):
        content = json.loads(path.read_text())
        if content.get("format") == "amodal/report/1" and "set" in content:
            found.setdefault(content["set"], {})[path.name.split(".", 1)[1].removesuffix(".json")] = content
    return found


def page() -> str:
    """docs/results.md."""
    parts = [
        "# Results",
        "Made by `python -m benchmarks.tables` from the JSON in `results/` (each names the command that makes it) and in "
        "`benchmarks/results/`; do not edit. Per cent; brackets are 95 % bootstrap intervals over images. Protocol of all rows: "
        "the true visible mask is given (GT-V). [What the columns mean](metrics.md).",
    ]
    for name, methods in sorted(
        reports().items(), key=lambda item: list(SETS).index(item[0]) if item[0] in SETS else 99
    ):
        parts.append(f"## {SETS.get(name, name)}")
        names = sorted(methods, key=lambda m: (ORDER.index(m) if m in ORDER else 99, m))
        rows = [["method", *COLUMNS]]
        for method in names:
            metrics = methods[method]["metrics"]
            rows.append(
                [method, *(percent(metrics[c]["method"], bounds=c in ("iou", "iou_occluded")) for c in COLUMNS)]
            )
        parts.append(markdown(rows))
        bins = methods[names[0]]["bins"]
        labels = [label for label in bins if label != "<50" and bins[label]["objects"]]
        table = [["IoU by share occluded, %", *(f"{label} ({bins[label]['objects']})" for label in labels)]]
        table += [[m, *(percent(methods[m]["bins"][label]["iou"]["method"]) for label in labels)] for m in names]
        parts.append(markdown(table))
    accuracy = [*embedded(), *painting(), *ablation(), *short_training(), *reconstruction()]
    return "\n\n".join([*parts, *accuracy, *speed(), *scoring()]) + "\n"


def embedded() -> list[str]:
    """False growth of the embedded method and clicks of the segmenters, if they were measured."""
    parts = []
    path = ROOT / "results" / "whole_photos.embedded.json"
    if path.exists():
        content = json.loads(path.read_text())
        parts.append(
            f"## False growth\n\n`embedded` on {content['objects']} whole objects in their own development photographs, where "
            f"nothing is hidden: IoU {100 * content['iou']:.2f}; {content['below_0.95']} objects below 95."
        )
    rows = [["pictures", "objects", "segmenter", "1 click", "best of 3", "3 clicks", "5 clicks", "box"]]
    for file in sorted((ROOT / "results").glob("*.clicks.*.json")):
        content = json.loads(file.read_text())
        keys = ("click1", "best_of_3", "click3", "click5", "box")
        scores = [f"{100 * content[k]:.1f}" if k in content else "-" for k in keys]
        rows.append([content["set"], str(content["objects"]), content["segmenter"], *scores])
    if len(rows) > 1:
        parts.append(
            "## Segmenters by simulated clicks\n\nIoU of the visible mask; each click in the largest error of the last answer. "
            "Best of 3: the best of the masks that are proposed for the first click. `large_pasted` and `large_mosaic`: objects of 3 "
            "to 20 % of the longer side in pictures of 2,000 pixels (`benchmarks/large.py`)."
        )
        parts.append(markdown(rows))
    return [*parts, *completions()]


def completions() -> list[str]:
    """Whole objects from a click, a box or the true mask, and what their scores are worth, if it was measured."""
    rows = [
        [
            "pictures",
            "objects",
            "1 click",
            "box",
            "true mask",
            "score",
            "error of the score",
            "surer half",
            "error of probability",
        ]
    ]
    for file in sorted((ROOT / "results").glob("*.completions.json")):
        content = json.loads(file.read_text())
        score = content["score"]
        values = [content[f"iou_from_{prompt}"] for prompt in ("click", "box", "mask")]
        values += [score["mean"], score["calibration_error"], score["iou_of_surer_half"], content["calibration_error"]]
        rows.append([content["set"], str(content["objects"]), *(f"{100 * value:.1f}" for value in values)])
    if len(rows) == 1:
        return []
    return [
        "## From a click to the whole object",
        "IoU of the amodal mask of `embedded` from one click (in the middle of the visible part), from the exact box of the "
        "visible part and from its true mask. With the true mask: the mean score, its calibration error as a forecast of the IoU, "
        "the IoU of the half that is surer, and the calibration error of `probability`.",
        markdown(rows),
    ]


def painting() -> list[str]:
    """What the inpainters paint into the occluded pixels, if it was measured."""
    path = ROOT / "results" / "painting.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    return [
        "## Painted pixels",
        "The occluded pixels of composites of development photographs; the true masks are given. Detail is the mean change between "
        "neighbouring pixels: 1 is as much as the truth has, 0 a flat colour. Error and PSNR reward the mean of what could be there, "
        "detail a guess at it. [How it is measured](metrics.md).",
        markdown(painted(found["occluded_pixels"])),
        "What lies behind removed objects: pieces with the shapes of objects, taken away from development photographs.",
        markdown(painted(found["removed"])),
    ]


def painted(found: dict[str, Any]) -> list[list[str]]:
    """Rows, with their head, of what the inpainters paint."""
    head = ["inpainter", "objects", "mean absolute error, grey levels", "PSNR, dB", "perceptual distance"]
    rows = [[*head, "detail / true detail (median)"]]
    for name, r in found.items():
        numbers = (
            f"{r['mean_absolute_error']:.1f}",
            f"{r['psnr']:.2f}",
            f"{r['perceptual_distance']:.3f}",
            f"{r['detail']:.2f}",
        )
        rows.append([name, str(r["objects"]), *numbers])
    return rows


def short_training() -> list[str]:
    """OccAmodal beside the single-stage network, trained as long, if it was measured."""
    path = ROOT / "results" / "training" / "short.json"
    if not path.exists():
        return []
    content = json.loads(path.read_text())
    rows = [["method", "steps", "CPU minutes", "parameters", *COLUMNS]]
    for name, found in content["methods"].items():
        size = f"{found['parameters'] / 1e6:.1f} M"
        scores = [f"{100 * found[column]:.1f}" for column in COLUMNS]
        rows.append([name, f"{found['steps']:,}", f"{found['cpu_minutes']:.0f}", size, *scores])
    return [
        "## OccAmodal beside the single stage\n\nBoth from scratch, at reduced size, on the same composites for about as long on one "
        "CPU core (`python -m benchmarks.short_training`, [how](training.md)); scored on composites_dev, true visible masks given.",
        markdown(rows),
    ]


def ablation() -> list[str]:
    """The tuning-free method with the pocket inpainter and each of its parts taken away, if it was measured."""
    path, soft = (ROOT / "results" / f"ablation.{name}.json" for name in ("tuning-free", "soft_edge"))
    if not path.exists() or not soft.exists():
        return []
    content, edges = (json.loads(file.read_text()) for file in (path, soft))
    return [
        "## Tuning-free, part by part",
        f"`tuning-free` with the embedded inpainter, {content['objects']} composites; each run takes one part of the paper away. "
        f"`{content['command']}`. The paper, with SDXL on COCO-A: {reported(content)} points of mIoU.",
        changes(content),
        f"The soft edge of the inpainting area, as a share of the window's side, against none; {edges['objects']} composites. "
        f"`{edges['command']}`.",
        changes(edges),
    ]


def changes(content: dict[str, Any]) -> str:
    """The runs of an ablation, one a row, with their difference to the first."""
    rows = [["run", "iou", "change [95 %]", "iou_occluded", "change [95 %]"]]
    for number, run in enumerate(content["runs"]):
        cells = [run["folder"]]
        for column in ("iou", "iou_occluded"):
            metric = content["metrics"][column]
            cells.append(f"{100 * metric['values'][number]:.1f}")
            change = metric["differences"][number - 1] if number else None
            cells.append(
                "" if change is None else " ".join(f"{100 * change[k]:+.1f}" for k in ("value", "low", "high"))
            )
        rows.append(cells)
    return markdown(rows)


def reported(content: dict[str, Any]) -> str:
    """What the paper reports for each part, as text."""
    return ", ".join(f"{part} {value:+.1f}" for part, value in content["reported"].items())


def reconstruction() -> list[str]:
    """Tables 3 and 4 of pix2gestalt with what runs without weights, beside what is printed there."""
    found = json.loads((ROOT / "benchmarks" / "results" / "reconstruct.json").read_text())["result"]
    measures = ("chamfer", "iou", "psnr", "ssim")
    rows = [["input", *measures, "perceptual", *(f"{name}, published" for name in measures)]]
    for name, row in found["table"].items():
        own = [f"{row[measure]:.3f}" for measure in (*measures, "perceptual")]
        theirs = found["published"].get(name, {})
        rows.append([f"`{name}`", *own, *(f"{theirs[m]:.3f}" if theirs else "-" for m in measures)])
    lifter, size = found["lifter"]["name"], found["size"]
    return [
        "## Reconstruction and novel views",
        f"{len(found['objects'])} random scans, each occluded and seen twice ({found['compared']} pictures of {size} x {size} "
        f"pixels), lifted by `{lifter}`; `true-views` by `multiview`: "
        "`python -m benchmarks reconstruct`. [What the rows are](reconstruct.md). Published: "
        "SyncDreamer on Google Scanned Objects, other scans and another lifter, so that only the order of the rows compares.",
        markdown(rows),
    ]


def speed() -> list[str]:
    """Seconds of the embedded default, if they were measured."""
    path = ROOT / "benchmarks" / "results" / "mask.json"
    if not path.exists():
        return []
    content = json.loads(path.read_text())
    result, machine = content["result"], content["machine"]
    words = {
        "mask": "amodal mask of one object, warm",
        "cutout": "amodal mask and painted cut-out, warm",
        "open": "segmenter: opening a picture",
        "further_click": "segmenter: a click on an open picture",
        "command": "`amodal segment` as a new process, files written",
    }
    rows = [["what", "seconds, median", "lowest to highest"]]
    for key, text in words.items():
        entry = result[key]
        rows.append([text, f"{entry['median_s']:.3f}", f"{entry['lowest_s']:.3f} to {entry['highest_s']:.3f}"])
    return [
        "## Speed of the embedded default",
        f"One 600 x 400 photograph on {machine['cpu']} ({machine['cores']} cores, load {machine['load']:.1f}), no GPU: "
        f"`python -m benchmarks mask`. The command needs at most {result['command']['peak_bytes'] / 1e6:.0f} MB.",
        markdown(rows),
    ]


def scoring() -> list[str]:
    """The speed of scoring, if it was measured."""
    path = ROOT / "benchmarks" / "results" / "scoring.json"
    if not path.exists():
        return []
    content = json.loads(path.read_text())
    result, machine = content["result"], content["machine"]
    words = {
        "loop": "full masks decoded by pycocotools, NumPy in a loop",
        "ours": "`amodal.evaluation.score`, the same numbers from run lengths",
        "whole": "`evaluate_predictions`: rows, baselines, boundary F, AP, intervals",
    }
    rows = [["what", "seconds", "processor seconds", "peak memory, MB"]]
    for key, text in words.items():
        entry = result[key]
        rows.append(
            [text, f"{entry['median_s']:.1f}", f"{entry['median_cpu_s']:.1f}", f"{entry['peak_bytes'] / 1e6:.0f}"]
        )
    shared = machine["load"] > machine["cores"]
    note = " Other work shared the cores, so read the processor seconds." if shared else ""
    return [
        "## Scoring speed",
        f"{result['objects']:,} objects at {result['size'][1]} x {result['size'][0]}, COCO results against the project's format, one "
        f"process each, on {machine['cpu']} ({machine['cores']} cores, load {machine['load']:.1f}): `python -m benchmarks scoring`. "
        f"By processor time the loop takes {result['loop_over_ours_cpu']:.1f} times as long as scoring from run lengths.{note}",
        markdown(rows),
    ]


def readme() -> str:
    """The README with its table between the two markers made anew: IoU and IoU of the occluded region, per object."""
    found = reports()
    sets = [name for name in SETS if name in found]
    methods = sorted({m for name in sets for m in found[name]}, key=lambda m: (ORDER.index(m) if m in ORDER else 99, m))
    rows = [["IoU / IoU of the occluded region", *(SETS[name].split(" (")[0] for name in sets)]]
    for method in methods:
        cells = []
        for name in sets:
            metrics = found[name][method]["metrics"] if method in found[name] else None
            both = [metrics[c]["method"] for c in ("iou", "iou_occluded")] if metrics else []
            cells.append(" / ".join(percent(value, bounds=False) for value in both) or "-")
        rows.append([f"`{method}`", *cells])
    head, _, rest = README.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{markdown(rows)}\n{END}{tail}"


def made() -> dict[Path, str]:
    """Every page with a made part, and what it should be."""
    measured = ROOT / "benchmarks" / "results"
    tables = {
        "methods": pages.methods(reports(), SETS),
        "inpainters": pages.inpainters(),
        "licenses": pages.licenses(),
        "times": pages.command_times(measured / "commands.json"),
    }
    return {
        PAGE: page(),
        README: readme(),
        CHOOSE: pages.between(CHOOSE, tables),
        INSTALL: pages.between(INSTALL, {"extras": pages.extras_table(measured / "install.json")}),
        COMPARED: pages.between(COMPARED, {"counted": pages.counted(ROOT / "results" / "datasets.json")}),
        BATCH: pages.between(BATCH, {"million": pages.million(measured / "batch.json", measured / "planning.json")}),
        RECOGNIZE: pages.between(RECOGNIZE, {"recognised": pages.recognised(measured / "recognition.json")}),
        SCENES: pages.between(SCENES, {"speed": pages.scene_speed(measured / "scenes.json")}),
    }


def main(arguments: list[str]) -> int:
    """Write the pages, or say which is out of date."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    for path, text in made().items():
        name = path.relative_to(ROOT)
        if not arguments:
            path.write_text(text, encoding="utf-8")
            print(name)
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"{name} is out of date; run: python -m benchmarks.tables", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
