"""Studies whose cells do nothing but say so, for tests of planning and running."""

import subprocess
import sys
import textwrap
from pathlib import Path

from segfocal.study.engines import LocalEngine
from segfocal.study.folder import StudyFolder
from segfocal.study.plan import plan_study
from segfocal.study.runner import Runner, Settings

CONFIG = """\
seed_everything: 3
model:
  network:
    class_path: segfocal.models.SmallUNet
    init_args: {in_channels: 1, num_classes: 1, channels: [4, 8]}
  loss:
    class_path: segfocal.losses.FocalDiceLoss
    init_args: {task: binary, ignore_index: 255}
  learning_rate: 1e-2
data:
  class_path: segfocal.data.SyntheticData
  init_args:
    {kind: lesions, foreground: 0.1, image_size: 32, train_images: 4, val_images: 2, test_images: 8,
     batch_size: 2, patch_size: 16, patches_per_epoch: 8}
trainer: {max_steps: 4, log_every_n_steps: 2, accelerator: cpu}
"""

STUDY = """\
name: fake
seeds: [0, 1]
stages:
  - {name: pretrain, config: base.yaml, arms: false}
  - {name: train, config: base.yaml, from: pretrain}
arms:
  dice: {model.loss: {class_path: segfocal.losses.DiceLoss, init_args: {task: binary, ignore_index: 255}}}
  focal: {}
baseline: dice
contrasts: [[focal, dice]]
"""

# says in ran.txt that it ran, waits as long as "wait" says, and fails where "fail" names its arm
PROGRAM = """\
import os, sys, time
from segfocal.errors import SegfocalError
from segfocal.study.cell import main

def work(folder, cell):
    with open(folder.root / "ran.txt", "a") as file:
        file.write(cell["id"] + "\\n")
    wait = folder.root / "wait"
    end = time.monotonic() + (float(wait.read_text()) if wait.exists() else 0)
    while time.monotonic() < end:
        time.sleep(0.01)
    fail = folder.root / "fail"
    if fail.exists() and (cell["arm"] or cell["stage"]) in fail.read_text().split():
        print("a line before")
        raise SegfocalError("it was asked to fail")
    kill = folder.root / "kill"
    if kill.exists() and (cell["arm"] or cell["stage"]) in kill.read_text().split():
        os.kill(os.getpid(), 9)
    return {}

sys.exit(main(work=work))
"""


def write_study(folder, *, study=STUDY, config=CONFIG):
    """Write study.yaml and base.yaml; return the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.yaml").write_text(config)
    (folder / "study.yaml").write_text(textwrap.dedent(study))
    return folder / "study.yaml"


def planned(folder, *, study=STUDY, config=CONFIG, out="out"):
    """Plan a study and write the program of its cells."""
    found = plan_study(write_study(folder, study=study, config=config), out=folder / out)
    (folder / "cell_program.py").write_text(PROGRAM)
    return found


def program(folder):
    """The command that runs a fake cell of a planned study."""
    return (sys.executable, str(folder.root.parent / "cell_program.py"))


def run_fake(folder, *, engine=None, out=None, **settings):
    """Run a planned study in this process with fake cells."""
    chosen = Settings(program=program(folder), **settings)
    fresh = StudyFolder(folder.root)
    runner = Runner(fresh, engine or LocalEngine(), chosen, **({} if out is None else {"out": out}))
    return runner.run()


def start_runner(folder, *, jobs=2):
    """Start a runner of fake cells as a process of its own."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import study_fakes\n"
        "from segfocal.study.folder import StudyFolder\n"
        "sys.exit(study_fakes.run_fake(StudyFolder(Path(sys.argv[2])), jobs=int(sys.argv[3])))"
    )
    words = [sys.executable, "-c", code, str(Path(__file__).parent), str(folder.root), str(jobs)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ran(folder):
    """The cells that began, in their order, as often as they did."""
    file = folder.root / "ran.txt"
    return file.read_text().split() if file.exists() else []


def states(folder):
    """State of every cell."""
    return {name: folder.paths(name).state() for name in folder.cells}
