"""The answers of a review: one append-only file per round and reviewer, agreement between reviewers, what was accepted."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from ...core.errors import DataError, UsageError
from ...core.files import parse_json, read_bytes, read_lines
from ...data.folder import Folder, FolderWriter
from ...data.sample import Sample
from ..scenes.stats import statistics, write_statistics

__all__ = ["POLICIES", "Review", "accepted", "agreement", "export", "open_sets"]

POLICIES = ("majority", "any", "all")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


def open_sets(root: Path) -> dict[str, Folder]:
    """The data set at `root`, or its splits: subfolders of the same layout. Raises DataError if there is none."""
    if (root / "annotations.json").is_file():
        return {"": Folder(root)}
    found = {path.parent.name: Folder(root, path.parent.name) for path in sorted(root.glob("*/annotations.json"))}
    if not found:
        raise DataError(f"{root} holds no data set (annotations.json); build one with amodal data build")
    return found


class Review:
    """One round of a review of the data set at `root`.

    Answers are kept in `root/review/roundN/REVIEWER.jsonl`, a line at each key press, flushed to the disk before the page goes
    on; undoing is a line too. Thread-safe.

    Args:
        root: the data set's folder.
        round: 1 shows every object; 2 those that the first round accepted.
        policy: how several first-round answers become one: "majority" (more yes than no), "any" yes, or "all" yes.

    Raises:
        DataError: no data set, or the first round accepted nothing.
        UsageError: no such round or policy.
    """

    def __init__(self, root: Path, round: int = 1, policy: str = "majority") -> None:
        if round not in (1, 2):
            raise UsageError(f"round is {round}; there are two rounds, 1 and 2")
        self.root, self.round = root, round
        self.sets = open_sets(root)
        self._marks = marks_of(self.sets)
        self._where = {
            name: (key, place)
            for key, names in names_of(self.sets).items()
            for place, name in enumerate(names.values())
        }
        self.ids = list(self._where)
        if round == 2:
            chosen = accepted(answers_of(root, 1, self._marks), policy)
            self.ids = [name for name in self.ids if name in chosen]
            if not self.ids:
                raise DataError(f"the first round of {root} has accepted nothing yet; review its first round first")
        self._folder = root / "review" / f"round{round}"
        self._lock = threading.Lock()
        self._logs: dict[str, list[tuple[str, str]]] = {}

    def sample(self, name: str) -> Sample:
        """The object with this id. Raises DataError if there is none."""
        if name not in self._where:
            raise DataError(f"no object {name!r} in {self.root}")
        key, place = self._where[name]
        return self.sets[key][place]

    def answers(self, reviewer: str) -> dict[str, str]:
        """This reviewer's answers so far: id to "yes" or "no"."""
        with self._lock:
            return dict(self._log(reviewer))

    def answer(self, reviewer: str, name: str, value: str) -> None:
        """Keep one answer; a later one to the same object replaces it.

        Raises:
            DataError: no such object in this round.
            UsageError: the answer is neither "yes" nor "no", or the reviewer's name is not plain.
        """
        if value not in ("yes", "no"):
            raise UsageError(f"the answer is {value!r}; it must be yes or no")
        if name not in self._where or name not in self.ids:
            raise DataError(f"no object {name!r} in round {self.round} of {self.root}")
        with self._lock:
            log = self._log(reviewer)
            self._write(reviewer, {"id": name, "answer": value, "masks": self._marks[name], "time": now()})
            log[:] = [item for item in log if item[0] != name] + [(name, value)]

    def undo(self, reviewer: str) -> str | None:
        """Take back this reviewer's last answer; returns its object's id, or None if there is none."""
        with self._lock:
            log = self._log(reviewer)
            if not log:
                return None
            name = log[-1][0]
            self._write(reviewer, {"id": name, "answer": None, "time": now()})
            log.pop()
            return name

    def everybody(self) -> dict[str, dict[str, str]]:
        """All answers of this round on the disk: reviewer to id to answer."""
        return answers_of(self.root, self.round, self._marks)

    def outdated(self) -> int:
        """How many answers of this round are of objects that are no longer there, or have other masks now; they do not count."""
        every = answers_of(self.root, self.round)
        return sum(map(len, every.values())) - sum(map(len, self.everybody().values()))

    def _log(self, reviewer: str) -> list[tuple[str, str]]:
        if not NAME.fullmatch(reviewer):
            raise UsageError(f"reviewer {reviewer!r}: use up to 40 letters, digits, dots, dashes and underscores")
        if reviewer not in self._logs:
            path = self._folder / f"{reviewer}.jsonl"
            mend(path)
            self._logs[reviewer] = replay(path, self._marks)
        return self._logs[reviewer]

    def _write(self, reviewer: str, line: dict[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{reviewer}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def mend(path: Path) -> None:
    """Cut off a last line that was not written to its end, so that the next one starts afresh."""
    if path.is_file():
        content = read_bytes(path, DataError)
        if content and not content.endswith(b"\n"):
            with path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)


def now() -> float:
    """Seconds since 1970, to the millisecond."""
    return round(time.time(), 3)


def names_of(sets: Mapping[str, Folder]) -> dict[str, dict[str, str]]:
    """What a review calls the objects of each split, by their ids: the id, behind the split's name where several splits have it."""
    count = Counter(name for data in sets.values() for name in data.ids())
    return {
        key: {name: name if count[name] == 1 else f"{key}/{name}" for name in data.ids()} for key, data in sets.items()
    }


def marks_of(sets: Mapping[str, Folder]) -> dict[str, str]:
    """Per object a checksum of its two masks: what an answer is about. Raises DataError for damaged annotations."""
    every = [(names[each.id], each) for key, names in names_of(sets).items() for each in sets[key].encoded()]
    return {
        name: f"{zlib.crc32(json.dumps([each.size, each.amodal, each.visible]).encode()):08x}" for name, each in every
    }


def replay(path: Path, marks: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Answers in the order they were given, undone ones taken out; a line that was cut short is left out.

    With `marks` (see `marks_of`) only answers to what is there now; lines of earlier versions do not tell the masks, and count.
    """
    log: list[tuple[str, str]] = []
    if not path.is_file():
        return log
    for number, line in read_lines(path, DataError):
        if not line.endswith(b"\n"):
            break
        row = parse_json(line, f"{path}, line {number}", DataError)
        if not isinstance(row, dict) or not {"id", "answer"} <= row.keys():
            raise DataError(f"{path}, line {number} is no answer: it needs id and answer")
        name, value = str(row["id"]), row["answer"]
        if marks is not None and (name not in marks or row.get("masks", marks[name]) != marks[name]):
            continue
        log = [item for item in log if item[0] != name]
        if value is not None:
            log.append((name, str(value)))
    return log


def answers_of(root: Path, number: int, marks: Mapping[str, str] | None = None) -> dict[str, dict[str, str]]:
    """All answers of a round: reviewer to id to answer; `marks` as in `replay`."""
    files = sorted((root / "review" / f"round{number}").glob("*.jsonl"))
    return {path.stem: dict(replay(path, marks)) for path in files}


def accepted(answers: Mapping[str, Mapping[str, str]], policy: str = "majority") -> set[str]:
    """The ids that the reviewers accept together. A tie is no majority.

    Raises:
        UsageError: no such policy.
    """
    if policy not in POLICIES:
        raise UsageError(f"policy is {policy!r}; it must be one of {', '.join(POLICIES)}")
    votes: dict[str, list[bool]] = {}
    for given in answers.values():
        for name, value in given.items():
            votes.setdefault(name, []).append(value == "yes")
    decide = {"majority": lambda row: 2 * sum(row) > len(row), "any": any, "all": all}[policy]
    return {name for name, row in votes.items() if decide(row)}


def agreement(answers: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """For each two reviewers: how many objects both have answered, the share of equal answers, and Cohen's kappa.

    Kappa is None where it is not defined: nothing in common, or both gave one and the same answer throughout.
    """
    rows = []
    for first, second in combinations(sorted(answers), 2):
        common = sorted(set(answers[first]) & set(answers[second]))
        pairs = [(answers[first][name] == "yes", answers[second][name] == "yes") for name in common]
        row: dict[str, Any] = {"reviewers": [first, second], "both": len(pairs), "equal": None, "kappa": None}
        if pairs:
            equal = sum(a == b for a, b in pairs) / len(pairs)
            yes = [sum(pair[k] for pair in pairs) / len(pairs) for k in (0, 1)]
            chance = yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])
            row["equal"] = round(equal, 4)
            row["kappa"] = None if chance == 1 else round((equal - chance) / (1 - chance), 4)
        rows.append(row)
    return rows


def export(root: Path, output: Path, policy: str = "majority", *, overwrite: bool = False) -> int:
    """Write the accepted objects as a data set of their own, split by split; returns how many there are.

    Beside it lies what the paper's table 2 and its figures count: `statistics.json`, `occlusion.svg`, `categories.svg`, `images.svg`.
    The second round decides on what it has answered, the first on the rest only where there is no second round at all.

    Raises:
        DataError: nothing has been accepted.
        OutputError: the output exists.
    """
    sets = open_sets(root)
    names, marks = names_of(sets), marks_of(sets)
    last = 2 if answers_of(root, 2) else 1
    chosen = accepted(answers_of(root, last, marks), policy)
    if not chosen:
        raise DataError(f"round {last} of {root} has accepted nothing; review it first: amodal data review {root}")
    for key, data in sets.items():
        digest = hashlib.sha256("\n".join(f"{name} {marks[name]}" for name in sorted(chosen)).encode()).hexdigest()
        settings = {"reviewed": str(root.name), "round": last, "policy": policy, "accepted": digest}
        beyond = any(sample.beyond_frame for sample in data)
        with FolderWriter(
            output / key, name="reviewed", settings=settings, beyond_frame=beyond, overwrite=overwrite
        ) as writer:
            for scene in data.scenes():
                kept = [sample for sample in scene if names[key][sample.id] in chosen]
                if kept and not writer.done(kept[0].image_id):
                    writer.add(kept)
    write_statistics(output, statistics({key: output / key for key in open_sets(output)}, []))
    return len(chosen)
