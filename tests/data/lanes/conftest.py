import json

import numpy as np
import pytest
from PIL import Image

ROWS = list(range(20, 90, 5))


def picture(lanes, size=(96, 160)):
    """Bright lines on dark grey noise."""
    from segfocal.data.lanes.drawing import draw_lanes

    noise = np.random.default_rng(len(lanes)).integers(30, 70, (*size, 3)).astype(np.uint8)
    noise[draw_lanes(lanes, size_px=size, width_px=3) == 1] = 230
    return noise


def fan(shift):
    """Three lanes that meet above the image."""
    return [np.array([[80 + 0.2 * (x - 80), 20.0], [x, 85.0]]) for x in (20 + shift, 70 + shift, 130 + shift)]


@pytest.fixture
def tusimple(tmp_path):
    """A folder with 8 frames of two drives in TuSimple's form."""
    lines = []
    for number in range(8):
        lanes = fan(3.0 * number)
        raw = f"clips/drive{number % 2}/{number}/20.jpg"
        path = tmp_path / raw
        path.parent.mkdir(parents=True)
        Image.fromarray(picture(lanes)).save(path, quality=95)
        positions = [np.interp(ROWS, lane[:, 1], lane[:, 0], left=-2, right=-2).tolist() for lane in lanes]
        lines.append({"raw_file": raw, "lanes": positions, "h_samples": ROWS})
    (tmp_path / "labels.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


@pytest.fixture
def culane(tmp_path):
    """A folder with 6 frames of two clips in CULane's form, and a list of three."""
    for number in range(6):
        lanes = fan(3.0 * number)
        stem = tmp_path / f"clip{number % 2}.MP4/{number:05}"
        stem.parent.mkdir(exist_ok=True)
        Image.fromarray(picture(lanes)).save(stem.with_suffix(".jpg"), quality=95)
        text = "".join(" ".join(f"{x:.3f} {y:.0f}" for x, y in lane[::-1]) + "\n" for lane in lanes)
        stem.with_suffix(".lines.txt").write_text(text)
    (tmp_path / "train.txt").write_text("/clip0.MP4/00000.jpg /mask.png 1 1\n/clip0.MP4/00002.jpg\n")
    (tmp_path / "test.txt").write_text("/clip1.MP4/00001.jpg\n")
    return tmp_path
