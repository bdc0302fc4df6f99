"""A configuration as the training room reads it; needs torch."""

from __future__ import annotations

from pathlib import Path

from segfocal.training.cli import SegfocalCLI
from segfocal.training.phases.settings import Finetune, phases_of


def resolved(config: Path, *, verb: str) -> str:
    """Build network, loss and data of a configuration.

    Args:
        config: The file.
        verb: "fit" or "finetune".

    Returns:
        The configuration with every default, as text.

    Raises:
        SegfocalError: Saying what the parser or a class refused.
    """
    cli = SegfocalCLI(["--config", str(config)], pretrained=False)
    if verb == "finetune":
        phases_of(cli.finetune or Finetune(), ends=cli.ends)
    else:
        cli.check_end()
    return cli.dump()
