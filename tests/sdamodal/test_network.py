"""The network is the published one: counts, names, shapes; the rows of table 4 differ where they should."""

import pytest

torch = pytest.importorskip("torch")

from amodal.core.errors import WeightsError  # noqa: E402
from amodal.methods.sdamodal.method import SDAmodalOptions  # noqa: E402
from amodal.methods.sdamodal.network import SDAmodalNet, aligned_corners, widths_of  # noqa: E402
from amodal.networks.checkpoints import at_trained_size, facts_of, read_checkpoint  # noqa: E402

TINY = {"channels": (8, 8, 4, 4), "widths": (4, 4, 4, 8, 8, 8), "reduced": 4}


def maps(layers, channels=(8, 8, 4, 4), sizes=(6, 12, 24, 24), batch=2):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, channels[i], sizes[i], sizes[i], generator=generator) for i in layers]


def test_parameters_and_tensors_of_the_paper():
    network = SDAmodalNet()
    assert sum(p.numel() for p in network.parameters()) == 15_911_074
    assert len(network.state_dict()) == 184


def test_512_in_512_out_with_the_features_of_stable_diffusion():
    network = SDAmodalNet().eval()
    features = maps(range(4), (1280, 1280, 640, 320), (24, 48, 96, 96), batch=1)
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 512, 512), features).shape == (1, 2, 512, 512)


def test_names_are_the_authors():
    names = set(SDAmodalNet(**TINY).state_dict())
    for head in (
        "inc.conv.conv",
        *(f"down{n}.mpconv.1.conv" for n in range(1, 6)),
        *(f"up{n}.conv.conv" for n in range(5)),
    ):
        for place in (0, 1, 3, 4):
            assert f"{head}.{place}.weight" in names
    assert {f"reduce_dim_{n}.{k}.weight" for n in range(4) for k in (0, 1)} <= names
    assert {"outc.conv.weight", "outc.conv.bias"} <= names


def test_widths_of_each_part():
    state = SDAmodalNet().state_dict()
    joined = {"up0": 1536, "up1": 768, "up2": 512, "up3": 128, "up4": 64}
    assert {name: state[f"{name}.conv.conv.0.weight"].shape[1] for name in joined} == joined
    assert widths_of(state) == {"widths": (32, 64, 128, 256, 512, 512), "reduced": 256}
    assert widths_of({"something.else": torch.zeros(1)}) == {}


@pytest.mark.parametrize("corners", [False, True])
def test_features_join_as_the_authors_join_them(corners):
    """Bilinear without aligned corners at all four sites (1/32, 1/16, 1/8, 1/4); with them for weights of the old rule."""
    torch.manual_seed(0)
    network = SDAmodalNet(**TINY, align_corners=corners).eval()
    seen = {}
    for n in range(4):
        network.get_submodule(f"up{n}").register_forward_pre_hook(lambda module, given, n=n: seen.update({n: given}))
    features = maps(range(4))
    with torch.inference_mode():
        network(torch.rand(2, 1, 64, 64), features)
        for n, feature in enumerate(features):
            site = seen[0][0] if n == 0 else seen[n - 1][1]
            reduced = network.get_submodule(f"reduce_dim_{n}")(feature)
            expected = torch.nn.functional.interpolate(reduced, site.shape[-2:], mode="bilinear", align_corners=corners)
            assert torch.equal(site[:, -TINY["reduced"] :], expected)


def test_weights_say_how_they_join(tmp_path):
    """The authors' files say nothing; those of amodal train before the rule was known have a task and no rule."""
    from safetensors.torch import save_file

    for name, facts, corners in (
        ("authors", {}, False),
        ("before", {"task": "sdamodal", "step": "9"}, True),
        ("now", {"task": "sdamodal", "step": "9", "align_corners": "false"}, False),
    ):
        save_file({"a": torch.zeros(1)}, tmp_path / f"{name}.safetensors", metadata=facts or None)
        assert aligned_corners(facts_of(tmp_path / f"{name}.safetensors")) is corners
    assert facts_of(tmp_path / "ckpt_SDAmodal.tar") == {}


def test_weights_say_the_size_of_their_crops(tmp_path):
    """What is given goes first, then what the file says, then the published size; what no crop can be is refused."""
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    for facts, given, size in (({"size": "96"}, None, 96), ({"size": "96"}, 64, 64), ({"task": "sdamodal"}, None, 512)):
        save_file({"a": torch.zeros(1)}, path, metadata=facts)
        options = SDAmodalOptions(weights=str(path), input_size=given)
        assert at_trained_size(options, 512) == options.model_copy(update={"input_size": size})
    for said in ("40", "none", "-32", "9" * 5000, ""):
        save_file({"a": torch.zeros(1)}, path, metadata={"size": said})
        with pytest.raises(WeightsError, match=r"trained on crops of .* pixels, which .* as the option input_size"):
            at_trained_size(SDAmodalOptions(weights=str(path)), 512)


@pytest.mark.parametrize("layers", [(0, 1, 2, 3), (1,), (2, 3)])
@pytest.mark.parametrize("final_skip", [True, False])
def test_ablations_of_table_4(layers, final_skip):
    network = SDAmodalNet(**TINY, layers=layers, final_skip=final_skip).eval()
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, 20:40, 20:40] = 1
    given = maps(layers)
    with torch.inference_mode():
        out = network(mask, given)
        other = network(mask, [value + 1 for value in given])
    assert out.shape == (2, 2, 64, 64)
    assert not torch.equal(out, other), "the features have no effect"
    assert (network.up4.conv.conv[0].in_channels == 8) is final_skip
    assert sorted(n for n, _ in network.named_children() if n.startswith("reduce")) == [
        f"reduce_dim_{n}" for n in layers
    ]


def test_the_fifth_skip_carries_the_full_resolution():
    """With everything below silenced, the mask still reaches the output through x1, and only with the skip."""
    changed = {}
    for final_skip in (True, False):
        torch.manual_seed(0)
        network = SDAmodalNet(**TINY, final_skip=final_skip).eval()
        with torch.inference_mode():
            for name, parameter in network.named_parameters():
                if name.startswith(("down", "reduce", "up0", "up1", "up2", "up3")):
                    parameter.zero_()
            mask = torch.zeros(1, 1, 64, 64)
            empty = network(mask, maps(range(4), batch=1))
            mask[:, :, 30:34, 30:34] = 1
            changed[final_skip] = not torch.equal(network(mask, maps(range(4), batch=1)), empty)
    assert changed == {True: True, False: False}


def test_a_lightning_module_around_the_network(tmp_path):
    """Its `state_dict` names the attribute that held the network before every tensor."""
    from safetensors.torch import save_file

    state = SDAmodalNet(**TINY).state_dict()
    torch.save({"state_dict": {f"model.{key}": value for key, value in state.items()}}, tmp_path / "last.ckpt")
    save_file({f"net.{key}": value for key, value in state.items()}, tmp_path / "last.safetensors")
    for name in ("last.ckpt", "last.ckpt", "last.safetensors"):  # the second time from the converted copy
        assert read_checkpoint(str(tmp_path / name))[1].keys() == state.keys()
