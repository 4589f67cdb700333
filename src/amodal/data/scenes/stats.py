"""Statistics of a built data set: the paper's table 2, its histogram of occlusion, and images per scene."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...files import read_json

__all__ = ["histogram_svg", "statistics", "table"]

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
        summary["labels_in_all_splits"] = len(
            set.intersection(*({row["extra"]["label"] for row in each} for each in rows.values()))
        )
    return summary


def count(rows: list[dict[str, Any]], images: int) -> dict[str, Any]:
    """The numbers of one split."""
    bins = [0] * BINS
    for row in rows:
        bins[min(BINS - 1, int(row["occlude_rate"] * BINS))] += 1
    per_scene: dict[str, set[int]] = {}
    for row in rows:
        per_scene.setdefault(row["extra"]["scene"], set()).add(row["image_id"])
    return {
        "scenes": len(per_scene),
        "images": images,
        "instances": len(rows),
        "categories": len({row["category"] for row in rows}),
        "labels": len({row["extra"]["label"] for row in rows}),
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
    return "\n".join(lines)


def histogram_svg(summary: dict[str, Any]) -> str:
    """The histogram of occlusion as an SVG picture."""
    bins = summary["total"]["occlusion_histogram"]
    width, height, base, left = 560, 320, 270, 60
    top = max(1, *bins)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<text x="60" y="20" font-size="14">Instances by occlusion rate</text>',
    ]
    for place, number in enumerate(bins):
        tall = 220 * number / top
        x = left + place * 48
        parts.append(f'<rect x="{x}" y="{base - tall:.1f}" width="42" height="{tall:.1f}" fill="#0096ff"/>')
        parts.append(f'<text x="{x + 21}" y="{base - tall - 4:.1f}" text-anchor="middle">{number}</text>')
        parts.append(f'<text x="{x + 21}" y="{base + 18}" text-anchor="middle">{place * 10}-{place * 10 + 10} %</text>')
    parts.append(f'<line x1="{left - 4}" y1="{base}" x2="{width - 16}" y2="{base}" stroke="black"/></svg>')
    return "\n".join(parts) + "\n"
