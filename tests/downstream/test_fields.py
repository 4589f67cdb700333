"""Fields of density and colour: rendering against closed forms, gradients, fits to exact views, Score Distillation, resuming."""

import numpy as np
import pytest
import torch

from amodal.core.errors import DataError, OutputError
from amodal.downstream.reconstruction.bake import bake
from amodal.downstream.reconstruction.field import VoxelField, rays, visual_hull
from amodal.downstream.reconstruction.multiview import MultiviewOptions, as_seen, fit_views
from amodal.downstream.reconstruction.optimise import StateFile, optimise
from amodal.downstream.reconstruction.sds import distillation, distillation_gradient
from amodal.downstream.views.protocol import Denoiser, RelativeCamera, studio
from downstream_shapes import ball, cube, fibonacci, shown, volume_iou


def test_rendering_of_a_uniform_cube_is_beers_law():
    field = VoxelField(9)
    with torch.no_grad():
        field.grid[:, 0] = 0.3
        field.grid[:, 1:] = torch.tensor([2.0, 0.0, -2.0])[:, None, None, None]
    origins = torch.tensor([[0.1, 0.2, 3.0], [0.1, 0.2, 3.0], [2.0, 2.0, 3.0]])
    directions = torch.tensor([[0.0, 0, -1], [0, 0, 1], [0, 0, -1]])
    colours, opacities = field.render(origins, directions)
    expected = 1 - np.exp(-np.log1p(np.exp(0.3)) / field.pitch)  # the cube's side is 1
    assert opacities.tolist() == pytest.approx([expected, 0, 0], abs=1e-5)  # through it, away from it, beside it
    tone = 1 / (1 + np.exp(-2.0))
    assert colours[0, 0].item() == pytest.approx(tone * expected + 1 - expected, abs=1e-5)
    assert colours[1].tolist() == [1, 1, 1]


def test_gradient_of_rendering_against_differences():
    torch.manual_seed(0)
    field = VoxelField(4).double()
    with torch.no_grad():
        field.grid += torch.randn_like(field.grid) + 5
    origins = torch.tensor([[0.05, 0.1, 2.0], [1.5, 0.2, 0.9]]).double()
    directions = torch.nn.functional.normalize(-origins + 0.1, dim=1)

    def loss(grid):
        with torch.no_grad():
            field.grid.copy_(grid)
        colours, opacities = field.render(origins, directions)
        return (colours**2).sum() + opacities.sum()

    base = field.grid.detach().clone()
    (gradient,) = torch.autograd.grad(loss(base), field.grid)
    for place in ((0, 0, 1, 1, 1), (0, 2, 2, 1, 2), (0, 0, 2, 2, 1)):
        step = torch.zeros_like(base)
        step[place] = 1e-4
        difference = (loss(base + step) - loss(base - step)) / 2e-4
        assert gradient[place].item() == pytest.approx(difference.item(), abs=1e-6, rel=1e-4)


def test_cameras_of_the_field_are_those_of_the_renderer():
    """A ball off the middle is at the same pixels in the field's picture and in the mesh's."""
    field = VoxelField(25)
    line = torch.linspace(-0.5, 0.5, 25)
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    field.fill((x - 0.2) ** 2 + (y - 0.15) ** 2 + (z - 0.1) ** 2 < 0.15**2)
    mesh = ball(0.15, (0.2, 0.15, 0.1))
    for camera in (RelativeCamera(), RelativeCamera(20, 70), RelativeCamera(-10, 200, 0.3)):
        _, opacity = field.picture(studio(camera, 10, 48))
        _, seen = shown(mesh, studio(camera, 10, 48))
        got = opacity.detach().numpy() > 0.5
        assert (got & seen).sum() / (got | seen).sum() > 0.85
    origins, directions = rays(studio(RelativeCamera(), 0, 8))
    assert origins[0].tolist() == pytest.approx([0, 0, 1.5], abs=1e-6) and torch.allclose(
        directions.norm(dim=1), torch.ones(64)
    )


@pytest.mark.parametrize("make", [ball, cube], ids=["ball", "cube"])
def test_shapes_come_back_from_exact_views(make):
    truth = make()
    cameras = fibonacci(14, 40)
    pictures, masks = zip(*(shown(truth, camera) for camera in cameras), strict=True)
    options = MultiviewOptions(cells=24, steps=20, rate=0.3, rays=1024, agree=1.0)
    field = fit_views(np.stack(pictures), np.stack(masks), cameras, options, device="cpu")
    mesh = field.mesh()
    assert volume_iou(mesh, truth) > 0.9
    right, left = (shown(mesh, studio(RelativeCamera(0, turn), 0, 32))[0][16, 16].astype(int) for turn in (90, 270))
    assert right[0] > left[0] + 50 and left[2] > right[2] + 50  # red to the right, blue to the left


def test_empty_views_are_told():
    cameras = fibonacci(2, 8)
    empty = np.zeros((2, 8, 8), bool)
    with pytest.raises(DataError, match="no common object"):
        fit_views(
            np.full((2, 8, 8, 3), 255, np.uint8), empty, cameras, MultiviewOptions(cells=8, steps=1), device="cpu"
        )
    with pytest.raises(DataError, match="no surface"):
        VoxelField(8).mesh()
    hull = visual_hull(torch.ones(1, 8, 8), [studio(RelativeCamera(), 0, 8)], 9)
    assert hull.max() == 1


class KnownObject(Denoiser):
    """Believes in one picture whatever the camera: its noise is what leads there."""

    size = 8
    device = torch.device("cpu")
    levels = torch.linspace(0.999, 0.01, 1000)

    def __init__(self, target: torch.Tensor) -> None:
        self.target = target

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures * 2 - 1

    def noise(self, noisy, time, cameras):
        kept = float(self.levels[time])
        return (noisy - kept**0.5 * self.target) / (1 - kept) ** 0.5


class Plain:
    elevation, elevations, size = 0.0, (-10.0, 60.0), 8


def test_distillation_gradient_in_closed_form():
    """With a denoiser that believes in x*, w(t)(predicted - noise) is w(t) sqrt(a / (1 - a)) (x - x*) for any noise."""
    generator = torch.Generator().manual_seed(0)
    target, latents, noise = torch.randn(3, 1, 3, 8, 8, generator=generator)
    model = KnownObject(target)
    time = 300
    kept = float(model.levels[time])
    predicted = model.noise(kept**0.5 * latents + (1 - kept) ** 0.5 * noise, time, [])
    gradient = distillation_gradient(predicted, noise, kept)
    expected = (1 - kept) * (kept / (1 - kept)) ** 0.5 * (latents - target)
    assert torch.allclose(gradient, expected, atol=1e-4)


def test_distillation_reaches_the_field_and_pulls_it_to_what_the_model_believes():
    target = torch.full((1, 3, 8, 8), 1.0)  # an empty, white picture
    field = VoxelField(8)
    field.fill(torch.ones(8, 8, 8))
    model = KnownObject(target)

    def loss(step, chance):
        return distillation(field, model, Plain, (0.2, 0.8), chance)

    optimise(field, loss, 30, rate=0.5)
    shown, _ = field.picture(studio(RelativeCamera(), 0, 8))
    assert shown.min() > 0.9  # the grey field has become white or thin


def test_a_fit_goes_on_where_it_was_stopped(tmp_path):
    def make():
        field = VoxelField(6)
        field.fill(torch.ones(6, 6, 6))
        return field

    def loss(field):
        return lambda step, chance: ((field.grid - torch.randn(field.grid.shape, generator=chance)) ** 2).mean()

    whole = make()
    optimise(whole, loss(whole), 12, seed=4)
    state = StateFile(tmp_path / "fit.safetensors", {"a": 1})

    def stop(what, done, total):
        if done == 7:
            raise KeyboardInterrupt

    stopped = make()
    with pytest.raises(KeyboardInterrupt):
        optimise(stopped, loss(stopped), 12, seed=4, state=state, progress=stop)
    assert state.path.is_file()
    with pytest.raises(OutputError, match="state of another fit"):
        optimise(make(), loss(stopped), 12, seed=4, state=StateFile(state.path, {"a": 2}))
    steps = []
    resumed = make()
    optimise(resumed, loss(resumed), 12, seed=4, state=state, progress=lambda *args: steps.append(args[1]))
    assert steps[0] == 8 and torch.allclose(resumed.grid, whole.grid, atol=1e-6) and not state.path.exists()


def test_baked_colours_are_those_of_space():
    truth = cube()
    mesh = bake(
        np.asarray(truth.vertices),
        np.asarray(truth.faces),
        lambda points: np.rint((points + 0.5) * 255).astype(np.uint8),
    )
    picture, seen = shown(mesh, studio(RelativeCamera(), 0, 33))
    assert seen[16, 16] and np.abs(picture[16, 16].astype(int) - [128, 128, 217]).max() < 12  # the face at z = 0.35


def test_meshes_are_returned_as_the_camera_saw_them():
    """An upright mesh is turned so that the input's camera, 30 degrees above it, looks along its z axis."""
    marked = ball(0.1, (0.0, 0.25, 0.433))  # towards a camera at elevation 30
    turned = as_seen(marked, 30.0, "x")
    assert turned.notes["lifter"] == "x"
    assert shown(turned, studio(RelativeCamera(), 0, 16))[1][8, 8]
