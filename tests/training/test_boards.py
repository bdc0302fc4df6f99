"""What TensorBoard and MLflow hold after a training: scalars, pictures, hyper-parameters."""

import numpy as np
import pytest
from pytorch_lightning.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segfocal.__main__ import main
from segfocal.report.dashboard.runs_view import live_pictures
from segfocal.runs import RunPaths
from segfocal.runs.pictures import case_picture
from segfocal.training.boards import hyper_parameters, show_picture
from segfocal.training.previews import LIVE

# MLflow warns of much; the command line hides Lightning's advice from users
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def boards(config_text, tmp_path_factory):
    """A training of nine steps, which MLflow's local file store follows too."""
    pytest.importorskip("mlflow", reason="mlflow-skinny of the dev extra is not installed")
    root = tmp_path_factory.mktemp("boards")
    config = root / "tiny.yaml"
    config.write_text(config_text)
    logger = "segfocal.training.boards.MLFlowFiles"
    words = ["fit", "--config", str(config), "--run", str(root / "run"), "--trainer.logger", logger]
    words += ["--trainer.logger.init_args.tracking_uri", f"file:{root}/mlruns"]
    words += ["--trainer.logger.init_args.experiment_name", "boards"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        assert main(words) == 0
        from mlflow.tracking import MlflowClient

        yield RunPaths(root / "run"), MlflowClient(f"file:{root}/mlruns")


def test_mlflow_holds_scalars_pictures_and_settings(boards):
    run, client = boards
    (found,) = client.search_runs([client.get_experiment_by_name("boards").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["model.loss"].endswith("Loss")
    assert found.data.params["seed_everything"].isdigit()
    logged = {
        line.split(",")[2]: float(line.split(",")[3]) for line in run.metrics.read_text().split("\n")[1:-1]
    }
    assert found.data.metrics["val/dice"] == pytest.approx(logged["val/dice"])
    assert found.data.metrics["val/dice.lesion"] == pytest.approx(logged["val/dice/lesion"])
    names = [item.path for item in client.list_artifacts(found.info.run_id, "images")]
    assert any(name.endswith(".png") for name in names)


def test_tensorboard_holds_scalars_pictures_and_settings(boards):
    run, _ = boards
    board = EventAccumulator(str(run.boards)).Reload()
    tags = board.Tags()
    assert {"train/loss", "val/loss", "val/dice", "learning_rate"} <= set(tags["scalars"])
    assert all(tag.startswith("val/") for tag in tags["images"])
    assert tags["images"] == ["val/val_00000", "val/val_00001"]
    assert board.SummaryMetadata("_hparams_/session_start_info").plugin_data.plugin_name == "hparams"
    assert b"model.loss" in board.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"val/dice" in board.SummaryMetadata("_hparams_/experiment").plugin_data.content
    steps = {event.step + 1 for event in board.Scalars("val/dice")}  # Lightning counts from 0
    assert {event.step for event in board.Images(tags["images"][0])} == steps


def test_a_training_keeps_the_pictures_of_its_last_validation(boards):
    run, _ = boards
    stems = [stem for stem, _ in live_pictures(run.root.resolve(), run.root.resolve())]
    assert stems == ["val_00000", "val_00001"]
    assert all(case_picture(run, LIVE, stem, "prediction").is_file() for stem in stems)


def test_settings_have_short_names_and_plain_values():
    network = {"class_path": "a.Net", "init_args": {"channels": [8, 16], "norm": None}}
    found = hyper_parameters({"model": {"network": network}, "trainer": {"logger": {"class_path": "x.Y"}}})
    assert found == {"model.network": "Net", "model.network.channels": "[8, 16]"}
    assert hyper_parameters({"data": {"class_path": "b.Data", "init_args": {"split": {"val": 0.2}}}}) == {
        "data": "Data",
        "data.split.val": 0.2,
    }


def test_a_logger_without_pictures_is_left_alone(tmp_path):
    show_picture(CSVLogger(tmp_path), "val/a", np.zeros((2, 2, 3), np.uint8), step=1)
    assert not list(tmp_path.rglob("*.png"))
