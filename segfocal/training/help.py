"""One screen of help per verb; every option of the configuration on request."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_FIT = """usage: segfocal fit --config X.yaml [--run DIR] [overrides]
       segfocal fit --resume DIR [overrides]

  --config X.yaml   configuration; several are merged, later ones win
  --run DIR         new run directory (default: runs/<name of X>/<time>)
  --resume DIR      go on with an interrupted run, bit for bit

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
_EVALUATE = """usage: segfocal {verb} --run DIR [--checkpoint best|last|PATH] [overrides]

Scores whole {verb} images at threshold 0.5 and at the threshold chosen on validation, prints a table and
writes cases.parquet, curves.parquet and cases/ of the run directory.

  --run DIR         what `segfocal fit` made
  --checkpoint      best (default), last or a path
  --data.init_args.val_batch_size 4, --trainer.devices 1, ...    overrides of config.yaml
  --help-all        every option
"""


def write_help(verb: str, argv: Sequence[str]) -> bool:
    """Write the help of fit, validate or test if the words ask for it; imports nothing.

    Args:
        verb: Which.
        argv: Words after it.

    Returns:
        Whether it was asked for.
    """
    asked = "-h" in argv or "--help" in argv
    if asked:
        sys.stdout.write(_FIT if verb == "fit" else _EVALUATE.format(verb=verb))
    return asked
