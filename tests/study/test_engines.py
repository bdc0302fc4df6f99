"""The same cells on a Ray cluster of two nodes and as jobs of submitit."""

import pytest
from study_fakes import planned, ran, run_fake, states

from segfocal.errors import SegfocalError
from segfocal.study.slurm_engine import SlurmEngine, parameters


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's, about its own use of the standard library
def test_ray_runs_every_cell_once_on_two_nodes(tmp_path):
    utils = pytest.importorskip("ray.cluster_utils")
    from segfocal.study.ray_engine import RayEngine

    folder = planned(tmp_path)
    (folder.root / "fail").write_text("focal")
    cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        engine = RayEngine(address=cluster.address, cpus=1, gpus=0.0, retries=1)
        assert len([node for node in engine.ray.nodes() if node["Alive"]]) == 2
        assert run_fake(folder, engine=engine, jobs=2) == 1
    finally:
        cluster.shutdown()
    assert sorted(ran(folder)) == sorted(folder.cells)
    failed = {folder.cells[name]["arm"] for name, state in states(folder).items() if state == "failed"}
    assert failed == {"focal"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of submitit's local executor
def test_submitit_runs_every_cell_once(tmp_path):
    pytest.importorskip("submitit")
    folder = planned(tmp_path)
    (folder.root / "kill").write_text("dice")
    engine = SlurmEngine(tmp_path / "logs", cpus=1, gpus=0, parameters={"timeout_min": 5}, cluster="local")
    assert run_fake(folder, engine=engine, jobs=2, retries=0) == 1
    assert sorted(ran(folder)) == sorted(folder.cells)
    failed = {folder.cells[name]["arm"] for name, state in states(folder).items() if state == "failed"}
    assert failed == {"dice"}


def test_slurm_words_become_parameters():
    assert parameters(["slurm_partition=gpu", "timeout_min=60"]) == {
        "slurm_partition": "gpu",
        "timeout_min": 60,
    }
    with pytest.raises(SegfocalError, match="must be KEY=VALUE"):
        parameters(["gpu"])


def test_absent_slurm_is_named(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SegfocalError, match="--engine slurm"):
        SlurmEngine(tmp_path / "logs", cpus=1, gpus=0, parameters={})
