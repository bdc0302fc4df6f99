"""Build a trained task again from nothing but its run directory."""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from torch import nn

from segfocal.errors import SegfocalError
from segfocal.models.checkpoint import load_weights, network_weights, read_checkpoint
from segfocal.models.downloads import without_downloads
from segfocal.runs import layout
from segfocal.runs.info import RunInfo, read_info
from segfocal.training.messages import denied, explain
from segfocal.training.task import SegmentationTask
from segfocal.training.trust import check_run, published_only
from segfocal.yaml_text import read_mapping


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """A trained task and where it came from.

    Args:
        task: With the weights, the thresholds and the resolved loss of the checkpoint, in evaluation mode.
        info: The content of run.json.
        checkpoint: The file the weights came from.
    """

    task: SegmentationTask
    info: RunInfo
    checkpoint: Path


def rebuild_task(run_dir: str | Path, *, checkpoint: str | Path = "best", trust: bool = False) -> Rebuilt:
    """Build the task that config.yaml describes and load its weights.

    Nothing is downloaded and nothing in the checkpoint is executed. Of a run that was not trained here,
    config.yaml may name public classes of known packages alone, see `segfocal.training.trust`.

    Args:
        run_dir: The folder that ``segfocal fit --run`` made.
        checkpoint: ``"best"``, ``"last"``, or a file.
        trust: Whether its configuration may name any class.

    Returns:
        The task, run.json and the checkpoint's path.

    Raises:
        SegfocalError: If the folder is no run of this version, holds no such checkpoint, its config.yaml
            is damaged, or the weights do not fit.
    """
    info = read_info(run_dir)
    paths = layout.open_run(run_dir)
    chosen = layout.checkpoint(paths, checkpoint)
    section = read_model_section(paths.config)
    restricted = check_run(paths.config, trust=trust, section="model")
    stored = read_checkpoint(chosen)
    task = build_task(section, origin=paths.config, restricted=restricted)
    load_weights(task.network, network_weights(stored), origin=chosen)
    task.on_load_checkpoint(stored)
    task.eval()
    return Rebuilt(task, info, chosen)


def read_model_section(config: Path) -> dict[str, Any]:
    """Read what config.yaml says about network, loss and their settings.

    Args:
        config: The file.

    Returns:
        Its ``model`` section.

    Raises:
        SegfocalError: If the file is missing, damaged, or without that section.
    """
    if not config.is_file():
        raise SegfocalError(f"Expected the run's configuration at {config}, found no such file.")
    content = read_mapping(config, what="the run's configuration")
    section = content.get("model")
    if not isinstance(section, Mapping) or "network" not in section:
        raise SegfocalError(f"Expected a model section with a network in {config}, found none.")
    return dict(section)


def build_task(
    section: Mapping[str, Any], *, origin: str | Path = "the configuration", restricted: bool = False
) -> SegmentationTask:
    """Build a task with random weights.

    Args:
        section: Arguments of ``SegmentationTask``; network and loss as ``class_path`` and ``init_args``.
        origin: Named in messages.
        restricted: As `segfocal.training.trust.check_run` returned it.

    Returns:
        The task, not compiled: predictions see too many sizes for that to pay.

    Raises:
        SegfocalError: If a class cannot be found or refuses its arguments.
    """
    settings = {**section, "compile": False}
    if isinstance(settings["network"], Mapping):
        settings["network"] = without_downloads(settings["network"])
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(SegmentationTask, "model")
    task = _instantiate(parser, {"model": settings}, origin, restricted=restricted).model
    assert isinstance(task, SegmentationTask)
    return task


def build_loss(
    section: Mapping[str, Any], *, origin: str | Path = "the configuration", restricted: bool = False
) -> nn.Module:
    """Build the loss of a task alone.

    Args:
        section: As for ``build_task``.
        origin: Named in messages.
        restricted: As for ``build_task``.

    Returns:
        The loss.

    Raises:
        SegfocalError: If its class cannot be found or refuses its arguments.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(nn.Module, "loss")
    loss = _instantiate(parser, {"loss": section.get("loss")}, origin, restricted=restricted).loss
    assert isinstance(loss, nn.Module)
    return loss


def _instantiate(
    parser: ArgumentParser, settings: dict[str, Any], origin: str | Path, *, restricted: bool
) -> Any:
    try:
        with contextlib.redirect_stderr(io.StringIO()), published_only(restricted):
            return parser.instantiate(parser.parse_object(settings))
    except SegfocalError:
        raise
    except (argparse.ArgumentError, ValueError, TypeError) as error:
        # a sentence for people imports what it names, to find the nearest word
        said = denied(str(error)) or " ".join(str(error).split())[:600]
        said = said if restricted else str(explain(str(error), known=[]))
        raise SegfocalError(f"Cannot build the model that {origin} describes: {said}") from error
