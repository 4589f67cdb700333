"""Reports as plain text and as Markdown: the baselines beside the method, the protocol on every column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import DataError

__all__ = ["markdown", "percent", "summary"]


def percent(entry: Mapping[str, Any] | None, *, bounds: bool = False) -> str:
    """An interval's record in per cent: `81.2` or `81.2 [79.9, 82.4]`; a dash where undefined."""
    if entry is None or entry["value"] is None:
        return "-"
    text = f"{100 * entry['value']:.1f}"
    return f"{text} [{100 * entry['low']:.1f}, {100 * entry['high']:.1f}]" if bounds else text


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to equal width."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def method_name(settings: Mapping[str, Any]) -> str:
    """The method of a run's settings."""
    return str(settings.get("method", {}).get("name", "predictions"))


def apart(folders: Sequence[Path]) -> list[str]:
    """Short names of folders: the parts of their paths, from the end on as far as it takes, in which they differ."""
    parts = [folder.resolve().parts[::-1] for folder in folders]
    longest = max(map(len, parts))
    count = next((n for n in range(1, longest) if len({each[:n] for each in parts}) == len(set(parts))), longest)
    told = [k for k in range(count) if len({each[k : k + 1] for each in parts}) > 1] or [0]
    return ["/".join(each[k] for k in reversed(told) if k < len(each)) for each in parts]


def published_rows(content: Mapping[str, Any]) -> list[list[str]]:
    """The published numbers of a report as a table with its head."""
    rows = [["published", "compares with", "value", "occluded", "protocol", "source"]]
    for row in content["published"]:
        occluded = "-" if row["occluded"] is None else f"{row['occluded']:g}"
        rows.append([row["method"], row["metric"], f"{row['value']:g}", occluded, row["protocol"], row["source"]])
    return rows


def data_name(data: Mapping[str, Any]) -> str:
    """A run's data set in words: "cocoa val", and its label where one reader read several folders."""
    return " ".join(str(part) for part in (data.get("name"), data.get("split"), data.get("label")) if part)


def check_one_truth(runs: Iterable[tuple[Path, Mapping[str, Any]]]) -> None:
    """Whether runs (their folders, and what they tell of their data) on data sets of one name are of the same truth, as far as
    they tell it. Raises DataError: one is not."""
    first: dict[str, tuple[Path, str]] = {}
    for folder, data in runs:
        if (told := data.get("truth_sha256")) is None:
            continue
        before, known = first.setdefault(data_name(data), (folder, told))
        if known != told:
            raise DataError(
                f"{folder} and {before} are of different data sets that are both called {data_name(data)}, or of one that has "
                "changed; evaluate them in one command, which tells them apart"
            )


def summary(content: Mapping[str, Any]) -> str:
    """What the command line prints at the end of a run."""
    data, name = content["settings"].get("data", {}), method_name(content["settings"])
    head = (
        f"{name} on {data_name(data)}: {content['objects']} objects in "
        f"{content['images']} images, {content['occluded_objects']} occluded, {content['failures']} failed\n"
        f"protocol: {content['settings'].get('protocol')}"
    )
    if content["settings"].get("occluders") == "truth":
        head += f"; known for {content['occluders_given']} of {content['objects']}"
    lines = [["per cent", name, "visible", "hull", "protocol of the column"]]
    for metric, entry in content["metrics"].items():
        values = [percent(entry["method"], bounds=True), percent(entry["visible"]), percent(entry["hull"])]
        lines.append([metric, *values, entry["protocol"]])
    bins = [["occluded, %", "objects", f"{name} IoU", "visible", "hull"]]
    for label, entry in content["bins"].items():
        cells = [percent(entry["iou"][who]) for who in ("method", "visible", "hull")]
        bins.append([label, str(entry["objects"]), *cells])
    parts = [head, table(lines), table(bins)]
    if best := content["best_of"]:
        mean, pooled = (percent(best[key], bounds=True) for key in ("iou", "iou_pooled"))
        parts.append(f"best of {best['k']} samples, by IoU with the truth: {mean} mean over objects, {pooled} pooled")
    if content["published"]:
        parts.append(table(published_rows(content)))
    if content.get("not_compared"):
        parts.append(content["not_compared"])
    return "\n\n".join(parts)
