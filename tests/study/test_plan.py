"""Planning: which cells there are, what they are called, and every mistake that is met before they run."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from study_fakes import CONFIG, STUDY, planned, write_study

from segfocal.__main__ import main
from segfocal.errors import SegfocalError
from segfocal.study.data_check import check_data
from segfocal.study.folder import StudyFolder
from segfocal.study.plan import plan_study
from segfocal.study.training import cell_config

FOLDER_DATA = """\
  class_path: segfocal.data.FolderData
  init_args:
    root: {root}
    task: binary
    split: {{group: '(p\\d+)_', val_folds: 2, val_fold: 0}}
    batch_size: 2
    patch_size: 16
"""


@pytest.fixture
def images(tmp_path):
    """Eight images of four patients."""
    for kind in ("images", "masks"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for patient in range(4):
            for number in range(2):
                value = patient * 20 + number
                plane = np.full((8, 8), value if kind == "images" else value % 2, np.uint8)
                picture = Image.fromarray(plane)
                picture.save(tmp_path / "set" / kind / f"p{patient}_{number}.png")
    return tmp_path / "set"


def on_folder(root):
    start = CONFIG.index("  class_path: segfocal.data.SyntheticData")
    end = CONFIG.index("trainer:")
    return CONFIG[:start] + FOLDER_DATA.format(root=root) + CONFIG[end:]


def kinds(folder):
    found = [cell["kind"] for cell in folder.plan["cells"]]
    return {kind: found.count(kind) for kind in set(found)}


def refused(folder, words, *, study=STUDY, config=CONFIG):
    with pytest.raises(SegfocalError, match=words):
        plan_study(write_study(folder, study=study, config=config), out=folder / "out")
    assert not (folder / "out").exists()


def test_shared_stage_is_trained_once_for_all_arms(tmp_path):
    folder = planned(tmp_path)
    assert kinds(folder) == {"shared": 2, "arm": 4}
    arms = [cell for cell in folder.plan["cells"] if cell["kind"] == "arm"]
    for cell in arms:
        (need,) = cell["needs"]
        assert folder.cells[need]["seed"] == cell["seed"]


def test_folds_fractions_and_datasets_multiply(tmp_path, images):
    study = (
        STUDY
        + "folds: 4\nfractions: [0.5, 1.0]\ndatasets:\n  small: {data.init_args.patch_size: 8}\n  large: {}\n"
    )
    folder = planned(tmp_path, study=study, config=on_folder(images))
    assert kinds(folder) == {"arm": 2 * 2 * 2 * 4 * 2, "shared": 2 * 2 * 4 * 2}
    cell = next(c for c in folder.plan["cells"] if c["fold"] == 2 and c["fraction"] == 0.5 and c["seed"] == 1)
    config = cell_config(folder, cell, overrides={})
    split = config["data"]["init_args"]["split"]
    assert (split["test_folds"], split["test_fold"], split["train_fraction"]) == (4, 2, 0.5)
    assert config["seed_everything"] == 1
    assert config["data"]["init_args"]["patch_size"] == 8


def test_name_follows_content_alone(tmp_path):
    first = planned(tmp_path / "a")
    reordered = STUDY.replace("baseline:", "each: {trainer.log_every_n_steps: 2}\nbaseline:").replace(
        "fake", "other"
    )
    assert set(planned(tmp_path / "b", study=reordered).cells) == set(first.cells)
    longer = planned(tmp_path / "c", config=CONFIG.replace("max_steps: 4", "max_steps: 5"))
    assert not set(longer.cells) & set(first.cells)


def test_one_more_seed_keeps_the_names_of_the_others(tmp_path):
    first = planned(tmp_path / "a")
    assert set(first.cells) < set(planned(tmp_path / "b", study=STUDY.replace("[0, 1]", "[0, 1, 2]")).cells)


def test_same_plan_again_is_no_error_and_another_is(tmp_path):
    planned(tmp_path)
    planned(tmp_path)
    with pytest.raises(SegfocalError, match="holds another plan: the study 'fake' with 6 cells"):
        planned(tmp_path, study=STUDY.replace("[0, 1]", "[0, 2]"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(SegfocalError, match="new or empty folder"):
        planned(tmp_path, out="full")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("focal: {}", "focal: {model.loss.init_args.gama: 1}"),
            "arm 'focal': .* no argument 'gama'. Did you mean 'gamma'",
        ),
        (
            ("focal: {}", "focal: {model.lerning_rate: 1}"),
            "no argument 'lerning_rate'. Did you mean 'learning_rate'",
        ),
        (("focal: {}", "focal: {modle.learning_rate: 1}"), "no key 'modle'. Did you mean 'model'"),
        (("focal: {}", "focal: {trainer.max_step: 1}"), "no argument 'max_step'. Did you mean 'max_steps'"),
        (("focal: {}", "focal: {data.init_args.batchsize: 1}"), "Did you mean 'batch_size'"),
        (("focal: {}", "focal: {model.loss.gamma: 1}"), "Write model.loss.init_args.gamma"),
        (
            ("DiceLoss", "DiceLos"),
            "there is no class 'segfocal.losses.DiceLos'. Did you mean 'segfocal.losses.DiceLoss'",
        ),
        (("focal: {}", "focal: {finetune: {phases: [{nam: a}]}}"), "no argument 'nam'. Did you mean 'name'"),
        (
            ("focal: {}", "same: {model.learning_rate: 1e-2}\n  focal: {}"),
            "arms 'same' and 'focal' resolve to the same",
        ),
        (("seeds: [0, 1]", "seeds: [0, 1, 0]"), "seeds lists 0 twice"),
        (("seeds: [0, 1]", "seeds: []"), "seeds must be a list with at least one"),
        (("seeds: [0, 1]", "seeds: [a]"), "whole number"),
        (
            ("baseline: dice", "baseline: dise"),
            "baseline must be one of dice, focal, got 'dise'. Did you mean 'dice'",
        ),
        (("[[focal, dice]]", "[[focal, dises]]"), "Did you mean 'dice'"),
        (("[[focal, dice]]", "[]"), "contrasts must be a list with at least one"),
        (("[[focal, dice]]", "[[dice, dice]]"), "compares an arm with itself"),
        (("[[focal, dice]]", "[{arm: focal, dataset: eyes}]"), "dataset must be one of data"),
        (("from: pretrain", "from: pretrian"), "Did you mean 'pretrain'"),
        (("config: base.yaml, arms", "config: bas.yaml, arms"), "neither in .* Did you mean 'base.yaml'"),
        (("name: fake", "name: fake\nfold: 3"), "no key 'fold'. Did you mean 'folds'"),
        (
            ("name: fake", "name: fake\nmetric: hd95"),
            "metric must be one of dice, iou, precision, recall, got 'hd95'",
        ),
        (("focal: {}", "dice: {}\n  focal: {}"), "no valid YAML: the key 'dice' stands twice in one mapping"),
        (("name: fake", "name: fake\nfolds: 4"), "has no argument 'split'"),
        (("from: pretrain}", "from: pretrain, arms: false}"), "last one and is compared"),
        (
            ("baseline:", "search: {trials: 2, arms: {focal: {model.learning_rate: [1, 2]}}}\nbaseline:"),
            "'dice' has nothing to search",
        ),
        (
            ("baseline:", "search: {trials: 2, common: {model.learning_rate: {low: 2, high: 1}}}\nbaseline:"),
            "low < high",
        ),
        (
            ("baseline:", "search: {trials: 2, common: {model.learnin_rate: [1, 2]}}\nbaseline:"),
            "Did you mean 'learning_rate'",
        ),
    ],
    ids=lambda value: value[1].splitlines()[0][:40] if isinstance(value, tuple) else "",
)
def test_mistakes_are_named(tmp_path, change, words):
    assert change[0] in STUDY
    refused(tmp_path, words, study=STUDY.replace(*change, 1))


def test_bytes_that_are_no_text_are_named(tmp_path):
    write_study(tmp_path).write_bytes(b"PK\x03\x04\xff")
    with pytest.raises(SegfocalError, match=r"must be a YAML file in UTF-8, got .*study\.yaml"):
        plan_study(tmp_path / "study.yaml", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_that_are_not_there_are_named_with_their_data_set(tmp_path):
    refused(
        tmp_path,
        "data set 'data': there is no folder",
        study=STUDY + "folds: 2\n",
        config=on_folder(tmp_path / "nothing"),
    )


def test_clusters_are_the_patients_of_all_folds(tmp_path, images):
    study = STUDY + "folds: 4\n"
    (row,) = planned(tmp_path, study=study, config=on_folder(images)).plan["contrasts"]
    assert row["clusters"] == 4
    assert row["smallest_p"] == pytest.approx(0.125)  # the issue's own number for 4 patients
    assert row["decidable"] is False


def test_generated_images_are_clusters_of_their_own(tmp_path, capsys):
    (row,) = planned(tmp_path).plan["contrasts"]
    assert (row["clusters"], row["smallest_p"], row["decidable"]) == (8, pytest.approx(0.0078125), True)
    write_study(tmp_path, study=STUDY + "fractions: [1.0]\n")
    assert main(["study", "plan", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "again")]) == 0
    shown = capsys.readouterr().out
    assert "focal - dice" in shown
    assert "can be decided" in shown
    assert "6 cells (4 arm, 2 shared)" in shown


def test_changed_image_stops_the_study_and_names_the_data_set(tmp_path, images):
    folder = planned(tmp_path, study=STUDY + "folds: 2\ndatasets: {eyes: {}}\n", config=on_folder(images))
    check_data(folder)
    (images / "notes.txt").write_text("read by nobody")
    check_data(folder)
    path = images / "images" / "p1_1.png"
    kept, content = path.stat(), path.read_bytes()
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    assert path.stat().st_size == len(content)
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    words = r"data set 'eyes' changed since the study was planned: .* \(1 changed: images/p1_1\.png\)"
    with pytest.raises(SegfocalError, match=words):
        check_data(folder)
    path.write_bytes(content)
    check_data(folder)


def test_a_study_of_an_earlier_version_goes_on_with_a_line(tmp_path, images, capsys):
    """It knew the beginning and the end of each file."""
    folder = planned(tmp_path, study=STUDY + "folds: 2\ndatasets: {eyes: {}}\n", config=on_folder(images))
    plan = json.loads(folder.plan_file.read_text())
    for data in plan["data"]:
        del data["content"]
        whole = hashlib.sha256()
        for path in sorted(images.glob("*/*.png")):
            part = hashlib.sha256(path.read_bytes()).hexdigest()
            place = path.relative_to(images).as_posix()
            whole.update(f"{place}\0{path.stat().st_size}\0{part}\n".encode())
        data["sha256"] = whole.hexdigest()
    folder.plan_file.write_text(json.dumps(plan))
    check_data(StudyFolder(folder.root))
    assert "was planned on by an earlier version" in capsys.readouterr().err
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(images / "masks" / "p1_1.png")
    with pytest.raises(SegfocalError, match="changed since the study was planned"):
        check_data(StudyFolder(folder.root))


def test_checkpoint_from_outside_is_kept_and_enters_the_name(tmp_path):
    study = STUDY.replace("  - {name: pretrain, config: base.yaml, arms: false}\n", "")
    study = study.replace("from: pretrain", "from: old/net.pt")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "net.pt").write_bytes(b"weights")
    first = planned(tmp_path, study=study)
    kept = first.root / first.plan["stages"]["train"]["checkpoint"]
    assert kept.read_bytes() == b"weights"
    (tmp_path / "old" / "net.pt").write_bytes(b"others")
    second = planned(tmp_path, study=study, out="second")
    assert not set(first.cells) & set(second.cells)


def test_search_draws_the_same_trials_for_every_arm(tmp_path):
    ranges = "search:\n  trials: 3\n  common: {model.learning_rate: {low: 1e-4, high: 1e-2, log: true}}\n"
    folder = planned(
        tmp_path, study=STUDY + ranges + "  arms: {focal: {model.loss.init_args.gamma: [1, 2, 3]}}\n"
    )
    assert kinds(folder) == {"shared": 2, "search": 2 * 3, "arm": 4}
    trials = [cell for cell in folder.plan["cells"] if cell["kind"] == "search"]
    assert {cell["seed"] for cell in trials} == {0}
    rates = {
        arm: [cell["overrides"]["model.learning_rate"] for cell in trials if cell["arm"] == arm]
        for arm in ("dice", "focal")
    }
    assert rates["dice"] == rates["focal"]
    thirds = sorted(int(np.log10(rate / 1e-4) / 2 * 3) for rate in rates["dice"])
    assert thirds == [0, 1, 2]
    gammas = {cell["overrides"]["model.loss.init_args.gamma"] for cell in trials if cell["arm"] == "focal"}
    assert gammas == {1, 2, 3}
    arms = [cell for cell in folder.plan["cells"] if cell["kind"] == "arm"]
    assert all(len(cell["needs"]) == 4 for cell in arms)
    again = planned(
        tmp_path / "again",
        study=STUDY + ranges + "  arms: {focal: {model.loss.init_args.gamma: [1, 2, 3]}}\n",
    )
    assert set(again.cells) == set(folder.cells)


@pytest.mark.parametrize("words", [["plan", "study.yaml", "--out", "out"], ["status", "known"], ["--help"]])
def test_planning_and_counting_import_no_torch(tmp_path, words):
    write_study(tmp_path)
    planned(tmp_path, out="known")
    code = (
        "import sys; from segfocal.__main__ import main; code = main(['study', *sys.argv[1:]])\n"
        "print('HEAVY', code, sorted({'torch', 'polars', 'pytorch_lightning', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
    assert "HEAVY 0 []" in done.stdout, done.stderr


def test_status_counts_as_json(tmp_path, capsys):
    folder = planned(tmp_path)
    assert main(["study", "status", str(folder.root), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert {key: status[key] for key in ("cells", "done", "failed", "running", "waiting")} == {
        "cells": 6,
        "done": 0,
        "failed": 0,
        "running": 0,
        "waiting": 6,
    }


def test_folder_without_a_plan_is_named(tmp_path):
    with pytest.raises(SegfocalError, match=r"is no study: it holds no plan\.json"):
        _ = StudyFolder(tmp_path).plan


def test_names_without_their_module_make_the_same_plan(tmp_path, images):
    """Cells, clusters and folds: the data module is recognised."""
    study = STUDY.replace("segfocal.losses.", "").replace("seeds: [0, 1]", "seeds: [0, 1]\nfolds: 2")
    folded = STUDY.replace("seeds: [0, 1]", "seeds: [0, 1]\nfolds: 2")
    long = planned(tmp_path / "long", study=folded, config=on_folder(images))
    config = on_folder(images).replace("segfocal.data.", "").replace("segfocal.models.", "")
    short = planned(tmp_path / "short", study=study, config=config)
    assert short.plan["bases"] == long.plan["bases"]
    assert short.plan["cells"] == long.plan["cells"]
    assert short.plan["datasets"] == long.plan["datasets"]


@pytest.mark.parametrize("content", ["[]", '"a"', "3", "null", "{}", '{"schema_version": [1]}', "[" * 5000])
@pytest.mark.parametrize("verb", ["status", "run", "report"])
def test_a_plan_of_another_shape_is_told_in_a_line(tmp_path, capsys, content, verb):
    (tmp_path / "study").mkdir()
    (tmp_path / "study/plan.json").write_text(content)
    out = ["--out", str(tmp_path / "report")] if verb == "report" else []
    assert main(["study", verb, str(tmp_path / "study"), *out]) == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0
    assert "plan.json" in said


@pytest.mark.parametrize("key", ["name", "baseline", "arms", "contrasts", "cells"])
@pytest.mark.parametrize("value", [None, 3, [1], [[]], 10**30])
def test_a_plan_with_a_value_of_another_type_is_told_in_a_line(tmp_path, capsys, key, value):
    sound = {"schema_version": 1, "name": "n", "metric": "dice", "baseline": "a", "arms": {}}
    sound |= {"contrasts": [], "cells": []}
    for content in (sound | {key: value}, sound | {"cells": [{"id": "../../x"}]}):
        (tmp_path / "plan.json").write_text(json.dumps(content))
        assert main(["study", "status", str(tmp_path)]) == 2
        said = capsys.readouterr().err.strip()
        assert said.count("\n") == 0
        assert "plan.json" in said
