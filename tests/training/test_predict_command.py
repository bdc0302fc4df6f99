"""What ``predict`` says before it loads a network, and while it works."""

import io
import shutil

import pytest

from segfocal.__main__ import main
from segfocal.data.synthetic import SyntheticData, write_folder
from segfocal.training.verbs.predict import Progress


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "set"
    return write_folder(SyntheticData(image_size=32, test_images=23), folder, split="test") / "images"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--threshold 1.5", "threshold must lie in [0, 1], got 1.5."),
        ("--threshold 0.5 0.5", "threshold must be one number or 1"),
        ("--tile 0", "tile size must lie in"),
        ("--posterior", "FocalDiceLoss has no exact posterior"),
        ("--device warp:9", "device must be of this machine"),
        ("--images {run}/nothing", "found no "),
    ],
)
def test_options_are_refused_before_the_network_is_loaded(
    options, message, finished_run, images, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(
        "segfocal.training.prediction.predictor.load", lambda *_args, **_settings: pytest.fail("loaded")
    )
    words = [word.format(run=finished_run) for word in options.split()]
    given = [] if "--images" in words else ["--images", str(images)]
    assert main(["predict", "--run", str(finished_run), *given, "--out", str(tmp_path / "out"), *words]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "test_00000" not in shown
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_called_out(finished_run, images, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "masks"
    assert main(["predict", "--run", str(finished_run), "--images", str(images), "--out", str(out)]) == 2
    shown = capsys.readouterr().err
    assert f"cannot write {out}" in shown
    assert "another folder with --out." in shown


def test_many_images_are_few_lines_and_a_count(finished_run, images, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", "--run", str(finished_run), "--images", str(images), "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 21
    assert lines[-2] == "23/23 test_00022.png"
    assert lines[-1].startswith(f"23 images predicted, 23 files written to {out}, ")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_one_line():
    terminal = Terminal()
    progress = Progress(terminal)
    for number in range(1, 4):
        progress.show(number, 3, "x" * 500)
    progress.close()
    text = terminal.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert text.count("\r") == 3
    assert max(map(len, text.split("\r"))) < 200


def test_few_images_have_a_line_each():
    stream = io.StringIO()
    for number in range(1, 4):
        Progress(stream).show(number, 3, "a.png")
    assert stream.getvalue() == "1/3 a.png\n2/3 a.png\n3/3 a.png\n"


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_generate_says_where_it_cannot_write(out, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["generate", "--out", str(tmp_path / out), "--count", "1", "--size", "32"]) == 2
    shown = capsys.readouterr().err
    assert str(tmp_path / out) in shown
    assert "Errno" not in shown
    assert ("--out" in shown) or ("got a file. Name another" in shown)


def test_generate_asks_for_at_least_one_picture(tmp_path, capsys):
    assert main(["generate", "--out", str(tmp_path / "set"), "--count", "0"]) == 2
    assert "--count must lie in [1, inf], got 0." in capsys.readouterr().err


def damage(path, how):
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.write_text("no image")


@pytest.mark.parametrize("how", ["cut", "empty", "text"])
def test_prediction_goes_on_past_damaged_pictures(how, finished_run, images, tmp_path, capsys):
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    for number in range(4):
        shutil.copy(images / f"test_{number:05}.png", folder)
    (folder / "notes.txt").write_text("")
    (folder / "more").mkdir()
    for number in (0, 2):
        damage(folder / f"test_{number:05}.png", how)
    assert main(["predict", "--run", str(finished_run), "--images", str(folder), "--out", str(out)]) == 1
    shown = capsys.readouterr()
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["test_00001.png", "test_00003.png"]
    assert "2 images predicted, 2 files written" in shown.out
    assert f"not predicted: more/, notes.txt of {folder}" in shown.out
    head, *named = shown.err.splitlines()
    assert head == "segfocal: 2 of 4 images could not be predicted:"
    assert [line.split(":")[0] for line in named] == [f"  {folder}/test_0000{n}.png" for n in (0, 2)]


def test_nothing_but_damaged_pictures(finished_run, images, tmp_path, capsys):
    picture = tmp_path / "one.png"
    picture.write_bytes(b"")
    words = ["predict", "--run", str(finished_run), "--images", str(picture), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    assert "0 images predicted" in capsys.readouterr().out


def test_what_the_data_lack_is_said_before_training(config, tmp_path, capsys):
    words = ["fit", "--config", str(config), "--trainer.max_steps", "1"]
    words += ["--data.init_args.val_images", "0", "--data.init_args.test_images", "0"]
    assert main([*words, "--run", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("run directory"))
    assert [line.split(":")[0] for line in lines[:first]] == ["no validation images", "no test images"]
    assert lines[-1].startswith("use it: segfocal predict --run")
    stopping = "{class_path: EarlyStopping, init_args: {monitor: val/dice}}"
    assert main([*words, "--run", str(tmp_path / "other"), "--trainer.callbacks", f"[{stopping}]"]) == 2
    assert "EarlyStopping monitors val/dice" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_table_lists_the_pictures_to_predict(finished_run, images, tmp_path, capsys):
    names = sorted(path.name for path in images.iterdir())[:3]
    (tmp_path / "t.tsv").write_text("Image\tsplit\n" + "".join(f"{images / name}\ttest\n" for name in names))
    words = ["predict", "--run", str(finished_run), "--out", str(tmp_path / "out"), "--images"]
    assert main([*words, str(tmp_path / "t.tsv")]) == 0
    assert sorted(path.name for path in (tmp_path / "out/masks").iterdir()) == names
    (tmp_path / "t.tsv").write_text("file\nx.png\n")
    assert main([*words, str(tmp_path / "t.tsv")]) == 2
    assert "must have the column image, got file" in capsys.readouterr().err


def test_masks_that_segfocal_did_not_write_are_never_replaced(
    finished_run, images, tmp_path, monkeypatch, capsys
):
    data = tmp_path / "data"
    shutil.copytree(images.parent, data)
    truth = {path.name: path.read_bytes() for path in (data / "masks").iterdir()}
    words = ["predict", "--run", str(finished_run), "--images", str(data / "images"), "--overwrite", "--out"]
    with monkeypatch.context() as patch:
        patch.setattr(
            "segfocal.training.prediction.predictor.load", lambda *_args, **_settings: pytest.fail("loaded")
        )
        assert main([*words, str(data)]) == 2
        assert "exists and is not listed" in capsys.readouterr().err
        assert main([*words, str(data / "images")]) == 2
        assert "must not lie in what the command reads" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (data / "masks").iterdir()} == truth
    assert main([*words, str(tmp_path / "out")]) == 0
    assert main([*words, str(tmp_path / "out")]) == 0
    capsys.readouterr()
    assert main([word for word in words if word != "--overwrite"] + [str(tmp_path / "out")]) == 2
    assert "Add --overwrite" in capsys.readouterr().err
    (tmp_path / "out/masks/test_00003.png").write_bytes(b"painted by hand")
    assert main([*words, str(tmp_path / "out")]) == 2
    assert "test_00003.png was edited" in capsys.readouterr().err
