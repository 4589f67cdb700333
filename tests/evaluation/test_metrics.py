"""Metrics against independent references: brute force on full arrays, pycocotools, scikit-image, known values."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amodal.core import rle
from amodal.core.errors import MaskError
from amodal.core.mask import Mask
from amodal.evaluation import metrics
from amodal.evaluation.detection import OCCLUSION_BINS, Picture, average_precision, match
from amodal.evaluation.metrics import Counts, Ratio
from amodal.evaluation.runs import count_rles
from reference import COCO, COCOeval, find_boundaries, hausdorff_distance

SIZE = (24, 30)


def blob(rng: np.random.Generator, empty: float = 0.1) -> np.ndarray:
    out = np.zeros(SIZE, bool)
    if rng.random() > empty:
        y, x = rng.integers(0, SIZE[0] - 3), rng.integers(0, SIZE[1] - 3)
        out[y : y + rng.integers(2, 16), x : x + rng.integers(2, 16)] = True
        out &= rng.random(SIZE) < 0.9
    return out


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_counts_equal_full_frames(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, a, v = blob(rng), blob(rng), blob(rng)
    got = metrics.count(*(Mask.from_array(part, (-3, 5)) for part in (p, a, v)))
    assert got == ((p & a).sum(), (p | a).sum(), (p & a & ~v).sum(), ((p | a) & ~v).sum(), a.sum(), v.sum(), p.sum())


def objects(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    out = []
    for k in range(count):
        amodal = blob(rng, empty=0)
        visible = amodal & (rng.random(SIZE) < 0.7) if k % 3 else amodal.copy()
        out.append((blob(rng) | visible, amodal, visible))
    return out


def test_every_metric_equals_its_plain_definition() -> None:
    triples = objects(40)
    counts = Counts.stack(metrics.count(*map(Mask.from_array, triple)) for triple in triples)
    ious, hidden, occluded = [], [], []
    for p, a, v in triples:
        ious.append((p & a).sum() / (p | a).sum())
        union = ((p | a) & ~v).sum()
        hidden.append((p & a & ~v).sum() / union if union else None)
        occluded.append((a & ~v).sum() / a.sum() > 0.05)
    values = {name: metric(counts).value for name, metric in metrics.METRICS.items()}
    assert values["iou"] == pytest.approx(np.mean(ious))
    assert values["iou_pooled"] == pytest.approx(
        sum((p & a).sum() for p, a, _ in triples) / sum((p | a).sum() for p, a, _ in triples)
    )
    assert values["recall_pooled"] == pytest.approx(
        sum((p & a).sum() for p, a, _ in triples) / sum(a.sum() for _, a, _ in triples)
    )
    assert values["iou_occluded"] == pytest.approx(np.mean([h for h, o in zip(hidden, occluded, strict=True) if o]))
    assert values["iou_occluded_defined"] == pytest.approx(np.mean([h for h in hidden if h is not None]))
    assert values["iou_occluded_pooled"] == pytest.approx(
        sum((p & a & ~v).sum() for p, a, v in triples) / sum(((p | a) & ~v).sum() for p, a, v in triples)
    )


def test_undefined_is_neither_0_nor_1() -> None:
    whole = Mask.from_box((0, 0, 4, 4))
    counts = Counts.stack([metrics.count(whole, whole, whole)] * 3)
    assert np.isnan(metrics.iou_occluded(counts)).all()
    for name in ("iou_occluded", "iou_occluded_defined", "iou_occluded_pooled"):
        ratio = metrics.METRICS[name](counts)
        assert (ratio.value, ratio.defined) == (None, 0)
        assert metrics.interval(ratio, np.arange(3)) == metrics.Interval(None, None, None, 0)


def test_bins_are_disjoint_and_complete() -> None:
    shares = np.concatenate([[0, 0.1, 0.5, 1.0], np.random.default_rng(0).random(200)])
    inside = {name: (shares > low) & (shares <= high) for name, (low, high) in metrics.BINS.items()}
    assert (sum(inside[name].astype(int) for name in inside if name != "<50") == 1).all()
    assert np.array_equal(inside["<50"], shares < 0.5)


def test_bootstrap_covers_and_respects_pictures() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        values = rng.normal(0.7, 0.1, 60)
        got = metrics.interval(Ratio.mean(values), np.arange(60), metrics.resamples(60, 400, trial))
        covered += got.low <= 0.7 <= got.high
    assert 85 <= covered <= 100
    per_picture = np.repeat(rng.normal(0.7, 0.1, 20), 30)  # thirty equal objects a picture carry no more than one
    groups = np.repeat(np.arange(20), 30)
    honest = metrics.interval(Ratio.mean(per_picture), groups)
    naive = metrics.interval(Ratio.mean(per_picture), np.arange(600))
    assert honest.high - honest.low > 3 * (naive.high - naive.low)


def test_boundary_f_against_scikit_image() -> None:
    rng = np.random.default_rng(1)
    for _ in range(15):
        a, b = blob(rng, 0), blob(rng, 0)
        edges = [find_boundaries(np.pad(x, 1), connectivity=1, mode="inner")[1:-1, 1:-1] for x in (a, b)]
        near = []
        for own, other in (edges, edges[::-1]):
            apart = [np.hypot(*(np.argwhere(other) - point).T).min() <= 2.0 for point in np.argwhere(own)]
            near.append(np.mean(apart))
        expected = 2 * near[0] * near[1] / sum(near) if sum(near) else 0.0
        got = metrics.boundary_f(Mask.from_array(a), Mask.from_array(b), 2.0, diagonal=100)
        assert got == pytest.approx(expected)
        if hausdorff_distance(*edges) <= 2:
            assert got == 1.0
    assert metrics.boundary_f(Mask.from_box((0, 0, 0, 0)), Mask.from_box((0, 0, 3, 3)), diagonal=100) == 0.0


def test_best_of_and_majority() -> None:
    truth = Mask.from_box((0, 0, 10, 10))
    predictions = [Mask.from_box((0, 0, 10, 5)), Mask.from_box((0, 0, 10, 8)), Mask.from_box((0, 0, 20, 10))]
    assert metrics.best_of(predictions, truth).iou(truth) == 0.8
    assert metrics.majority(predictions) == Mask.from_box((0, 0, 10, 8))
    assert metrics.majority(predictions[:2]) == Mask.from_box((0, 0, 10, 8))  # a tie counts


def test_calibration_error() -> None:
    rng = np.random.default_rng(0)
    sure = rng.random(200_000).astype(np.float32)
    honest = rng.random(200_000) < sure
    assert metrics.calibration_error(metrics.calibration_bins(sure, honest)) < 0.005
    boaster = metrics.calibration_bins(np.ones(100, np.float32), np.arange(100) < 60)
    assert metrics.calibration_error(boaster) == pytest.approx(0.4)
    assert metrics.calibration_error(np.zeros((10, 3))) is None


def coco_scene(seed: int) -> tuple[dict[str, object], list[dict[str, object]], list[Picture]]:
    """Random truths, some ignored by area, and detections; as COCO dictionaries and as `Picture`s."""
    rng = np.random.default_rng(seed)
    images, annotations, results, pictures = [], [], [], []
    for image in range(1, 6):
        images.append({"id": image, "height": SIZE[0], "width": SIZE[1]})
        truths = [Mask.from_array(blob(rng, 0)) for _ in range(rng.integers(0, 6))]
        found = [Mask.from_array(blob(rng, 0)) for _ in range(rng.integers(0, 4))]
        found += [Mask.from_array(t.to_array(SIZE) ^ (rng.random(SIZE) < 0.06)) for t in truths if rng.random() < 0.8]
        shares = rng.choice([0.0, 0.1, 0.6], len(truths))
        for truth, share in zip(truths, shares, strict=True):
            row = {"id": len(annotations) + 1, "image_id": image, "category_id": 1, "iscrowd": 0}
            # COCO's area stands in for the occluded share: its area ranges then are the occlusion bins
            annotations.append({**row, "area": float(share), "bbox": [0, 0, 1, 1], "segmentation": truth.to_rle(SIZE)})
        scores = rng.permutation(len(found)) / 10 + image / 1000
        for mask, score in zip(found, scores, strict=True):
            results.append(
                {"image_id": image, "category_id": 1, "score": float(score), "segmentation": mask.to_rle(SIZE)}
            )
        pictures.append(Picture.of(list(zip(found, scores, strict=True)), list(zip(truths, shares, strict=True))))
    return (
        {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}], "info": {}},
        results,
        pictures,
    )


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_cocoeval(seed: int) -> None:
    truth, results, pictures = coco_scene(seed)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        found = coco.loadRes(results)
        for row in found.anns.values():
            row["area"] = 0.1  # inside every range that is used here
        judge = COCOeval(coco, found, "segm")
        judge.params.areaRng = [[-1, 2], [0.05, 0.25]]
        judge.params.areaRngLbl = ["all", "partial"]
        judge.evaluate()
        judge.accumulate()
    for number, bounds in enumerate(((0.0, 1.0), (0.05, 0.25))):
        precision = judge.eval["precision"][:, :, :, number, 2]
        recall = judge.eval["recall"][:, :, number, 2]
        got = average_precision(pictures, bounds)
        assert got["ap"] == pytest.approx(precision.mean(), abs=1e-9)
        assert got["ap50"] == pytest.approx(precision[0].mean(), abs=1e-9)
        assert got["ap75"] == pytest.approx(precision[5].mean(), abs=1e-9)
        assert got["ar"] == pytest.approx(recall.mean(), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_weighted_pictures_count_as_often(seed: int) -> None:
    """The bootstrap of AP: a weight of 2 is the picture twice, 0 is its absence."""
    _, _, pictures = coco_scene(seed)
    times = np.random.default_rng(seed).integers(0, 3, len(pictures))
    repeated = [picture for picture, count in zip(pictures, times, strict=True) for _ in range(count)]
    got = match(pictures).precision(times.astype(float))
    expected = average_precision(repeated)
    assert got == pytest.approx(expected)
    low, high = match(pictures).interval(metrics.resamples(len(pictures), 100))
    assert low is not None and high is not None and 0 <= low <= high <= 1


def test_average_precision_without_truth() -> None:
    assert average_precision([Picture.of([(Mask.from_box((0, 0, 2, 2)), 1.0)], [])])["ap"] is None
    assert set(OCCLUSION_BINS) == {"all", "none", "partial", "heavy"}


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_counts_from_run_lengths(seed: int) -> None:
    """Text, bytes and lists of counts; empty, full and speckled masks; pictures of different sizes in one batch."""
    rng = np.random.default_rng(seed)
    columns: list[list[dict[str, object]]] = [[], [], []]
    expected = []
    for number in range(6):
        size = rng.integers(1, 14, 2)
        arrays = [rng.random(size) < rng.choice([0, 0.1, 0.5, 0.95, 1]) for _ in range(3)]
        for column, bits in zip(columns, arrays, strict=True):
            encoded = rle.encode(bits)
            forms = (encoded["counts"], encoded["counts"].encode(), rle.runs_of(bits).tolist())
            column.append({"size": encoded["size"], "counts": forms[number % 3]})
        expected.append(metrics.count(*map(Mask.from_array, arrays)))
    got = count_rles(*columns)
    for name, value in zip(Counts.__dataclass_fields__, np.array(expected).T, strict=True):
        assert np.array_equal(getattr(got, name), value), name


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"size": [4, 4], "counts": "x1"}, "object 1: .*character outside"),
        ({"size": [4, 4], "counts": "0P"}, "object 1: .*end within a number"),
        ({"size": [4, 4], "counts": [3]}, "object 1: .*do not add up to its 16"),
        ({"size": [4, 4], "counts": [20, -4]}, "object 1: .*do not add up to its 16"),
        ({"size": [4, 5], "counts": [20]}, "object 1: RLEs of the sizes"),
        ({"size": [4, 4], "counts": ""}, "object 1: the RLE has no counts"),
        ({"size": [4, 4], "counts": None}, "object 1: .*neither text nor numbers"),
        ("abc", "object 1: an RLE is"),
    ],
)
def test_bad_run_lengths_name_their_object(bad: object, text: str) -> None:
    good = {"size": [4, 4], "counts": [3, 5, 8]}
    with pytest.raises(MaskError, match=text):
        count_rles([good, good], [good, good], [good, bad])
