"""Scale, crop and flip against PySlowFast's numbers (tests/data/sampling), and by picture."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from cmvl.data.transforms import EvalTransform, TrainTransform, View, crop_offset, scaled_size
from cmvl.utils.errors import UserError

TABLES = Path(__file__).parent / "data" / "sampling"


def table(name):
    with open(TABLES / name, newline="") as file:
        return list(csv.DictReader(file))


def numbers(row, *names):
    return [int(row[name]) for name in names]


@pytest.mark.parametrize("row", table("spatial_crops.csv"), ids=lambda r: r["case"])
def test_scaled_size_and_crops(row):
    height, width, short, crop, i = numbers(
        row, "raw_height", "raw_width", "short_side", "crop", "spatial_idx"
    )
    size = scaled_size(height, width, short)
    assert size == (int(row["scaled_height"]), int(row["scaled_width"]))
    y, x = crop_offset(*size, crop, i)
    assert [x, y, x + crop, y + crop] == numbers(row, "x0", "y0", "x1", "y1")
    three = EvalTransform(short, crop, 3).views(2, height, width)
    assert len(three) == 2 and three[0].offsets[i] == (y, x)
    if i == 1:
        assert EvalTransform(short, crop, 1).views(1, height, width)[0].offsets == ((y, x),)


@pytest.mark.parametrize("row", table("boxes_scale_crop.csv"))
def test_boxes_follow_scale_and_crop(row):
    height, width, short, crop, i = numbers(
        row, "raw_height", "raw_width", "short_side", "crop", "spatial_idx"
    )
    box = np.array([[float(row[name]) for name in ("x1", "y1", "x2", "y2")]])
    expected = [[float(row[name]) for name in ("cx1", "cy1", "cx2", "cy2")]]
    view = EvalTransform(short, crop, 3).views(1, height, width)[0]
    np.testing.assert_allclose(view.boxes(box, i), expected, atol=1e-9)


def test_short_side_stays_when_it_is_right():
    for side in range(1, 400):
        assert scaled_size(side, side + 91, side) == (side, side + 91)


def test_three_crops_are_slices_of_the_resized_frame():
    frame = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    left, centre, right = EvalTransform(15, 15, 3).views(1, 30, 50)[0].cut(frame)
    whole = cv2.resize(frame, (25, 15), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(left, whole[:, :15])
    assert np.array_equal(centre, whole[:, 5:20])
    assert np.array_equal(right, whole[:, 10:])


def test_train_crop_is_resize_then_crop_to_a_source_pixel():
    """On a smooth picture, cutting first and resizing the cut differs by rounding only."""
    y, x = np.mgrid[:240, :320]
    frame = np.stack([y, x * 0.75, (x + y) / 3], axis=-1).clip(0, 255).astype(np.uint8)
    rng = np.random.default_rng(0)
    for view in TrainTransform((256, 320), 224, flip=False).views(20, 240, 320, rng):
        top, left, side, _ = view.window
        short = round(224 / side * 240)
        whole = cv2.resize(frame, (short * 320 // 240, short), interpolation=cv2.INTER_LINEAR)
        oy, ox = (min(round(o * short / 240), m) for o, m in ((top, short - 224), (left, 10**6)))
        expected = whole[oy : oy + 224, ox : ox + 224].astype(int)
        got = view.cut(frame)[0][:, : expected.shape[1]].astype(int)
        assert got.shape[0] == 224 and abs(got - expected).max() <= 3


def test_train_draws_stay_inside_and_cover_the_range():
    rng = np.random.default_rng(0)
    views = TrainTransform((256, 320), 224).views(500, 256, 340, rng)
    for view in views:
        y, x, height, width = view.window
        assert y >= 0 and x >= 0 and y + height <= 256 and x + width <= 340 and height == width
    sides = [view.window[2] for view in views]
    assert min(sides) == 2 * round(256 * 224 / 320 / 2) and max(sides) == 224
    assert 200 < sum(view.flip for view in views) < 300
    assert {view.window[0] for view in views} >= {0, 10, 20, 30}


def test_inverse_uniform_prefers_small_sides():
    def mean_side(inverse):
        rng = np.random.default_rng(0)
        draws = TrainTransform((100, 400), 100, inverse=inverse).views(2000, 400, 400, rng)
        return np.mean([view.window[2] for view in draws])

    # E[1/s]: ln(4)/300 for uniform s, the middle of [1/400, 1/100] for uniform 1/s.
    assert mean_side(False) == pytest.approx(400 * 100 * np.log(4) / 300, rel=0.02)
    assert mean_side(True) == pytest.approx(400 * 100 * (1 / 400 + 1 / 100) / 2, rel=0.02)


def test_shared_draw_is_one_for_all_clips():
    transform = TrainTransform((40, 60), 32, shared=True)
    assert len(set(transform.views(5, 48, 64, np.random.default_rng(0)))) == 1
    transform = TrainTransform((40, 60), 32, shared=False)
    assert len(set(transform.views(5, 48, 64, np.random.default_rng(0)))) == 5


def test_no_flip_when_switched_off():
    views = TrainTransform((40, 60), 32, flip=False).views(50, 48, 64, np.random.default_rng(0))
    assert not any(view.flip for view in views)


@pytest.mark.parametrize("flip", [False, True])
def test_boxes_follow_the_pixels(flip):
    frame = np.zeros((60, 80, 3), np.uint8)
    frame[20:30, 40:60] = 255
    view = View((10, 30, 40, 40), (80, 80), 80, ((0, 0),), flip)
    lit = np.argwhere(view.cut(frame)[0][..., 0] > 127)
    (y1, x1), (y2, x2) = lit.min(axis=0), lit.max(axis=0) + 1
    np.testing.assert_allclose(view.boxes(np.array([[40.0, 20, 60, 30]])), [[x1, y1, x2, y2]])


def test_view_numbering_is_temporal_then_spatial():
    for row in table("view_numbering.csv"):
        crops = int(row["num_spatial_crops"])
        clip, temporal = int(row["clip_in_video"]), int(row["temporal_idx"])
        place = clip - temporal * crops
        expected = int(row["spatial_idx_kinetics"])
        assert EvalTransform(20, 20, crops).views(1, 20, 40)[0].offsets[place] == crop_offset(
            20, 40, 20, expected
        )


@pytest.mark.parametrize(
    "make",
    [lambda: TrainTransform((20, 30), 24), lambda: TrainTransform((30, 20), 8)],
)
def test_train_crop_must_fit(make):
    with pytest.raises(UserError, match="crop .* must fit"):
        make()


@pytest.mark.parametrize("crop, crops", [(30, 1), (20, 2)])
def test_eval_crop_must_fit(crop, crops):
    with pytest.raises(UserError, match="must fit into the short side 20"):
        EvalTransform(20, crop, crops)
