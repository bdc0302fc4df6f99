"""Tiny volumes on disk, in the layouts of the Medical Segmentation Decathlon and of nnU-Net."""

import json
from pathlib import Path

import nibabel
import numpy as np

# turned about two axes, with unequal edges, stored to posterior, right, superior
TURN = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]]) @ np.array(
    [[1.0, 0.0, 0.0], [0.0, 0.8, -0.6], [0.0, 0.6, 0.8]]
)
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = TURN[:, [1, 0, 2]] * np.array([-0.8, 1.1, 2.5])
OBLIQUE[:3, 3] = [12.5, -40.0, 7.25]


def save(array, path, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def cube_case(index, size=(16, 18, 14), classes=2):
    """Noise with one bright cube per class, the brighter the higher its number."""
    rng = np.random.default_rng(index)
    labels = np.zeros(size, np.uint8)
    for number in range(1, classes + 1):
        low = rng.integers(1, np.array(size) - 6)
        labels[tuple(slice(a, a + 5) for a in low)] = number
    image = rng.normal(100, 5, size) + 60 * labels
    return image.astype(np.float32), labels


def write_decathlon(root: Path, count=6, *, affine=None, **case):
    entries = []
    for index in range(count):
        image, labels = cube_case(index, **case)
        name = f"case_{index:03d}.nii.gz"
        save(image, root / "imagesTr" / name, affine)
        save(labels, root / "labelsTr" / name, affine)
        entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    content = {
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "anterior", "2": "posterior"},
        "training": entries,
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def write_nnunet(root: Path, count=6, *, channels=1, labels=None, affine=None, **case):
    for index in range(count):
        image, mask = cube_case(index, **case)
        name = f"case_{index:03d}"
        for channel in range(channels):
            save(image + channel, root / "imagesTr" / f"{name}_{channel:04d}.nii.gz", affine)
        save(mask, root / "labelsTr" / f"{name}.nii.gz", affine)
    content = {
        "channel_names": {str(channel): "MRI" for channel in range(channels)},
        "labels": labels or {"background": 0, "anterior": 1, "posterior": 2},
        "numTraining": count,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def change_json(root: Path, **changes):
    """Set keys of dataset.json; None takes one away."""
    path = root / "dataset.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
