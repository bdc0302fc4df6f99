"""The written configuration says which class the means leave out."""

import numpy as np
import pytest
import yaml
from PIL import Image

from segfocal.__main__ import main
from segfocal.data.fingerprint.config import background_line


@pytest.mark.parametrize(
    ("names", "background"),
    [
        (["background", "a", "b"], 0),
        (["void", "road", "sky"], 0),
        (["Sky", "road", "Clutter/background"], 2),
        (["road", "car"], None),
        (["a: b #", "c"], None),
    ],
)
def test_the_line_is_yaml_that_names_the_class(names, background):
    assert yaml.safe_load(background_line(names)) == {"background": background}


def test_fingerprint_writes_the_background_and_fit_takes_it(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "set" / kind).mkdir(parents=True)
    for number in range(6):
        labels = rng.integers(0, 3, (2, 2)).repeat(16, 0).repeat(16, 1)
        labels[:4, :12] = np.arange(3).repeat(4)
        Image.fromarray(labels.astype(np.uint8)).save(tmp_path / f"set/masks/{number}.png")
        noise = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"set/images/{number}.png")
    config = tmp_path / "c.yaml"
    assert main(["fingerprint", str(tmp_path / "set"), "--out", str(config)]) == 0
    written = yaml.safe_load(config.read_text())["data"]["init_args"]
    assert written["background"] == 0
    words = ["fit", "--config", str(config), "--run", str(tmp_path / "run"), "--trainer.max_steps", "1"]
    assert main([*words, "--trainer.accelerator", "cpu"]) == 0
    assert "without background" in capsys.readouterr().out
