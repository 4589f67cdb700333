"""MTL materials of OBJ scenes, and the lines that both text formats consist of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import DataError
from ...core.files import read_bytes
from ..mesh import Material
from . import LARGEST_FILE, read_texture

__all__ = ["Paint", "lines_of", "numbers", "read_materials", "texture_line"]

MAP_OPTIONS = {"-blendu": 1, "-blendv": 1, "-bm": 1, "-boost": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1, "-mm": 2}
MAP_OPTIONS |= {"-o": 3, "-s": 3, "-t": 3, "-texres": 1, "-type": 1}
"""Options of a texture's line and their most values; -o, -s and -t may have fewer."""
NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
MOST = 1e6
"""The largest scale or offset of a texture that is taken for one."""
NEUTRAL: dict[str, tuple[str | float, ...]] = {
    "-clamp": ("off",),
    "-cc": ("off",),
    "-mm": (0.0, 1.0),
    "-t": (0.0, 0.0, 0.0),
}
"""Options that change what is seen, are not read, and are told unless they have these values; -type is told always."""


@dataclass(frozen=True)
class Paint:
    """A material, and how the places on its texture follow from texture coordinates: `scale` (u, v) times them, plus `offset`."""

    material: Material = field(default_factory=Material)
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


def lines_of(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, keyword and the rest of a text file's lines: continued lines joined, comments and byte order mark taken out.

    Lines end at line feeds and carriage returns alone: names may hold other characters that Unicode counts as line ends.
    """
    content = read_bytes(path, DataError, limit=LARGEST_FILE)
    if b"\0" in content[:4096]:
        raise DataError(f"{path} is no text file; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    number = 0
    pending = ""
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        number += 1
        whole = pending + line.strip(" \t")
        if whole.endswith("\\"):
            pending = whole[:-1] + " "
            continue
        pending = ""
        if "#" in whole:  # in a name only what a blank follows: "chair #2" is a name
            whole = re.sub(r"(^|[ \t])#([ \t].*)?$", "", whole)
        keyword, _, rest = whole.replace("\t", " ").partition(" ")
        if keyword and not keyword.startswith("#"):
            yield number, keyword, rest.strip(" ")


def numbers(rest: str) -> list[str]:
    """The words of a line of numbers, without a comment that follows."""
    return rest.partition("#")[0].split()


def read_materials(path: Path, paints: list[Paint], remarks: list[str]) -> dict[str, int]:
    """Material name to its place in `paints`, to which they are added; what is missing is remarked on, not fatal: grey there."""
    if not path.is_file():
        remarks.append(f"material file {path.name} is missing; grey instead")
        return {}
    table: dict[str, int] = {}
    title = ""
    for _, keyword, rest in lines_of(path):
        kind = keyword.lower()
        if kind == "newmtl":
            title = rest
            table[title] = len(paints)
            paints.append(Paint())
        elif kind == "kd" and title and paints[table[title]].material.texture is None:
            try:
                red, green, blue = map(float, numbers(rest)[:3])
                paints[table[title]] = Paint(Material((red, green, blue)))
            except ValueError:
                remarks.append(f"{path.name} has no colour in {f'{keyword} {rest}'[:60]!r}; grey instead")
        elif kind == "map_kd" and title:
            file, options = texture_line(path.parent, rest)
            texture = read_texture(file)
            if texture is None:
                remarks.append(f"texture {file.name} of material {title} is missing or damaged; plain colour instead")
                continue
            # A texture is shown as it is: many exporters leave a dark colour beside it.
            scale, offset = (pair(options.get(name, []), each) for name, each in (("-s", 1.0), ("-o", 0.0)))
            paints[table[title]] = Paint(Material((1.0, 1.0, 1.0), texture), scale, offset)
            unread = [name for name in options if not harmless(name, options[name])]
            remarks += [f"{path.name}: {name} of texture {file.name} is not understood; left out" for name in unread]
    return table


def pair(words: Sequence[str], default: float) -> tuple[float, float]:
    """The first two numbers of an option; the default where there are fewer, or none that are understood."""
    values = [float(word) if abs(float(word)) <= MOST else default for word in words] + [default, default]
    return values[0], values[1]


def harmless(name: str, words: Sequence[str]) -> bool:
    """Whether the option is read, or changes nothing that is seen, or has the values that change nothing."""
    if name in ("-s", "-o"):
        return all(abs(float(word)) <= MOST for word in words)
    if name not in NEUTRAL:
        return name != "-type"
    try:
        pairs = zip(words, NEUTRAL[name], strict=False)
        return all(word.lower() == each if isinstance(each, str) else float(word) == each for word, each in pairs)
    except ValueError:
        return False


def texture_line(folder: Path, rest: str) -> tuple[Path, dict[str, list[str]]]:
    """The picture that a `map_Kd` line names, and the words of each option of it.

    Options stand before or after, names hold blanks, separators may be backslashes.
    """
    words = rest.split(" ")
    start, options = leading_options(words, 1)
    tail = words[start:]
    choices = [(rest, dict[str, list[str]]()), (" ".join(tail), options)]
    ends = [k for k, word in enumerate(tail) if k and word in MAP_OPTIONS]
    choices += [(" ".join(tail[:k]), options | leading_options(tail[k:], 0)[1]) for k in ends]
    found = [(folder / name.replace("\\", "/").strip('" '), each) for name, each in choices]
    found += [(folder / path.name, each) for path, each in found]  # names from another machine's folders
    there = [each for each in found if each[0].is_file()]
    return there[0] if there else found[min(len(choices) - 1, 1 + bool(ends))]


def leading_options(words: Sequence[str], keep: int) -> tuple[int, dict[str, list[str]]]:
    """The words of each option that a line begins with, and where they end; the last `keep` words belong to none."""
    options = dict[str, list[str]]()
    start = 0
    while start < len(words) and (not words[start] or words[start] in MAP_OPTIONS):  # "": one of several blanks
        name, start = words[start], start + 1
        if not name:
            continue
        most, options[name] = MAP_OPTIONS[name], []
        fewer = most == 3
        while most and start < len(words) - keep:
            word = words[start]
            if word and fewer and not re.fullmatch(NUMBER, word):
                break
            options[name] += [word] if word else []
            most, start = most - bool(word), start + 1
    return start, options
