"""MONAI's DecathlonDataset by class path, on a folder made by hand and on a download made by hand."""

import hashlib
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from monai.apps import DecathlonDataset
from volume_files import change_json, write_decathlon

from segfocal.data import NiftiData, Split
from segfocal.errors import SegfocalError

TASK = "Task04_Hippocampus"
KEYS = {"name": "h", "description": "", "reference": "", "licence": "", "tensorImageSize": "3D"}


def write_task(root, count=5):
    folder = write_decathlon(root / TASK, count=count)
    change_json(folder, **KEYS, numTraining=count, numTest=0, test=[])
    return root


def spec(root, section, **arguments):
    arguments = {"root_dir": str(root), "task": TASK, "section": section, "progress": False} | arguments
    return {"class_path": "monai.apps.DecathlonDataset", "init_args": arguments}


def both(root, **arguments):
    return {
        "train": spec(root, "training", **arguments),
        "val": spec(root, "validation"),
    }


def test_sections_are_those_of_monai_and_samples_those_of_the_folder(tmp_path):
    root = write_task(tmp_path)
    data = NiftiData(datasets=both(root), patch_size=8)
    for part, section in (("train", "training"), ("val", "validation")):
        theirs = DecathlonDataset(root, TASK, section, transform=[], cache_num=0, progress=False)
        names = [Path(item["image"]).name.removesuffix(".nii.gz") for item in theirs.data]
        assert data.cases(part).source.names == names
    assert not len(data.cases("test"))
    plain = NiftiData(str(root / TASK), split=Split(train=["*"]), patch_size=8)
    case = plain.cases("train").source.names.index(data.cases("val").source.names[0])
    ours, theirs = data.wholes("val", with_mask=True)[0], plain.wholes("train", with_mask=True)[case]
    assert torch.equal(ours["image"], theirs["image"])
    assert torch.equal(ours["mask"], theirs["mask"])
    assert data.class_names == ["background", "anterior", "posterior"]


def test_no_volume_is_read_before_it_is_needed(tmp_path):
    root = write_task(tmp_path)
    for path in (root / TASK / "imagesTr").iterdir():
        path.write_bytes(b"broken")
    assert len(NiftiData(datasets=both(root)).cases("train")) == 4


def test_split_divides_the_data_set_of_train(tmp_path):
    root = write_task(tmp_path)
    whole = {"train": spec(root, "training", val_frac=0.0)}
    data = NiftiData(datasets=whole, split=Split(test_folds=5, test_fold=1))
    plain = NiftiData(str(root / TASK), split=Split(test_folds=5, test_fold=1))
    for part in ("train", "test"):
        assert data.cases(part).source.names == plain.cases(part).source.names


def test_seeds_that_differ_between_sections_are_refused(tmp_path):
    datasets = both(write_task(tmp_path, count=12)) | {"val": spec(tmp_path, "validation", seed=5)}
    with pytest.raises(SegfocalError, match="is in train and in val"):
        NiftiData(datasets=datasets).cases("train")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server that has the task's archive, in place of MONAI's."""
    write_task(tmp_path / "far")
    with tarfile.open(tmp_path / "far" / f"{TASK}.tar", "w") as tar:
        tar.add(tmp_path / "far" / TASK, arcname=TASK)
    handler = partial(QuietHandler, directory=str(tmp_path / "far"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        Thread(target=serving.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{serving.server_port}/{TASK}.tar"
        monkeypatch.setitem(DecathlonDataset.resource, TASK, url)
        yield tmp_path / "far" / f"{TASK}.tar"
        serving.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_monai_downloads_and_checks(server, tmp_path, monkeypatch):
    (tmp_path / "near").mkdir()
    with pytest.raises(SegfocalError, match=r"DecathlonDataset failed .*md5 hash check .*\w\. It was told"):
        NiftiData(datasets=both(tmp_path / "near", download=True))
    (tmp_path / "near" / f"{TASK}.tar").unlink(missing_ok=True)
    monkeypatch.setitem(DecathlonDataset.md5, TASK, hashlib.md5(server.read_bytes()).hexdigest())
    data = NiftiData(datasets=both(tmp_path / "near", download=True))
    assert [len(data.cases(part)) for part in ("train", "val")] == [4, 1]
    assert (tmp_path / "near" / TASK / "dataset.json").is_file()


def test_a_failing_download_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(DecathlonDataset.resource, TASK, f"http://127.0.0.1:1/{TASK}.tar")
    with pytest.raises(SegfocalError, match=r"datasets\.train: .* failed .*download: false"):
        NiftiData(datasets=both(tmp_path, download=True))


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"train": spec("nowhere", "training")}, "Root directory root_dir must be a directory"),
        ({"train": spec(".", "training")}, "Cannot find dataset directory.*let it download"),
        ({"train": spec(".", "training", task="Task4")}, "Unsupported task: Task4"),
        ({"train": spec(".", "training", sections=1)}, r"got 'sections'\. Did you mean 'section'"),
        ({"train": {"class_path": "torch.utils.data.TensorDataset"}}, "such as monai.apps.DecathlonDataset"),
    ],
    ids=["root", "missing", "task", "argument", "kind"],
)
def test_wrong_data_sets_are_named(datasets, message):
    with pytest.raises(SegfocalError, match=message):
        NiftiData(datasets=datasets)


def test_a_section_without_labels_is_refused(tmp_path):
    root = write_task(tmp_path)
    change_json(root / TASK, test=["./imagesTr/case_000.nii.gz"], numTest=1)
    with pytest.raises(SegfocalError, match=r"datasets\.test: .* must list volumes with labels"):
        NiftiData(datasets=both(root) | {"test": spec(root, "test")})


def test_root_and_datasets_exclude_each_other(tmp_path):
    for given in ({}, {"root": "a", "datasets": {}}):
        with pytest.raises(SegfocalError, match=r"needs root, .* or datasets: give one"):
            NiftiData(**given)
