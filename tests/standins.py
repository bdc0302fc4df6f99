"""Small made-up data sets in the layout of the real ones, for machines that do not have those."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from volume_files import write_decathlon, write_nnunet


def write_all(root: Path) -> Path:
    """Write a stand-in for every data set that a config names; return the folder to call SEGFOCAL_DATA."""
    rng = np.random.default_rng(0)
    _write_chase(root / "chase_db1", rng)
    _write_dsb(root / "dsb2018_nuclei", rng)
    _write_camvid(root / "camvid32_lanes", rng)
    _write_idrid(root / "idrid", rng)
    _write_plain(root / "data", rng)
    _write_tusimple(root / "tusimple" / "lanenet_sample_1280x720", rng)
    _write_culane(root / "culane_sample" / "images", rng)
    write_decathlon(root / "hippocampus_msd", size=(34, 50, 36))
    write_nnunet(root / "hippocampus_nnunet", size=(34, 50, 36))
    return root


def _save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def _picture(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise with a brightness per label, uint8 (H, W, 3)."""
    noise = rng.integers(0, 60, (*labels.shape, 3))
    return (noise + 6 * labels[..., None].astype(int) % 190).astype(np.uint8)


def _blocks(shape: tuple[int, int], values: list[int], rng: np.random.Generator) -> np.ndarray:
    """Every value in a block of its own, in random order."""
    labels = np.zeros(shape, dtype=np.uint8)
    step = shape[1] // len(values)
    for position, value in enumerate(rng.permutation(values)):
        labels[shape[0] // 4 : 3 * shape[0] // 4, position * step : (position + 1) * step] = value
    return labels


def _write_chase(root: Path, rng: np.random.Generator) -> None:
    for patient in range(1, 15):
        for eye in "LR":
            vessel = np.zeros((150, 160), dtype=bool)
            vessel[rng.integers(20, 120) :][:4] = True
            _save(_picture(20 * vessel, rng), root / "images" / f"Image_{patient:02d}{eye}.jpg")
            _save(vessel, root / "masks" / f"Image_{patient:02d}{eye}_1stHO.png")


def _write_dsb(root: Path, rng: np.random.Generator) -> None:
    for index in range(20):
        nuclei = 255 * (_blocks((180, 170), [0, 1, 0, 1], rng) > 0).astype(np.uint8)
        alpha = np.full((180, 170, 1), 255, dtype=np.uint8)
        _save(
            np.concatenate([_picture(nuclei // 10, rng), alpha], axis=2),
            root / "images" / f"{index:016x}.png",
        )
        _save(nuclei, root / "masks" / f"{index:016x}.png")


def _write_camvid(root: Path, rng: np.random.Generator) -> None:
    for split, count in (("train", 10), ("val", 3)):
        for index in range(count):
            labels = _blocks((480, 512), [17, 10, 19, 5, 21, 26, 30, 4], rng)
            _save(_picture(labels, rng), root / split / "images" / f"0001TP_{index:06d}.jpg")
            _save(labels, root / split / "masks" / f"0001TP_{index:06d}.png")


def _write_idrid(root: Path, rng: np.random.Generator) -> None:
    for split, numbers in (("train", range(1, 9)), ("test", range(55, 58))):
        for number in numbers:
            labels = np.zeros((960, 1000), dtype=np.uint8)
            for position, name in enumerate(("MA", "HE", "EX", "SE", "OD")):
                mask = _blocks((960, 1000), [0] * position + [1] + [0] * (4 - position), rng) > 0
                labels |= mask.astype(np.uint8) * (position + 1)
                if name != "SE" or number % 2:  # a missing file: no such finding
                    _save(mask, root / split / "masks" / name / f"IDRiD_{number:02d}_{name}.png")
            _save(_picture(4 * labels, rng), root / split / "images" / f"IDRiD_{number:02d}.jpg")


def _write_plain(root: Path, rng: np.random.Generator) -> None:
    for index in range(10):
        labels = _blocks((120, 110), [0, 1, 0], rng)
        _save(_picture(30 * labels, rng)[..., 0], root / "images" / f"{index}.png")
        _save(labels, root / "masks" / f"{index}.png")


def _write_tusimple(root: Path, rng: np.random.Generator) -> None:
    rows = list(range(160, 400, 10))
    lines = []
    for index in range(6):
        lane = [300 + 5 * index + 0.5 * (row - 160) for row in rows]
        _save(_picture(np.zeros((400, 640), np.uint8), rng), root / "images" / f"{index:04d}.png")
        lines.append({"raw_file": f"images/{index:04d}.png", "lanes": [lane], "h_samples": rows})
    (root / "label_data.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _write_culane(root: Path, rng: np.random.Generator) -> None:
    for index in range(10):
        stem = root / "clip.MP4" / f"{index:05d}"
        _save(_picture(np.zeros((400, 640), np.uint8), rng), stem.with_suffix(".jpg"))
        points = " ".join(f"{300 + 5 * index + 0.5 * (400 - y):.1f} {y}" for y in range(400, 160, -10))
        stem.with_suffix(".lines.txt").write_text(points + "\n")
