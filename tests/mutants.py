"""Mutants of files and JSON, drawn from a seeded generator, and what reading one may do.

AMODAL_MUTANTS=20000 makes every search longer.
"""

import os
import random

from amodal.core.errors import AmodalError

COUNT = int(os.environ.get("AMODAL_MUTANTS", "120"))
"""How many mutants of a format are tried, about."""


def damaged(content: bytes, luck: random.Random) -> bytes:
    """One of: bits turned, a part cut out, doubled or overwritten by large numbers, the end cut off."""
    body = bytearray(content)
    for _ in range(luck.randint(1, 4)):
        at = luck.randrange(len(body)) if luck.random() < 0.5 else luck.randrange(min(64, len(body)))
        match luck.randrange(5):
            case 0:
                body[at] ^= 1 << luck.randrange(8)
            case 1:
                body[at : at + 4] = luck.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff"])
            case 2:
                del body[at : at + luck.randint(1, 20)]
            case 3:
                body[at:at] = body[at : at + 30]
            case 4:
                del body[at:]
        if not body:
            break
    return bytes(body) or b"\0"


ODD = [
    None,
    True,
    -1,
    0,
    2.5,
    1e308,
    float("nan"),
    float("inf"),
    10**30,
    "",
    "x",
    "\ud800",
    [],
    [[]],
    {},
    [1, 2],
    {"a": 1},
]


def altered(value, luck: random.Random):
    """JSON with one value replaced by an odd one, or a key lost."""
    if isinstance(value, dict) and value and luck.random() < 0.8:
        key = luck.choice(sorted(value))
        changed = {**value, key: altered(value[key], luck)}
        if luck.random() < 0.1:
            del changed[key]
        return changed
    if isinstance(value, list) and value and luck.random() < 0.7:
        place = luck.randrange(len(value))
        return [altered(item, luck) if k == place else item for k, item in enumerate(value)]
    return luck.choice(ODD)


def allowed(call, *arguments) -> None:
    try:
        call(*arguments)
    except AmodalError as error:
        assert "\n" not in str(error), str(error)
