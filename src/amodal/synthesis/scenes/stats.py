"""Statistics of a built data set: the paper's table 2, its histogram of occlusion, and images per scene."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from ...core.errors import DataError
from ...core.files import read_json, write_json, write_text

__all__ = ["bars_svg", "statistics", "table", "write_statistics"]

BINS = 10


def statistics(roots: dict[str, Path], views: list[dict[str, Any]]) -> dict[str, Any]:
    """Count scenes, images, instances, categories and labels per split.

    Args:
        roots: per split the folder with `annotations.json`.
        views: the build's journal: what was projected and left out.
    """
    splits, rows = dict[str, Any](), dict[str, list[dict[str, Any]]]()
    for split, root in roots.items():
        content = read_json(root / "annotations.json", DataError)
        names = {entry["id"]: entry["name"] for entry in content["categories"]}
        rows[split] = [{**row, "category": names[row["category_id"]]} for row in content["annotations"]]
        splits[split or "all"] = count(rows[split], len(content["images"]))
    every = [row for each in rows.values() for row in each]
    left_out: Counter[str] = Counter()
    for view in views:
        left_out.update(view["left_out"])
    summary: dict[str, Any] = {
        "splits": splits,
        "total": count(every, sum(each["images"] for each in splits.values())),
        "views": len(views),
        "projected": sum(view["objects"] for view in views),
        "left_out": dict(left_out.most_common()),
    }
    if len(rows) > 1:
        labels = {split: {label_of(row) for row in each} for split, each in rows.items()}
        summary["labels_in_all_splits"] = len(set.intersection(*labels.values()))
        summary["labels_in_one_split_only"] = {
            split: len(own - set().union(*(other for key, other in labels.items() if key != split)))
            for split, own in labels.items()
        }
    return summary


def label_of(row: dict[str, Any]) -> str:
    """An object's fine label; its category where there is none."""
    return str(row.get("extra", {}).get("label", row["category"]))


def write_statistics(folder: Path, summary: dict[str, Any]) -> None:
    """`statistics.json`, and charts: `occlusion.svg`, `categories.svg`, `images.svg`."""
    total = summary["total"]
    bins = {f"{place * 10}-{place * 10 + 10} %": number for place, number in enumerate(total["occlusion_histogram"])}
    write_json(folder / "statistics.json", summary)
    write_text(folder / "occlusion.svg", bars_svg("Instances by occlusion rate", bins))
    write_text(folder / "categories.svg", bars_svg("Instances by category", total["instances_per_category"]))
    write_text(folder / "images.svg", bars_svg("Images by scene", total["images_per_scene"]))


def count(rows: list[dict[str, Any]], images: int) -> dict[str, Any]:
    """The numbers of one split."""
    bins = [0] * BINS
    for row in rows:
        bins[min(BINS - 1, int(row["occlude_rate"] * BINS))] += 1
    per_scene: dict[str, set[int]] = {}
    for row in rows:
        per_scene.setdefault(str(row.get("extra", {}).get("scene", "")), set()).add(row["image_id"])
    return {
        "scenes": len(per_scene),
        "images": images,
        "instances": len(rows),
        "categories": len({row["category"] for row in rows}),
        "labels": len({label_of(row) for row in rows}),
        "instances_per_category": dict(Counter(row["category"] for row in rows).most_common()),
        "images_per_scene": {scene: len(each) for scene, each in sorted(per_scene.items())},
        "occlusion_histogram": bins,
        "beyond_frame": sum(row["beyond_frame"] is not None for row in rows),
    }


def table(summary: dict[str, Any]) -> str:
    """Table 2 of the paper as text, and the histogram of occlusion."""
    lines = [f"{'split':<12}{'scenes':>8}{'images':>9}{'instances':>11}{'categories':>12}{'labels':>8}"]
    parts = {**summary["splits"], "total": summary["total"]} if len(summary["splits"]) > 1 else summary["splits"]
    for name, row in parts.items():
        lines.append(
            f"{name:<12}{row['scenes']:>8}{row['images']:>9}{row['instances']:>11}{row['categories']:>12}{row['labels']:>8}"
        )
    lines.append("occluded    instances")
    bins = summary["total"]["occlusion_histogram"]
    for place, number in enumerate(bins):
        bar = "#" * round(40 * number / max(1, *bins))
        lines.append(f"{place * 10:>3}-{place * 10 + 10:>3} %{number:>13}  {bar}".rstrip())
    for reason, number in summary["left_out"].items():
        lines.append(f"left out: {number:>9}  {reason}")
    for name, read in summary.get("scenes_read", {}).items():
        lines.append(f"read: {name}, {read['instances']} objects, {read['faces']} faces, checksum {read['checksum']}")
    return "\n".join(lines)


def bars_svg(title: str, values: dict[str, int]) -> str:
    """A bar chart, one row a name, as an SVG picture."""
    top, wide = max(1, *values.values()) if values else 1, 420
    rows = []
    for place, (name, number) in enumerate(values.items()):
        y = 44 + 18 * place
        rows.append(f'<text x="170" y="{y + 12}" text-anchor="end">{escape(name[:28])}</text>')
        rows.append(f'<rect x="176" y="{y}" width="{wide * number / top:.1f}" height="15" fill="#0096ff"/>')
        rows.append(f'<text x="{180 + wide * number / top:.1f}" y="{y + 12}">{number}</text>')
    size = f'viewBox="0 0 660 {56 + 18 * len(values)}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    back = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, back, f'<text x="20" y="24" font-size="14">{escape(title)}</text>', *rows, "</svg>"]) + "\n"
