"""Furniture and household things made of boxes, cylinders and turned profiles, all different, in metres, standing on z = 0."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ...geometry.mesh import Floats, Material, Mesh, Surface
from ..composites.shapes import texture
from ..composites.sprites import Image

TEXTURE = 128
"""Side of every texture, pixels."""


class Builder:
    """Collects the parts of one article; each material is one texture.

    Args:
        rng: Source of all chance.
        pictures: Pictures that textures are cut from.
        palette: Materials that the things of one room have in common; may be empty.
    """

    def __init__(self, rng: np.random.Generator, pictures: list[Image], palette: Sequence[Material] = ()) -> None:
        self.rng, self.pictures, self.palette = rng, pictures, palette
        self.parts: list[tuple[Floats, Floats, int]] = []
        self.materials: list[Material] = []

    def material(self) -> int:
        """A random material, mostly one of the palette; returns its number."""
        if self.palette and self.rng.random() < 0.7:
            self.materials.append(self.palette[int(self.rng.integers(len(self.palette)))])
        else:
            self.materials.append(painted(texture(self.rng, self.pictures, TEXTURE, TEXTURE)))
        return len(self.materials) - 1

    def books(self) -> int:
        """A material that looks like rows of coloured goods on a shelf."""
        canvas = np.zeros((TEXTURE, TEXTURE, 3), np.uint8)
        rows, columns = int(self.rng.integers(2, 6)), int(self.rng.integers(3, 12))
        for r in range(rows):
            for c in range(columns):
                y0, y1 = r * TEXTURE // rows + 3, (r + 1) * TEXTURE // rows - int(self.rng.integers(0, 6))
                x0, x1 = c * TEXTURE // columns, (c + 1) * TEXTURE // columns - int(self.rng.integers(0, 3))
                canvas[y0:y1, x0:x1] = self.rng.uniform(0, 255, 3)
        if self.rng.random() < 0.5:
            picture = self.pictures[self.rng.integers(len(self.pictures))]
            canvas = cv2.addWeighted(canvas, 0.5, cv2.resize(picture, (TEXTURE, TEXTURE)), 0.5, 0)
        self.materials.append(painted(canvas))
        return len(self.materials) - 1

    def add(self, corners: Floats, uv: Floats, material: int) -> None:
        """Add triangles (F, 3, 3) with texture coordinates (F, 3, 2)."""
        self.parts.append((corners, uv, material))

    def box(
        self,
        low: tuple[float, float, float],
        high: tuple[float, float, float],
        material: int,
        tilt: float = 0.0,
        lean: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """A box between two corners; `tilt` turns it about the x axis, `lean` shifts its top in x and y."""
        a, b = np.array(low, float), np.array(high, float)
        unit = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
        points = a + unit * (b - a)
        points[:, :2] += unit[:, 2:] * np.array(lean)
        if tilt:
            middle = points.mean(0)
            c, s = np.cos(tilt), np.sin(tilt)
            points = (points - middle) @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]]) + middle
        quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        size = b - a
        for axis, quad in zip((0, 0, 1, 1, 2, 2), quads, strict=True):
            u, v = [i for i in range(3) if i != axis]
            at = unit[list(quad)][:, [u, v]] * np.maximum(size[[u, v]], 0.05)
            at = at[:, ::-1] if axis == 0 and u == 2 else at
            at[:, 1] = -at[:, 1]
            for i, j, k in ((0, 1, 2), (0, 2, 3)):
                self.add(
                    points[[quad[i], quad[j], quad[k]]][None], at[[i, j, k]][None] / max(size.max(), 0.05), material
                )

    def turned(
        self,
        profile: Floats,
        at: tuple[float, float],
        material: int,
        sides: int = 14,
        lean: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """A surface of revolution: `profile` (n, 2) of radius and height about the vertical through `at`."""
        angle = np.linspace(0, 2 * np.pi, sides + 1)
        ring = np.stack([np.cos(angle), np.sin(angle)], -1)
        height = profile[:, 1] - profile[0, 1]
        shift = np.asarray(at) + np.outer(height / max(height[-1], 1e-6), lean)
        points = np.empty((len(profile), sides + 1, 3))
        points[..., :2] = profile[:, 0, None, None] * ring + shift[:, None]
        points[..., 2] = profile[:, 1, None]
        uv = np.stack(
            np.broadcast_arrays(np.linspace(0, 2, sides + 1)[None], -(height / max(height[-1], 0.05))[:, None]), -1
        )
        p00, p01, p10, p11 = points[:-1, :-1], points[:-1, 1:], points[1:, :-1], points[1:, 1:]
        t00, t01, t10, t11 = uv[:-1, :-1], uv[:-1, 1:], uv[1:, :-1], uv[1:, 1:]
        for tri, tex in (((p00, p01, p11), (t00, t01, t11)), ((p00, p11, p10), (t00, t11, t10))):
            self.add(np.stack(tri, 2).reshape(-1, 3, 3), np.stack(tex, 2).reshape(-1, 3, 2), material)

    def rod(
        self, low: tuple[float, float, float], high: tuple[float, float, float], radius: float, material: int
    ) -> None:
        """A straight leg or post between two points."""
        profile = np.array([[radius, low[2]], [radius, high[2]], [1e-3, high[2]]])
        self.turned(profile, (low[0], low[1]), material, 8, (high[0] - low[0], high[1] - low[1]))

    def mesh(self) -> Mesh:
        """The finished article."""
        corners = np.concatenate([c for c, _, _ in self.parts])
        kinds = np.concatenate([np.full(len(c), m, np.int32) for c, _, m in self.parts])
        uv = np.concatenate([u for _, u, _ in self.parts]).astype(np.float32)
        uv[..., 1] = 1 - uv[..., 1]  # the parts count v downwards
        surface = Surface(tuple(self.materials), kinds, uv)
        return Mesh(corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3), surface)


def painted(picture: Image) -> Material:
    """A material that looks like the picture."""
    return Material((1.0, 1.0, 1.0), picture)


def table(b: Builder) -> None:
    """A top on legs, side panels or one post; sometimes closed at the front like a counter."""
    r = b.rng
    w, d, h = r.uniform(0.5, 3.6), r.uniform(0.4, 1.4), r.uniform(0.4, 1.1)
    t = r.uniform(0.02, 0.12)
    top, leg = b.material(), b.material()
    kind = r.integers(4)
    if r.random() < 0.25:
        b.turned(np.array([[1e-3, h - t], [w / 2, h - t], [w / 2, h], [1e-3, h]]), (0, 0), top, 22)
        b.rod((0, 0, 0), (0, 0, h - t), r.uniform(0.03, 0.12), leg)
        b.turned(np.array([[w / 4, 0], [w / 4, 0.03], [1e-3, 0.05]]), (0, 0), leg)
        return
    b.box((-w / 2, -d / 2, h - t), (w / 2, d / 2, h), top)
    inset = r.uniform(0, 0.15)
    if kind <= 1:
        radius = r.uniform(0.015, 0.06)
        for x in (-1, 1):
            for y in (-1, 1):
                foot = (x * (w / 2 - radius), y * (d / 2 - radius), 0.0)
                head = (x * (w / 2 - radius - inset * w / 2), y * (d / 2 - radius - inset * d / 2), h - t)
                if kind:
                    b.rod(foot, head, radius, leg)
                else:
                    b.box((foot[0] - radius, foot[1] - radius, 0), (foot[0] + radius, foot[1] + radius, h - t), leg)
        if r.random() < 0.3:
            b.box((-w / 2 + 0.05, -d / 2 + 0.05, 0.15), (w / 2 - 0.05, d / 2 - 0.05, 0.18), top)
    else:
        p = r.uniform(0.02, 0.1)
        for left in (-w / 2 + inset, w / 2 - inset - p):
            b.box((left, -d / 2, 0), (left + p, d / 2, h - t), leg)
        if kind == 3:
            b.box(
                (-w / 2 + inset, -d / 2, r.uniform(0, 0.3)),
                (w / 2 - inset, -d / 2 + p, h - t),
                leg if r.random() < 0.5 else b.books(),
            )


def stool(b: Builder) -> None:
    """A seat on three or four slanted legs, sometimes with a ring, sometimes with a back."""
    r = b.rng
    h, radius = r.uniform(0.4, 1.0), r.uniform(0.13, 0.3)
    seat, leg = b.material(), b.material()
    square = r.random() < 0.5
    t = r.uniform(0.02, 0.1)
    if square:
        b.box((-radius, -radius, h - t), (radius, radius, h), seat)
    else:
        b.turned(np.array([[1e-3, h - t], [radius, h - t], [radius, h], [1e-3, h]]), (0, 0), seat, 18)
    n, start = (4, np.pi / 4) if square else (int(r.integers(3, 5)), r.uniform(0, 2))
    splay, thick = r.uniform(0.9, 1.6), r.uniform(0.01, 0.03)
    reach = radius * (1.2 if square else 0.75)
    feet = []
    for k in range(n):
        c, s = np.cos(start + 2 * np.pi * k / n), np.sin(start + 2 * np.pi * k / n)
        b.rod((c * reach * splay, s * reach * splay, 0), (c * reach, s * reach, h - t), thick, leg)
        feet.append((c * reach * (splay + 1) / 2, s * reach * (splay + 1) / 2))
    if r.random() < 0.6:
        z, ring = h * r.uniform(0.25, 0.5), float(np.hypot(*feet[0]))
        b.turned(
            np.array(
                [
                    [ring - thick, z],
                    [ring + thick, z],
                    [ring + thick, z + 2 * thick],
                    [ring - thick, z + 2 * thick],
                    [ring - thick, z],
                ]
            ),
            (0, 0),
            leg,
            18,
        )
    if r.random() < 0.45:
        top = h + r.uniform(0.25, 0.6)
        lean = (0.0, -r.uniform(0, 0.12))
        if r.random() < 0.5:
            b.box((-radius, -radius, h), (radius, -radius + 0.03, top), seat, lean=lean)
        else:
            for x in (-radius * 0.8, radius * 0.8):
                b.rod((x, -radius * 0.8, h - t), (x, -radius * 0.8 + lean[1], top), thick, leg)
            for z in np.linspace(h + 0.15, top, int(r.integers(1, 4))):
                b.box(
                    (-radius * 0.85, -radius * 0.85 + lean[1] * 0.7, z - 0.06),
                    (radius * 0.85, -radius * 0.8 + lean[1] * 0.7 + 0.02, z),
                    seat,
                )


def shelf(b: Builder) -> None:
    """A case with boards and rows of things; low and long or tall; sometimes a plain cabinet or crate."""
    r = b.rng
    w, d, h = r.uniform(0.4, 2.8), r.uniform(0.25, 0.9), r.uniform(0.4, 2.2)
    frame = b.material()
    if r.random() < 0.35:
        b.box((-w / 2, -d / 2, 0), (w / 2, d / 2, h), b.books() if r.random() < 0.5 else frame)
        if r.random() < 0.5:
            b.box((-w / 2 - 0.03, -d / 2 - 0.03, h), (w / 2 + 0.03, d / 2 + 0.03, h + 0.05), b.material())
        return
    p = r.uniform(0.015, 0.05)
    boards = int(r.integers(2, 6))
    slope = r.uniform(-0.4, 0) * d if r.random() < 0.2 else 0.0
    for x in (-w / 2, w / 2 - p):
        b.box((x, -d / 2, 0), (x + p, d / 2, h), frame, lean=(0, slope))
    back = r.random() < 0.6
    if back:
        b.box((-w / 2, d / 2 - p, 0), (w / 2, d / 2, h), frame)
    goods = [b.books(), b.material(), b.material()]
    for k in range(boards + 1):
        z = h * k / boards
        b.box((-w / 2, -d / 2 + slope * z / h, z - p / 2), (w / 2, d / 2, z + p / 2), frame)
        if k == boards and r.random() < 0.5:
            continue
        x = -w / 2 + p
        while x < w / 2 - 0.1:
            width, gap = r.uniform(0.08, 0.5), r.uniform(0, 0.15)
            tall = h / boards * r.uniform(0.3, 0.85)
            if r.random() < 0.8:
                b.box(
                    (x, -d / 2 + 0.03, z + p / 2),
                    (min(x + width, w / 2 - p), d / 2 - p, z + tall),
                    int(r.choice(goods)),
                )
            x += width + gap


def pile(b: Builder) -> None:
    """Books, boxes or cartons on one another."""
    r = b.rng
    w, d, z = r.uniform(0.12, 0.7), r.uniform(0.1, 0.6), 0.0
    for _ in range(int(r.integers(1, 7))):
        t = r.uniform(0.02, 0.3)
        x, y = r.normal(0, 0.02, 2)
        b.box((x - w / 2, y - d / 2, z), (x + w / 2, y + d / 2, z + t), b.books() if r.random() < 0.2 else b.material())
        z += t
        w, d = w * r.uniform(0.75, 1.05), d * r.uniform(0.75, 1.05)


def vessel(b: Builder) -> None:
    """A bottle, vase, lamp, bin, column or plant pot: a turned profile, sometimes with a crown of leaves."""
    r = b.rng
    h, radius = r.uniform(0.15, 1.8), r.uniform(0.05, 0.35)
    n = int(r.integers(2, 7))
    z = np.sort(np.concatenate([[0, h], r.uniform(0, h, n)]))
    rad = radius * r.uniform(0.25, 1, n + 2)
    if r.random() < 0.4:
        rad = np.full(n + 2, radius) * np.linspace(1, r.uniform(0.5, 1.4), n + 2)
    profile = np.column_stack([np.concatenate([rad, [1e-3]]), np.concatenate([z, [h]])])
    b.turned(profile, (0, 0), b.material(), int(r.choice([4, 6, 16, 20])))
    if r.random() < 0.25:
        leaf = b.material()
        for _ in range(int(r.integers(5, 16))):
            angle, out, up = r.uniform(0, 2 * np.pi), r.uniform(0.1, 0.4), r.uniform(0.05, 0.6)
            b.box((-0.03, -0.01, h), (0.05, 0.01, h + up), leaf, lean=(out * np.cos(angle), out * np.sin(angle)))


def screen(b: Builder) -> None:
    """A monitor, tablet on a stand, sign or picture board."""
    r = b.rng
    w, h, t = r.uniform(0.15, 1.4), r.uniform(0.12, 0.9), r.uniform(0.01, 0.06)
    lift = r.uniform(0.02, 1.0)
    panel, foot = b.material(), b.material()
    b.box((-w / 2, -t, lift), (w / 2, 0, lift + h), panel, tilt=r.uniform(-0.9, 0.3))
    if r.random() < 0.5:
        b.rod((0, 0.02, 0), (0, 0, lift + h / 2), r.uniform(0.01, 0.05), foot)
    else:
        b.box((-w / 6, 0, 0), (w / 6, 0.03, lift + h / 2), foot)
    b.box((-w * 0.35, -0.12, 0), (w * 0.35, 0.12, 0.015), foot)


def sofa(b: Builder) -> None:
    """A seat with a back and arms, or a bed."""
    r = b.rng
    w, d, h = r.uniform(0.7, 2.2), r.uniform(0.6, 2.0), r.uniform(0.25, 0.5)
    cloth, other = b.material(), b.material()
    b.box((-w / 2, -d / 2, 0.05), (w / 2, d / 2, h), cloth)
    b.box((-w / 2, d / 2 - 0.2, h), (w / 2, d / 2, h + r.uniform(0.2, 0.7)), cloth if r.random() < 0.6 else other)
    if r.random() < 0.6:
        arm = r.uniform(0.1, 0.25)
        for x in (-w / 2, w / 2 - arm):
            b.box((x, -d / 2, h), (x + arm, d / 2, h + r.uniform(0.1, 0.3)), cloth)
    for _ in range(int(r.integers(0, 4))):
        x = r.uniform(-w / 2, w / 2 - 0.3)
        b.box((x, 0, h), (x + 0.35, d / 2 - 0.2, h + r.uniform(0.1, 0.35)), other)


LARGE = (table, table, shelf, shelf, sofa, stool, stool, pile, vessel, screen)
SMALL = (pile, pile, vessel, vessel, screen, stool)


def article(rng: np.random.Generator, pictures: list[Image], palette: Sequence[Material], small: bool = False) -> Mesh:
    """One random article; small ones are scaled to stand on a table. For `palette` see `Builder`."""
    b = Builder(rng, pictures, palette)
    kinds = SMALL if small else LARGE
    kinds[int(rng.integers(len(kinds)))](b)
    mesh = b.mesh()
    if small:
        extent = mesh.bounds[1] - mesh.bounds[0]
        mesh = mesh.moved(scale=float(rng.uniform(0.12, 0.5) / extent.max()))
    return mesh
