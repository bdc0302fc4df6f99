import copy
from pathlib import Path

import pytest
import yaml

from segfocal.errors import SegfocalError
from segfocal.training.tuning.config import all_keys, in_fold, look_up, overlay, take_section, with_values
from segfocal.training.tuning.space import Choice, Range, default_space, describe, draw, read_space

LOSS = {"class_path": "segfocal.losses.FocalLoss"}
LOSS["init_args"] = {"task": "binary", "gamma": 2.0, "alpha": None, "knee": None, "tail": 0.0, "poly": 0.0}
PENALTIES = [{"class_path": "L1", "init_args": {"strength": 1e-4}}, {"class_path": "Own", "init_args": {}}]
DATA = {"class_path": "FolderData", "init_args": {"root": "x", "split": {"train": 8, "test": 2, "val": 2}}}
CONFIG = {"model": {"loss": LOSS, "penalties": PENALTIES, "learning_rate": 0.1}, "data": DATA}


class Middle:
    """A trial that draws the middle of every range and the last of every list."""

    def suggest_float(self, name, low, high, *, log=False):
        return (low * high) ** 0.5 if log else (low + high) / 2

    def suggest_int(self, name, low, high):
        return (low + high) // 2

    def suggest_categorical(self, name, choices):
        return choices[-1]


def test_ranges_and_lists_are_read_and_drawn():
    section = {
        "model.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "model.loss.init_args.gamma": {"low": 0, "high": 1 / 3},
        "data.init_args.split.train": {"low": 4, "high": 8, "integer": True},
        "model.loss.init_args.knee": [None, 0.7],
    }
    space = read_space(section, known=set(all_keys(CONFIG)))
    assert draw(space, Middle()) == {
        "model.learning_rate": pytest.approx(1e-3),
        "model.loss.init_args.gamma": 0.1667,
        "data.init_args.split.train": 6,
        "model.loss.init_args.knee": 0.7,
    }
    assert read_space(describe(space), known=set(all_keys(CONFIG))) == space


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"model.loss.init_args.gama": [1, 2]}, r"no key 'model.loss.init_args.gama'. Did you mean .*gamma'"),
        ({"model.learning_rate": 3}, "or a list, got 3"),
        ({"model.learning_rate": [3]}, "at least two"),
        ({"model.learning_rate": {"low": 2, "high": 1}}, "low < high"),
        ({"model.learning_rate": {"low": 0, "high": 1, "log": True}}, "above 0"),
        ({"model.learning_rate": {"low": "1e-4", "high": 1}}, "1.0e-4"),
        ({"model.learning_rate": {"lo": 1, "high": 2}}, "Did you mean 'low'"),
        ({}, "tune must map"),
        ([1], "tune must map"),
    ],
)
def test_what_is_no_space_is_named(section, words):
    with pytest.raises(SegfocalError, match=words):
        read_space(section, known=set(all_keys(CONFIG)))


def test_the_default_is_what_a_focal_loss_has():
    space = default_space(CONFIG)
    prefix = "model.loss.init_args"
    assert space == {
        f"{prefix}.gamma": Range(0.0, 5.0),
        f"{prefix}.alpha": Range(0.1, 0.9),
        f"{prefix}.knee": Choice((None, 0.5, 0.7, 0.9)),
        "model.penalties.0.init_args.strength": Range(1e-6, 1e-2, log=True),
    }
    multiclass = with_values(CONFIG, {f"{prefix}.task": "multiclass", f"{prefix}.tail": 0.1})
    assert set(default_space(multiclass)) == {f"{prefix}.gamma", "model.penalties.0.init_args.strength"}
    with pytest.raises(SegfocalError, match="say what to search"):
        default_space({"model": {"loss": {"class_path": "X", "init_args": {"smooth": 1.0}}}})


@pytest.mark.parametrize("knee", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5, 2.0, 5.0])
def test_every_default_value_makes_a_loss(gamma, knee):
    from segfocal.losses import FocalLoss

    assert FocalLoss("binary", gamma=gamma, alpha=0.1, knee=knee).task == "binary"


def test_values_are_set_in_a_copy():
    before = copy.deepcopy(CONFIG)
    changed = with_values(
        CONFIG, {"model.penalties.0.init_args.strength": 0.5, "model.loss.init_args.gamma": 1}
    )
    assert before == CONFIG
    assert look_up(changed, "model.penalties.0.init_args.strength") == 0.5
    assert look_up(changed, "model.loss.init_args.gamma") == 1
    with pytest.raises(SegfocalError, match=r"no model\.penalties\.7"):
        with_values(CONFIG, {"model.penalties.7.init_args": 1})


def test_an_overlay_holds_class_paths_and_whole_lists():
    found = overlay(CONFIG, {"model.loss.init_args.gamma": 1, "model.penalties.0.init_args.strength": 0.5})
    assert found == {
        "model": {
            "loss": {"class_path": LOSS["class_path"], "init_args": {"gamma": 1}},
            "penalties": [{"class_path": "L1", "init_args": {"strength": 0.5}}, PENALTIES[1]],
        }
    }


def test_a_fold_replaces_the_validation_images_alone():
    split = look_up(in_fold(CONFIG, folds=3, fold=1), "data.init_args.split")
    assert split == {"train": 8, "test": 2, "val": None, "val_share": 0.0, "val_folds": 3, "val_fold": 1}
    standard = in_fold(with_values(CONFIG, {"data.init_args.split": None}), folds=3, fold=0)
    assert look_up(standard, "data.init_args.split.test") == "test"
    generated = {"data": {"class_path": "SyntheticData", "init_args": {"seed": 0}}}
    with pytest.raises(SegfocalError, match=r"SyntheticData cannot.*segfocal generate"):
        in_fold(generated, folds=3, fold=0)


def test_a_section_is_taken_out_of_the_files(tmp_path):
    (tmp_path / "both.yaml").write_text("model: {learning_rate: 0.1}\ntune: {a: [1, 2]}\n")
    (tmp_path / "plain.yaml").write_text("seed_everything: 1\n")
    (tmp_path / "only.yaml").write_text("tune: {b: [1, 2]}\n")
    into = tmp_path / "into"
    into.mkdir()
    files = [str(tmp_path / name) for name in ("both.yaml", "plain.yaml", "only.yaml")]
    section, paths = take_section(files, name="tune", into=into)
    assert section == {"b": [1, 2]}
    assert [yaml.safe_load(Path(path).read_text()) for path in paths] == [
        {"model": {"learning_rate": 0.1}},
        {"seed_everything": 1},
    ]
    assert take_section(files[1:2], name="tune", into=into) == (None, files[1:2])
