"""One suite for every segmenter: GrabCut and the pocket network as they ship, the SAM networks as their real classes at tiny sizes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from amodal import Prompt
from amodal.core.errors import PromptError
from amodal.pipeline import Model
from amodal.plugins.protocols import Segmenter
from amodal.plugins.registry import create_inpainter, create_method, create_segmenter, names

ALL = ("grabcut", "pocket", "sam", "sam2", "sam3")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Segmenter]:
    shipped = {name: create_segmenter(name) for name in ("grabcut", "pocket")}
    return {**shipped, "root": tmp_path_factory.mktemp("sam")}  # type: ignore[dict-item]


@pytest.fixture(params=ALL)
def segmenter(request: pytest.FixtureRequest, made: dict[str, Segmenter]) -> Segmenter:
    kind = request.param
    if kind not in made:
        pytest.importorskip("transformers")
        import tiny_sam

        folder: Path = made["root"] / kind  # type: ignore[operator]
        made[kind] = create_segmenter(kind, {"model": str(getattr(tiny_sam, f"save_{kind}")(folder))}, "cpu")
    return made[kind]


def model(segmenter: Segmenter) -> Model:
    return Model(create_method("visible"), segmenter, create_inpainter("classical"))


def test_the_suite_knows_them_all() -> None:
    assert set(ALL) == set(names("segmenters"))


def test_same_prompt_same_mask_and_the_image_untouched(segmenter: Segmenter, photo: np.ndarray) -> None:
    before = photo.copy()
    masks = [model(segmenter).open(photo).segment(box=(25, 15, 95, 80)) for _ in range(2)]
    assert [p.mask for p in masks[0]] == [p.mask for p in masks[1]]
    assert np.array_equal(photo, before)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (37, 61), (300, 11), (11, 300)])
def test_odd_sizes(segmenter: Segmenter, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    height, width = size
    embedded = segmenter.embed(image)
    for prompt in (
        Prompt.make(point=(width - 0.01, height - 0.01)),
        Prompt.make(point=(0, 0)),
        Prompt.make(box=(0, 0, width, height)),
        Prompt.make(box=(-5, -5, width + 5.5, height + 5.5)),
        Prompt.make(points=[(0, 0), (width - 0.5, height - 0.5)], labels=[1, 0], box=(0, 0, width, height)),
    ):
        proposals = segmenter.segment(embedded, prompt)
        assert proposals
        for proposal in proposals:
            assert proposal.mask.clip(size) == proposal.mask
            assert proposal.score is None or 0 <= proposal.score <= 1


def test_threads_may_share_it(segmenter: Segmenter, photo: np.ndarray) -> None:
    prompts = [Prompt.make(box=(10 + k, 10, 80 + k, 80)) for k in range(6)]
    scene = model(segmenter).open(photo)
    alone = [scene.segment(prompt=prompt)[0].mask for prompt in prompts]
    fresh = model(segmenter).open(photo)
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda prompt: fresh.segment(prompt=prompt)[0].mask, prompts))
    assert together == alone


def test_provenance_makes_it_again(segmenter: Segmenter) -> None:
    record = segmenter.provenance()
    again = create_segmenter(record["name"], record["options"], "cpu")
    assert again.provenance() == record


def test_words_are_understood_or_refused(segmenter: Segmenter, photo: np.ndarray) -> None:
    try:
        found = segmenter.segment(segmenter.embed(photo), Prompt.make(text="an orange disc"))
    except PromptError as error:
        assert "sam3" in str(error)
    else:
        assert found and segmenter.name == "sam3"


def test_up_to_three_proposals_for_a_click_best_first(segmenter: Segmenter, photo: np.ndarray) -> None:
    scene = model(segmenter).open(photo)
    found = scene.propose(point=(60, 45))
    assert 1 <= len(found) <= 3
    scores = [proposal.score or 0.0 for proposal in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores) and all(proposal.mask for proposal in found)
    whole = np.zeros(photo.shape[:2], bool)
    whole[10:20, 10:20] = True
    assert scene.propose(mask=whole)[0].mask.area == 100
    with pytest.raises(PromptError):
        scene.propose(point=(-5, 3))
