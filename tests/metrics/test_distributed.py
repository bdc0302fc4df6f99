"""Two processes with uneven shards, one of them empty, score exactly like one process."""

import json
import socket
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import numpy as np, torch
import torch.distributed as dist
from segfocal.metrics import PixelCurves, SegmentationScores, TemperatureFit, ThresholdSearch
from segfocal.metrics.centreline import CentrelineScores
from segfocal.metrics.froc import FrocScores
from segfocal.metrics.lesions import LesionScores
from segfocal.metrics.masks import with_columns
from segfocal.metrics.surface import SurfaceScores

rank, ranks, port, rounds = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
torch.set_num_threads(1)
if ranks > 1:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
settings = {"task": "multilabel", "num_classes": 2, "ignore_index": 255}
metrics = [SegmentationScores(**settings), PixelCurves(**settings), ThresholdSearch(**settings)]
masks = [kind(**settings) for kind in (SurfaceScores, LesionScores, CentrelineScores, FrocScores)]
metrics += masks
fit = TemperatureFit(**settings)
for shards in rounds:
    for image in shards[rank]:
        generator = torch.Generator().manual_seed(image)
        p = torch.rand(1, 2, 11 + image, 13, generator=generator)
        target = (torch.rand(p.shape, generator=generator) < p).long()
        for metric in metrics:
            metric.update(p, target, [f"image{image}"])
        fit.update(4 * p - 2, target, [f"image{image}"])
    numbers = [{key: value.item() for key, value in metric.compute().items()} for metric in metrics]
    curves = {key: np.asarray(value).tolist() for key, value in metrics[1].curves().items()}
    again = {key: value.item() for key, value in metrics[0].compute().items()}
    assert again == numbers[0]
    sums = {key: np.asarray(value).tolist() for key, value in metrics[1].likelihoods().items()}
    temperature = round(fit.compute().item(), 6)  # its sums are added in another order
    cases = with_columns(metrics[0].cases(), masks)
    print(json.dumps([numbers, cases, curves, sums, temperature, metrics[2].thresholds()]))
    fit.reset()
    for metric in metrics:
        metric.reset()
if ranks > 1:
    dist.destroy_process_group()
"""


def run(folder, ranks, rounds):
    """Output of each rank: one line per round, in which rank r scores the images ``round[r]``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    start, processes = [sys.executable, "-c", SCRIPT], []
    # into files: a pipe that nobody reads blocks its writer, and with it the other rank
    outputs = [folder / f"{rank}_of_{ranks}.txt" for rank in range(ranks)]
    for rank, output in enumerate(outputs):
        with output.open("w") as file:
            command = [*start, str(rank), str(ranks), port, json.dumps(rounds)]
            processes.append(subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT))
    try:
        codes = [process.wait(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    texts = [output.read_text() for output in outputs]
    assert codes == [0] * ranks, texts
    return [[line for line in text.splitlines() if line.startswith("[[")] for text in texts]


@pytest.mark.slow
def test_shards_change_nothing(tmp_path):
    ((alone,),) = run(tmp_path, 1, [[[0, 1, 2]]])
    rounds = [[[2, 0], [1]], [[], [1, 2, 0]], [[0, 1, 2], []]]
    assert run(tmp_path, 2, rounds) == [[alone] * 3] * 2
