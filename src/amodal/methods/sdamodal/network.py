"""The network of SDAmodal: a U-Net over the visible mask whose skips also carry Stable Diffusion features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ...networks.unet import Down, Head, Stem, Up, join_at, reduce_to

__all__ = ["SDAmodalNet", "aligned_corners", "widths_of"]

WIDTHS = (32, 64, 128, 256, 512, 512)
CHANNELS = (1280, 1280, 640, 320)
REDUCED = 256
LEVELS = 6


class SDAmodalNet(nn.Module):
    """Visible mask and diffusion features to two classes (background, object).

    Feature i joins encoder level 6 - i: feature 0 the lowest level (1/32), feature 3 the level at 1/4. With the default
    arguments it has 15,911,074 parameters in 184 tensors, and the tensors have the names of the authors' checkpoint.

    Args:
        channels: of the features, by up-block of the diffusion UNet.
        layers: which features are joined, ascending; all four in the paper ("multi-scale"), (1,) for the single-layer
            rows B and E of table 4. Each feature keeps its own place.
        final_skip: the fifth skip, at full resolution; False for rows B and C of table 4.
        widths: channels of the six encoder levels.
        reduced: channels to which each feature is reduced.
        align_corners: how features are resized to their site. The authors do not align corners; this project did until its
            weights files said which rule they were trained with (`aligned_corners`).
    """

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS,
        layers: Sequence[int] = (0, 1, 2, 3),
        final_skip: bool = True,
        widths: Sequence[int] = WIDTHS,
        reduced: int = REDUCED,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.final_skip = final_skip
        self.align_corners = align_corners
        self.inc = Stem(1, widths[0])
        for level in range(1, LEVELS):
            self.add_module(f"down{level}", Down(widths[level - 1], widths[level]))
        for layer in self.layers:
            self.add_module(f"reduce_dim_{layer}", reduce_to(channels[layer], reduced))
        out = widths[5] + (reduced if 0 in self.layers else 0)
        ups = (widths[3], widths[2], widths[1], widths[0], widths[0])
        for number, width in enumerate(ups):
            skip = widths[4 - number] + (reduced if number + 1 in self.layers else 0)
            if number == 4 and not final_skip:
                skip = 0
            self.add_module(f"up{number}", Up(out + skip, width))
            out = width
        self.outc = Head(out, 2)

    def forward(self, visible: Tensor, features: Sequence[Tensor]) -> Tensor:
        """The logits of both classes.

        Args:
            visible: (B, 1, S, S) float, 1 on the visible object; S a multiple of 32 (512 in the paper).
            features: one (B, channels, s, s) per layer of `layers`, in that order, cropped like the mask.

        Returns:
            (B, 2, S, S).
        """
        levels = [self.inc(visible)]
        for level in range(1, LEVELS):
            levels.append(self.get_submodule(f"down{level}")(levels[-1]))
        for layer, feature in zip(self.layers, features, strict=True):
            reduced = self.get_submodule(f"reduce_dim_{layer}")(feature)
            levels[5 - layer] = join_at(levels[5 - layer], reduced, self.align_corners)
        x = levels[5]
        for number in range(5):
            skip = levels[4 - number] if number < 4 or self.final_skip else None
            x = self.get_submodule(f"up{number}")(x, skip)
        out: Tensor = self.outc(x)
        return out


def aligned_corners(facts: Mapping[str, str]) -> bool:
    """Whether weights were trained with aligned corners, from the metadata of their file.

    `align_corners` says it. Files that `amodal train` wrote before it said so were trained with aligned corners; files of the
    authors, and those converted from them, were not.
    """
    return facts.get("align_corners", str(facts.get("task") == "sdamodal")).lower() == "true"


def widths_of(tensors: Mapping[str, Tensor]) -> dict[str, object]:
    """The arguments `widths` and `reduced` of the network that a checkpoint was made for; {} if it is of another kind."""
    names = ["inc.conv.conv.0.weight", *(f"down{level}.mpconv.1.conv.0.weight" for level in range(1, LEVELS))]
    reducers = [name for name in tensors if name.startswith("reduce_dim_") and name.endswith(".0.weight")]
    if not reducers or any(name not in tensors for name in names):
        return {}
    return {"widths": tuple(len(tensors[name]) for name in names), "reduced": len(tensors[reducers[0]])}
