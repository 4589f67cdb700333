"""Opening pictures: plain files of known formats and bounded size, whose every fault is an `ImageError`; and their colours.

The formats are a list of our own (`FORMATS`), since a library that opens whatever it knows starts other programs for some:
EPS runs Ghostscript.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import AmodalError, ImageError, reason_of
from .extras import install
from .files import open_regular
from .remarks import remark

if TYPE_CHECKING:
    from PIL import Image as PILImage

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "SUFFIXES",
    "Source",
    "is_picture",
    "load_upright",
    "name_of",
    "open_picture",
    "orientation",
    "split_colours",
]

Source = str | os.PathLike[str] | bytes | BinaryIO
"""Where a picture comes from: a path, a file's bytes or an open binary file."""
MAX_PIXELS = 100_000_000
"""Pictures above this many pixels are refused: a small file can unpack to gigabytes."""
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WebP", "JPEG 2000", "AVIF")
"""What is opened, anywhere; HEIF as well where pillow-heif (the extra `heif`) is installed. They are tried in this order: Pillow
loads every format that it knows, which takes 40 ms, when it meets one that is not among its first five."""
HEIF = find_spec("pillow_heif") is not None
SUFFIXES = (
    *(
        ".apng",
        ".avif",
        ".avifs",
        ".bmp",
        ".dib",
        ".gif",
        ".j2c",
        ".j2k",
        ".jfif",
        ".jif",
        ".jp2",
        ".jpc",
        ".jpe",
        ".jpeg",
        ".jpf",
    ),
    *(".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".pjp", ".pjpeg", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    *((".heic", ".heif") if HEIF else ()),
)
"""The endings by which a file of a folder is taken for a picture: those that `read` can read here."""
WIDE = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
"""Modes of one channel of more than 8 bits."""
STRIP = 1 << 22
"""Pixels converted at once, so that large pictures cost little more than themselves."""


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file of a folder is taken for a picture: its ending is one of `SUFFIXES`, and it is not hidden."""
    path = Path(path)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def name_of(source: object) -> str:
    """What to call a picture in a text: its path, if it has one."""
    return str(source) if isinstance(source, str | os.PathLike) else "the given picture"


@contextmanager
def open_picture(source: Source) -> Iterator[PILImage.Image]:
    """A picture of a known format, opened but not yet decoded; size and kind are known.

    Raises:
        ImageError: absent, no plain file, empty, of no known format, damaged, or above `MAX_PIXELS`.
    """
    name = name_of(source)
    with ExitStack() as stack:
        if isinstance(source, str | os.PathLike):
            try:
                file: BinaryIO = stack.enter_context(open_regular(source, ImageError))  # type: ignore[assignment]
            except ImageError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    raise ImageError(f"there is no file {name}") from error
                raise
        else:
            file = io.BytesIO(source) if isinstance(source, bytes) else source
        with _decoding(name):
            picture = stack.enter_context(_identify(file, name))
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise ImageError(
                f"{name} is {width} x {height}, above the limit of {MAX_PIXELS / 1e6:.0f} megapixels; scale it down first"
            )
        yield picture


def _identify(file: BinaryIO, name: str) -> PILImage.Image:
    from PIL import Image as PILImage
    from PIL import UnidentifiedImageError

    formats = [kind.upper().replace(" ", "") for kind in FORMATS if kind != "AVIF" or find_spec("PIL.AvifImagePlugin")]
    head = file.read(12)
    file.seek(0)
    if not head:
        raise ImageError(f"{name} is empty (0 bytes)")
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"):
        if not HEIF:
            raise ImageError(f"{name} is HEIC, which needs pillow-heif; run: {install('heif')}")
        import pillow_heif

        pillow_heif.register_heif_opener()
        formats.append("HEIF")
    try:
        return PILImage.open(file, formats=formats)
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture that can be read ({', '.join(FORMATS)})") from error
    except PILImage.DecompressionBombError as error:
        raise ImageError(
            f"{name} unpacks to more than {MAX_PIXELS / 1e6:.0f} megapixels; scale it down first"
        ) from error


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Whatever a decoder raises on a damaged file (SyntaxError, struct.error, zlib.error, MemoryError ...) as ours."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    except Exception as error:
        if isinstance(error, AmodalError):
            raise
        raise ImageError(f"{name} is damaged or cut short: {reason_of(error)}") from error


def load_upright(picture: PILImage.Image, name: str) -> PILImage.Image:
    """Decode now, so that a broken file fails here, and turn by the EXIF rotation. Of several frames the first is taken.

    Raises:
        ImageError: damaged or cut short.
    """
    from PIL import ImageOps
    from PIL.Image import fromarray

    with _decoding(name):
        animated = picture.format != "MPO" and getattr(picture, "is_animated", False)  # MPO: a photo and its preview
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        upright.load()
        if picture.format == "TIFF" and upright.mode.startswith("I;16") and picture.tag_v2.get(262) == 0:  # type: ignore[attr-defined]
            upright = fromarray(
                65535 - np.asarray(upright)
            )  # white is 0: with 8 bits Pillow inverts, with 16 it does not
    if animated:
        remark(f"{name} has several frames; the first one is used", stacklevel=3)
    return upright


def stored_size(picture: PILImage.Image) -> tuple[int, int]:
    """(width, height) of an opened picture as its file has it, before EXIF turns it; Pillow turns a TIFF's size when it opens it."""
    if picture.format == "TIFF":
        tags: Any = picture.tag_v2  # type: ignore[attr-defined]
        return int(tags[256]), int(tags[257])
    return picture.size


def orientation(picture: PILImage.Image, name: str) -> int:
    """EXIF's orientation of an opened picture, 1 (upright) where it says none. Raises ImageError for damaged EXIF."""
    with _decoding(name):
        return int(picture.getexif().get(0x0112, 1))


def split_colours(picture: PILImage.Image, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """A decoded picture of any mode as sRGB (H, W, 3) uint8 and its alpha (H, W) uint8, or None without one.

    An embedded profile (ICC) is applied, relative colorimetric with black point compensation. 16-bit values are scaled from
    0..65535, float ones from 0..1 (or 0..255, 0..65535 by their maximum); those that are no finite numbers are read as black,
    with a warning. CMYK without a profile is converted plainly, with a warning.

    Raises:
        ImageError: values out of range, or a conversion that fails.
    """
    width, height = picture.size
    out = np.empty((height, width, 3), np.uint8)
    alpha: NDArray[np.uint8] | None = None
    with _decoding(name):
        narrow = _narrowing(picture, name) if picture.mode in WIDE else None
        convert = _profile_of(picture, name)
        rows = max(1, STRIP // width)
        for top in range(0, height, rows):
            strip = picture.crop((0, top, width, min(top + rows, height)))
            if narrow is not None:
                if isinstance(clear := strip.info.get("transparency"), int):
                    alpha = np.full((height, width), 255, np.uint8) if alpha is None else alpha
                    alpha[top : top + rows][np.asarray(strip) == clear] = 0
                strip = narrow(strip)
            elif strip.mode in ("La", "RGBa"):
                strip = strip.convert({"La": "LA", "RGBa": "RGBA"}[strip.mode])
            if strip.mode in ("P", "PA") or "transparency" in strip.info:
                strip = strip.convert("RGBA" if strip.has_transparency_data else "RGB")
            if strip.mode in ("RGBA", "LA"):
                alpha = np.full((height, width), 255, np.uint8) if alpha is None else alpha
                alpha[top : top + rows] = np.asarray(strip.getchannel("A"))
                strip = strip.convert(strip.mode[:-1])
            out[top : top + rows] = np.asarray(convert(strip).convert("RGB"))
    return out, alpha


def _narrowing(picture: PILImage.Image, name: str) -> Callable[[PILImage.Image], PILImage.Image]:
    """What turns a strip of a wide mode into 8-bit grey, by the range of the whole picture."""
    from PIL import Image as PILImage

    values = np.asarray(picture)
    if values.dtype.kind == "f":
        broken = int(np.count_nonzero(~np.isfinite(values)))
        finite = np.isfinite(values)
        low, high = (float(of(values, where=finite, initial=0)) for of in (np.min, np.max))
        if broken:
            remark(f"{name} has {broken} values that are no finite numbers; they are read as black", stacklevel=5)
        top = scale_of(low, high)
        if top is None:
            raise ImageError(
                f"{name} holds values from {low:g} to {high:g}; float pictures must be in 0..1, 0..255 or 0..65535"
            )
    else:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise ImageError(f"{name} holds values from {low} to {high}; grey pictures must be 8 or 16 bit")
        top = 65535 if values.dtype.itemsize == 2 or high > 255 or picture.format == "PPM" else 255
    if top > 1 and 0 < high < top / 10:
        remark(f"{name} holds values up to {high:g}, which are taken in 0..{top}; it is dark", stacklevel=5)

    def narrow(strip: PILImage.Image) -> PILImage.Image:
        grey = np.nan_to_num(np.asarray(strip, np.float32), posinf=0, neginf=0) * np.float32(255 / top)
        return PILImage.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))

    return narrow


def scale_of(low: float, high: float) -> int | None:
    """The full scale of float values from `low` to `high`: 1, 255 or 65535, which they may leave by a tenth, as rounding and
    interpolation do. None where they are on no such scale."""
    top = next((top for top in (1, 255, 65535) if high <= 1.1 * top), None)
    return None if top is None or low < -0.1 * top else top


SPACES = {
    "RGB": ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA"),
    "CMYK": ("CMYK",),
    "GRAY": ("1", "L", "LA", "La", *WIDE),
    "Lab": ("LAB",),
}
"""Which modes a profile of a colour space can belong to."""


def _profile_of(picture: PILImage.Image, name: str) -> Callable[[PILImage.Image], PILImage.Image]:
    """What turns strips of the picture, without alpha, to sRGB by its embedded profile."""
    from PIL import ImageCms

    def plain(strip: PILImage.Image) -> PILImage.Image:
        return strip

    embedded = picture.info.get("icc_profile")
    target = ImageCms.createProfile("sRGB")
    if picture.mode == "LAB":
        source: Any = ImageCms.createProfile("LAB")
    elif not embedded:
        if picture.mode == "CMYK":
            remark(f"{name} is CMYK without a colour profile; its colours are converted roughly", stacklevel=4)
        return plain
    else:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
            space = source.profile.xcolor_space.strip()
        except (OSError, ImageCms.PyCMSError, ValueError, TypeError):
            space = "damaged"
        if picture.mode not in SPACES.get(space, ()):
            text = "is damaged" if space == "damaged" else f"is for {space}, its pixels are {picture.mode}"
            remark(f"the colour profile of {name} {text}; it is left out", stacklevel=4)
            return plain
    transforms: dict[str, ImageCms.ImageCmsTransform | None] = {}

    def convert(strip: PILImage.Image) -> PILImage.Image:
        if strip.mode not in transforms:
            base = "L" if strip.mode == "1" else strip.mode
            made = ImageCms.buildTransform(
                source,
                target,
                base,
                "RGB",
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            transforms[strip.mode] = None if _is_identity(made, base) else made
        transform = transforms[strip.mode]
        if transform is None:
            return strip
        return ImageCms.applyTransform(strip.convert("L") if strip.mode == "1" else strip, transform) or strip

    return convert


def _is_identity(transform: object, mode: str) -> bool:
    """Whether a transform to sRGB changes nothing but roundings: then the pixels stay as they are, byte for byte."""
    from PIL import Image as PILImage
    from PIL import ImageCms

    if mode not in ("L", "RGB"):
        return False
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(16, -1, 3) if mode == "RGB" else levels[None]
    patch = PILImage.fromarray(grid)
    before = np.asarray(patch.convert("RGB"), np.int16)
    after = np.asarray(ImageCms.applyTransform(patch, transform), np.int16)  # type: ignore[arg-type]
    return bool(np.abs(after - before).max() <= 2)
