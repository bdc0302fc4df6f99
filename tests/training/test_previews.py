"""Pictures of cases: slices of volumes, and names that no file system takes."""

import numpy as np
import pytest

from segfocal.runs import RunPaths
from segfocal.runs.pictures import Pictured, case_picture, case_stem, class_part, read_pictured
from segfocal.training.previews import Previews, flat_pictures, preview


def volume(*, masks):
    image = np.arange(2 * 4 * 5 * 9, dtype=np.float32).reshape(2, 4, 5, 9)
    reference = np.zeros((3, 4, 5, 9) if masks else (4, 5, 9), np.uint8)
    reference[..., 1:3, 1:3, 2:7] = 1
    return image, reference, np.full((3, 4, 5, 9), 0.25, np.float32)


@pytest.mark.parametrize("masks", [False, True], ids=["labels", "masks"])
def test_axial_slices_of_a_volume_span_its_foreground(masks):
    """Rows run from anterior to posterior, columns from the patient's right to the left."""
    image, reference, scores = volume(masks=masks)
    found = flat_pictures(image, reference, scores, name="heart")
    assert [stem for stem, _ in found] == [f"heart@{place:03d}" for place in (2, 3, 4, 5, 6)]
    for (_, planes), place in zip(found, range(2, 7), strict=True):
        for y in range(5):
            for x in range(4):
                np.testing.assert_array_equal(planes[0][:, y, x], image[:, 3 - x, 4 - y, place])
                np.testing.assert_array_equal(planes[1][..., y, x], reference[..., 3 - x, 4 - y, place])
        assert planes[2].shape == (3, 5, 4)


def test_slices_have_the_proportions_of_the_body():
    """A cube of 20 mm is as wide as high, whatever the edges of its voxels."""
    reference = np.zeros((10, 40), np.uint8)
    reference[3:8, 10:30] = 1  # 5 rows of 4 mm, 20 columns of 1 mm
    shown = preview(
        reference[None].astype(np.float32),
        reference,
        np.zeros((2, 10, 40), np.float32),
        stem="x",
        task="multiclass",
        longest_px=256,
        edges=(4.0, 1.0),
    )
    assert shown.reference.shape == (40, 40)
    rows, columns = np.nonzero(shown.reference)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (20, 20)


def test_a_volume_without_foreground_shows_slices_of_all_of_it():
    image, reference, scores = volume(masks=False)
    found = flat_pictures(image, reference * 0, scores, name="x")
    assert [stem for stem, _ in found] == ["x@000", "x@002", "x@004", "x@006", "x@008"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "x" * 300, "a\nb", "\u202eabc", ".", "", "a/b"])
def test_any_name_becomes_one_short_path_component(name, tmp_path):
    run = RunPaths(tmp_path)
    path = case_picture(run, "test", case_stem(name, slice_index=1), f"probability.{class_part(name)}")
    assert path.resolve().parent == (tmp_path / "cases" / "test").resolve()
    assert len(path.name.encode()) < 255
    assert path.name.isprintable()


def test_names_that_clean_up_alike_keep_files_of_their_own():
    assert len({case_stem(name) for name in ("a/b", "a\\b", "a_b")}) == 3
    assert len({class_part(name) for name in ("a/b", "a_b")}) == 2


def test_previews_write_a_case_of_any_name(tmp_path):
    run = RunPaths(tmp_path)
    previews = Previews(run)
    scores = np.full((1, 4, 5), 0.7, np.float32)
    stem = case_stem("<script>/" + "x" * 300)
    previews.cases = [
        preview(np.zeros((3, 4, 5)), np.zeros((4, 5)), scores, stem=stem, task="binary", longest_px=8)
    ]
    previews.write("test", ["a/b"], checkpoint="0" * 64)
    names = sorted(path.name for path in (tmp_path / "cases" / "test").glob("*.png"))
    assert read_pictured(run, "test") == Pictured("0" * 12, frozenset([stem]))
    assert names == sorted(
        f"{stem}.{kind}.png"
        for kind in ("image", "reference", "prediction", f"probability.{class_part('a/b')}")
    )
