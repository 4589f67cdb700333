"""PCNet-M, the single-stage network, ASBU's parts and PCNet-C: published counts and numbers worked out by hand."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from amodal.methods.deocclusion.content import PartialConv, PartialConvUNet  # noqa: E402
from amodal.methods.deocclusion.network import (  # noqa: E402
    SingleStageNet,
    asbu_parts,
    mask_inputs,
    probabilities,
    widths_of,
)
from amodal.networks.resnet import normalise  # noqa: E402
from amodal.networks.unet import MaskUNet, boundary, xavier  # noqa: E402

TINY = (4, 4, 8, 8, 8)


def trainable(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def test_counts_of_the_paper():
    network = MaskUNet()
    assert trainable(network) == 3_352_002
    assert len(network.state_dict()) == 128
    with torch.inference_mode():
        assert network.eval()(torch.zeros(1, 2, 256, 256)).shape == (1, 2, 256, 256)
    assert trainable(PartialConvUNet()) == 25_782_959
    assert trainable(SingleStageNet().image_encoder) == 11_176_512  # ResNet-18 without its classifier
    assert SingleStageNet().up1.conv.conv[0].in_channels == 384 * 2


def test_single_stage_sees_the_picture():
    torch.manual_seed(0)
    network = SingleStageNet(TINY, (4, 4, 4, 8)).eval()
    assert widths_of(network.state_dict()) == {"widths": TINY, "image_widths": (4, 4, 4, 8)}
    mask = torch.zeros(1, 1, 64, 64)
    rgb = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert network(mask, rgb).shape == (1, 2, 64, 64)
        assert not torch.equal(network(mask, rgb), network(mask, rgb.flip(2)))
    assert SingleStageNet(TINY, (4, 4, 4, 8), final_skip=False)(mask, rgb).shape == (1, 2, 64, 64)


def test_boundary_by_hand():
    visible, eraser = torch.zeros(1, 1, 9, 12), torch.zeros(1, 1, 9, 12)
    visible[..., :4], eraser[..., 6:] = 1, 1
    # Grown by 2 the mask reaches column 5, the eraser column 4.
    expected = torch.zeros(9, 12)
    expected[:, 4:6] = 1
    assert torch.equal(boundary(visible, eraser)[0, 0], expected)
    assert torch.equal(mask_inputs("asbu", visible, eraser)[:, 1:], boundary(visible, eraser))
    assert torch.equal(mask_inputs("asbu-eraser", visible, eraser)[:, 1:], eraser)
    assert torch.equal(mask_inputs("pcnet-m", visible, eraser)[:, :1], visible)


def test_asbu_parts_by_hand():
    mu, sigma = asbu_parts(torch.tensor([0.0, 0.0]).view(1, 2, 1, 1))
    assert mu.item() == pytest.approx(0.5)
    assert sigma.item() == pytest.approx(np.log(2) + 1e-6)


def test_probabilities_of_both_kinds():
    torch.manual_seed(0)
    network = MaskUNet(2, TINY).eval()
    visible = np.zeros((2, 32, 32), bool)
    visible[:, 8:20, 8:20] = True
    eraser = np.roll(visible, 8, axis=2)
    given = torch.from_numpy(np.stack([visible, eraser], 1)).float()
    with torch.inference_mode():
        # One crop at a time, as `probabilities` does on a CPU: a batch may differ from it in the last bits.
        expected = torch.cat([network(one[None]).softmax(1)[:, 1] for one in given]).numpy()
    assert np.array_equal(probabilities(network, "pcnet-m", visible, eraser), expected)
    made = probabilities(network, "asbu", visible, eraser)
    assert made.shape == (2, 32, 32) and not np.array_equal(made, expected)


def test_normalised_by_hand():
    pixel = torch.tensor([[[[255, 0, 51]]]], dtype=torch.uint8)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    assert normalise(pixel)[0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-5)


def test_partial_convolution_equals_the_slow_way():
    """W (M x) / sum(M) + b over the window; zero, and unknown, where the window holds nothing known."""
    torch.manual_seed(0)
    layer = PartialConv(2, 3, 3, 2, bias=True)
    nn.init.normal_(layer.input_conv.bias)
    x = torch.randn(1, 2, 8, 8)
    known = torch.zeros(1, 1, 8, 8)
    known[..., 5:, 3:] = 1
    known = known.expand(-1, 2, -1, -1)
    with torch.inference_mode():
        out, reached = layer(x, known)
        padded, masks = F.pad(x, (1, 1, 1, 1)), F.pad(known, (1, 1, 1, 1))
        for row in range(4):
            for column in range(4):
                window = (slice(None), slice(None), slice(2 * row, 2 * row + 3), slice(2 * column, 2 * column + 3))
                count = masks[window].sum()
                for channel in range(3):
                    value = (layer.input_conv.weight[channel] * (padded * masks)[window][0]).sum()
                    expected = value / count + layer.input_conv.bias[channel] if count else torch.tensor(0.0)
                    assert out[0, channel, row, column].item() == pytest.approx(expected.item(), abs=1e-5)
                    assert reached[0, channel, row, column] == float(count > 0)


def test_xavier_has_the_papers_gain():
    network = xavier(MaskUNet(2, (32, 64, 64, 64, 64)))
    weight = network.down2.mpconv[1].conv[0].weight
    expected = 0.02 * np.sqrt(2 / (9 * 64 + 9 * 64))
    assert weight.std().item() == pytest.approx(expected, rel=0.05)
    assert not network.outc.conv.bias.any()
