"""Invented objects: blobs, polygons, furniture-like silhouettes and thin things, with textures taken from pictures."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from .sprites import Image, Sprite, from_rgba

SIDE = 160


def texture(rng: np.random.Generator, pictures: list[Image], h: int, w: int, calm: bool = False) -> Image:
    """(h, w, 3) uint8 texture: a flat or shaded colour, stripes, or, unless `calm`, a piece of a picture."""
    kind = rng.uniform(0.45 if calm else 0.0, 1.0)
    if kind < 0.45:
        picture = pictures[rng.integers(len(pictures))]
        side = int(rng.integers(24, min(picture.shape[:2])))
        y, x = rng.integers(picture.shape[0] - side + 1), rng.integers(picture.shape[1] - side + 1)
        piece = cv2.resize(picture[y : y + side, x : x + side], (w, h), interpolation=cv2.INTER_LINEAR).astype(
            np.float32
        )
        piece = piece * rng.uniform(0.6, 1.2) + rng.uniform(-30, 30)
    else:
        # Most things are rather grey, brown or pale; few are garish.
        vivid, strength = rng.uniform(0, 1) ** (4 if calm else 1.5), 0.3 if calm else 1.0
        grey = rng.uniform(10, 245) + rng.uniform(0, 20) * np.array([1.0, 0.2, -1.0])
        piece = np.full((h, w, 3), grey * (1 - vivid) + rng.uniform(10, 245, 3) * vivid, np.float32)
        if kind < 0.6:
            angle, period = rng.uniform(0, np.pi), rng.uniform(4, 40)
            yy, xx = np.mgrid[:h, :w]
            wave = np.sin((xx * np.cos(angle) + yy * np.sin(angle)) * 2 * np.pi / period)
            shift = (rng.uniform(-90, 90) + rng.uniform(-60, 60, 3)) * strength
            piece += (wave[..., None] > rng.uniform(-0.8, 0.8)) * shift
        elif kind < 0.8:
            # Blotches; as long as wood's grain where the texture is calm.
            cells = (int(rng.integers(24, 64)), 3) if calm else (6, 6)
            low = (rng.normal(0, 20, (*cells, 1)) + rng.normal(0, 8, (*cells, 3))) * strength
            piece += cv2.resize(low.astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.linspace(-1, 1, h)[:, None] * np.sin(angle) + np.linspace(-1, 1, w)[None] * np.cos(angle)
    piece = piece * (1 + 0.3 * rng.random() * ramp[..., None]) + rng.normal(0, rng.uniform(0, 8), (h, w, 1))
    return np.asarray(np.clip(piece, 0, 255), np.uint8)


def _fill(mask: NDArray[np.uint8], points: NDArray[np.float64]) -> None:
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)


def _stroke(mask: NDArray[np.uint8], path: NDArray[np.float64], width: NDArray[np.float64]) -> None:
    for (a, b), w in zip(pairwise(path), width, strict=False):
        p, q = tuple(np.round(a).astype(int).tolist()), tuple(np.round(b).astype(int).tolist())
        cv2.line(mask, p, q, 255, max(1, round(float(w))), cv2.LINE_AA)


def polygon(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Mask of a random star-shaped polygon, smooth blob, rotated box or ellipse, (SIDE, SIDE) uint8."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    c, r = SIDE / 2, SIDE * 0.46
    kind = rng.integers(4)
    if kind == 0:
        n = int(rng.integers(3, 9))
        angle = np.sort(rng.uniform(0, 2 * np.pi, n))
        radius = r * rng.uniform(0.4, 1, n)
        _fill(mask, c + np.column_stack([np.cos(angle), np.sin(angle)]) * radius[:, None])
    elif kind == 1:
        angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
        radius = np.full(96, 0.7)
        for k in range(1, 6):
            radius += rng.normal(0, 0.22 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
        aspect = np.array([1, rng.uniform(0.35, 1)])
        _fill(
            mask, c + np.column_stack([np.cos(angle), np.sin(angle)]) * (r * np.clip(radius, 0.15, 1))[:, None] * aspect
        )
    else:
        half = np.array([r * rng.uniform(0.5, 1), r * rng.uniform(0.12, 1)]) * 0.72
        if kind == 2:
            corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
            corners[:, 0] *= 1 + corners[:, 1] / r * rng.uniform(-0.4, 0.4)
            corners += rng.normal(0, 3, corners.shape)
        else:
            angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
            corners = np.column_stack([np.cos(angle), np.sin(angle)]) * half * 1.3
        turn = rng.uniform(0, np.pi) if rng.random() < 0.5 else rng.normal(0, 0.05)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        _fill(mask, np.clip(c + corners @ rotation.T, 4, SIDE - 4))
    return mask


def assembly(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Mask of a made-up article: a body with legs, arms, handles or holes, mirrored as made things often are."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    c = SIDE / 2
    top, bottom = rng.uniform(10, 70), rng.uniform(80, 150)
    half = rng.uniform(15, 70)
    slant = rng.uniform(-0.3, 0.3) * half
    _fill(mask, np.array([[c - half, top], [c + half, top], [c + half + slant, bottom], [c - half - slant, bottom]]))
    for _ in range(int(rng.integers(1, 5))):
        kind = rng.integers(4)
        x, y = rng.uniform(0, 70), rng.uniform(10, 150)
        w, h = rng.uniform(3, 30), rng.uniform(5, 60)
        for side in (-1, 1):
            if kind == 0:
                end = np.array([c + side * (x + rng.normal(0, 1)), min(154, bottom + h)])
                _stroke(mask, np.array([[c + side * min(x, half), bottom - 2], end]), np.array([rng.uniform(3, 10)]))
            elif kind == 1:
                cv2.ellipse(mask, (int(c + side * x), int(y)), (int(w), int(h / 2)), 0, 0, 360, 255, -1, cv2.LINE_AA)
            elif kind == 2:
                cv2.rectangle(mask, (int(c + side * x - w), int(y)), (int(c + side * x + w), int(y + h / 2)), 255, -1)
            else:
                cv2.ellipse(mask, (int(c + side * x / 2), int(y)), (int(w / 2), int(h / 4)), 0, 0, 360, 0, -1)
    mask[:3] = mask[-3:] = 0
    mask[:, :3] = mask[:, -3:] = 0
    return mask


def thin(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Mask of something thin: parallel bars, a fence, a lattice, a branch or a cable."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    kind, width = rng.integers(4), rng.uniform(1.5, 10)
    if kind <= 1:
        gap = rng.uniform(14, 60)
        shift, turn = rng.uniform(0, gap), rng.uniform(0, np.pi) if rng.random() < 0.6 else np.pi / 2
        along = np.array([np.cos(turn), np.sin(turn)])
        across = np.array([-along[1], along[0]])
        for t in np.arange(-SIDE + shift, SIDE, gap):
            wobble = rng.normal(0, 0.04)
            way = along + across * wobble
            line = SIDE / 2 + np.array([across * t - way * SIDE, across * t + way * SIDE])
            _stroke(mask, line, np.array([width]))
            if kind == 1:
                line = SIDE / 2 + np.array([along * t - across * SIDE, along * t + across * SIDE])
                if rng.random() < 0.5:
                    _stroke(mask, line, np.array([width]))
    else:
        for _ in range(int(rng.integers(1, 5))):
            n, turn = 24, rng.uniform(0, 2 * np.pi)
            bend = np.cumsum(rng.normal(0, 0.16, n)) + turn
            step = rng.uniform(4, 8)
            path = rng.uniform(20, SIDE - 20, 2) + np.cumsum(np.column_stack([np.cos(bend), np.sin(bend)]) * step, 0)
            _stroke(mask, path, width * (np.linspace(1, 0.3, n) if kind == 2 else np.ones(n)))
    mask[:2] = mask[-2:] = 0
    mask[:, :2] = mask[:, -2:] = 0
    return mask


def hand(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Mask of a hand with its forearm, fingers spread, bent or closed, (SIDE, SIDE) uint8."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    palm = np.array([SIDE / 2, SIDE * 0.55])
    reach, spread = rng.uniform(15, 22), rng.uniform(0.1, 0.4)
    cv2.ellipse(
        mask, np.round(palm).astype(int).tolist(), (int(reach * 0.85), int(reach)), 0, 0, 360, 255, -1, cv2.LINE_AA
    )
    wrist = np.array([palm + np.array([0, reach * 0.4]), [palm[0] + rng.normal(0, 14), SIDE - 3]])
    _stroke(mask, wrist, np.array([reach * rng.uniform(1.1, 1.5)]))
    thick = reach * rng.uniform(0.32, 0.44)
    for finger in range(4):
        turn = (finger - 1.5) * spread + rng.normal(0, 0.06)
        length = reach * rng.uniform(0.5, 1.9) * (0.8 if finger == 3 else 1)
        root = palm + np.array([(finger - 1.5) * reach * 0.42, -reach * 0.7])
        bend = turn + rng.normal(0, 0.25)
        joint = root + length * 0.55 * np.array([np.sin(turn), -np.cos(turn)])
        tip = joint + length * 0.45 * np.array([np.sin(bend), -np.cos(bend)])
        _stroke(mask, np.array([root, joint, tip]), thick * np.array([1, 0.85]))
    side = palm + np.array([-reach * 0.8, 0])
    _stroke(
        mask,
        np.array([side, side + reach * -rng.uniform((0.1, 0.3), (0.8, 0.9))]),
        np.array([thick]),
    )
    mask[:2] = mask[-2:] = 0
    mask[:, :2] = mask[:, -2:] = 0
    either = mask if rng.random() < 0.5 else mask[:, ::-1]
    return np.ascontiguousarray(np.rot90(either, int(rng.choice(4, p=(0.4, 0.25, 0.1, 0.25)))))


def skin(rng: np.random.Generator) -> Image:
    """(SIDE, SIDE, 3) uint8 texture of skin, from dark to light, with a shadow across."""
    dark, light = np.array([62.0, 38, 30]), np.array([240.0, 198, 172])
    tone = dark + (light - dark) * rng.random() + rng.normal(0, 5, 3)
    shade = cv2.resize(rng.normal(1, 0.12, (5, 5)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 3, (SIDE, SIDE, 1))
    return np.asarray(np.clip(tone * shade[..., None] + grain, 0, 255), np.uint8)


def invent(rng: np.random.Generator, pictures: list[Image], kind: str) -> Sprite:
    """One invented sprite. `kind`: "shape" (polygons, blobs, made-up articles), "thin" or "hand"."""
    if kind == "hand":
        return from_rgba(skin(rng), np.asarray(hand(rng) / 255, np.float32), kind)
    while True:
        mask = thin(rng) if kind == "thin" else (polygon, assembly)[int(rng.integers(2))](rng)
        if (mask > 127).sum() > 60:
            break
    rgb = texture(rng, pictures, SIDE, SIDE)
    if kind == "thin" and rng.random() < 0.6:
        rgb = (rgb * rng.uniform(0.1, 0.7)).astype(np.uint8)
    if kind == "shape" and rng.random() < 0.4:
        # A second material on part of the object, so that one object is not always one colour.
        other, part = texture(rng, pictures, SIDE, SIDE), polygon(rng) > 127
        rgb = np.where(part[..., None], other, rgb)
    return from_rgba(rgb, np.asarray(mask / 255, np.float32), kind)
