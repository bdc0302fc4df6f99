"""One screen of help per verb; every option of the configuration on request."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_FIT = """usage: segfocal fit --config X.yaml [--run DIR] [overrides]
       segfocal fit --resume DIR [overrides]

  --config X.yaml   configuration; several are merged, later ones win
  --run DIR         new run directory (default: runs/<name of X>/<time>)
  --resume DIR      go on with an interrupted run, bit for bit; what was changed is kept
  --allow-changes   ... also with another network, loss, task or data
  --take-over       ... also one that seems to run on a machine that cannot be asked; only where that is over
  --trust           ... of a run that was not trained here, whose configuration may be code

overrides win over the file, the file over a checkpoint; the most used
  --model.learning_rate 0.001      --model.schedule cosine|poly|constant
  --model.loss.init_args.gamma 1   --model.network.init_args.in_channels 3
  --data.init_args.batch_size 8    --seed_everything 1
  --trainer.max_steps 2000         --trainer.max_epochs 20
  --trainer.precision bf16-mixed   --trainer.gradient_clip_val 1.0
  --checkpoint.monitor val/dice    --checkpoint.every_n_steps 100

  --help-all        every option
  --model.loss.help segfocal.losses.FocalLoss    options of one class
"""
_FINETUNE = """usage: segfocal finetune --config X.yaml --from CHECKPOINT [--run DIR] [overrides]
       segfocal finetune --resume DIR [overrides]

  --config X.yaml    as for fit, with a section finetune; several are merged, later ones win
  --from CHECKPOINT  .safetensors, .ckpt, .pth or .pt of anybody, a run directory, a save_pretrained
                     directory, a MONAI bundle; nothing in it is executed
  --run DIR          new run directory (default: runs/<name of X>/<time>)
  --resume DIR       go on with an interrupted run, bit for bit; what was changed is kept
  --allow-changes    ... also with another network, loss, task or data
  --take-over        ... also one that seems to run on a machine that cannot be asked; only where that is over
  --trust            ... of a run that was not trained here, whose configuration may be code

  --finetune.checkpoint best|last        of a run directory
  --finetune.first_conv sum|cycle        for images of other channels
  --finetune.new_head true               a new head though the checkpoint has one of the same size
  --finetune.head_prior measured|0.02    bias of a new head
  --finetune.min_matched 0.5             share of the tensors that must come from the checkpoint
  --model.learning_rate 0.001, --trainer.max_steps 2000, ...    overrides, as for fit

finetune:
  phases:                                one fit each, in their order; none: everything at once
    - {name: head, train: [segmentation_head], max_epochs: 2}
    - {name: all, learning_rate: {all: 0.001, encoder: 0.0001}, layer_decay: 0.8, batch_norm: eval}

  --help-all         every option
"""
_EVALUATE = """usage: segfocal {verb} --run DIR [--checkpoint best|last|PATH] [overrides]

Scores whole {verb} images at threshold 0.5 and at the threshold chosen on validation, prints a table and
writes cases.parquet, curves.parquet, calibration.parquet and cases/ of the run directory. Calibration is
shown as it is, after the temperature that fits the validation images best (found in one more pass over
them, the first time), and of the focal posterior where the loss has an exact one.

  --run DIR         what `segfocal fit` made
  --checkpoint      best (default), last or a path
  --trust           of a run that was not trained here: let its configuration name any class (its code runs)
  --data.init_args.val_batch_size 4, --trainer.devices 1, ...    overrides of config.yaml
  --help-all        every option
"""

_TUNE = """usage: segfocal tune --config X.yaml --out DIR [--from CHECKPOINT] [overrides]

Searches settings by cross-validation: each trial is trained once per fold of the training images; the test
images are not scored. The same command again goes on where it stopped, also after kill -9. Writes
DIR/best.yaml for a second --config, and a run directory per trial and fold below DIR/trials.

  --config X.yaml    as for fit; several are merged, later ones win
  --out DIR          holds the search
  --from CHECKPOINT  trains on from it, as finetune does
  --trials 20        how many, counted over all calls
  --folds 3          groups (patients) stay whole: data.init_args.split.group
  --prune            ends a trial whose mean falls behind the median of the others
  --seed 0           of the sampler

tune:                section of X.yaml or of a second --config; none: gamma, alpha, knee and the strengths of
                     penalties, as far as the configuration has them
  model.loss.init_args.gamma: {low: 0, high: 5}
  model.learning_rate: {low: 0.0001, high: 0.01, log: true}
  model.loss.init_args.knee: [null, 0.5, 0.7]
"""


def write_help(verb: str, argv: Sequence[str]) -> bool:
    """Write the help of a verb that trains or scores if the words ask for it; imports nothing.

    Args:
        verb: Which.
        argv: Words after it.

    Returns:
        Whether it was asked for.
    """
    asked = "-h" in argv or "--help" in argv
    if asked:
        pages = {"fit": _FIT, "finetune": _FINETUNE, "tune": _TUNE}
        sys.stdout.write(pages.get(verb, _EVALUATE.format(verb=verb)))
    return asked
