"""LightningCLI with its traps closed: parses and builds, and leaves running to the commands."""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import math
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from jsonargparse.typing import register_type
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_utilities.core.enums import StrEnum
from pytorch_lightning import Callback, LightningDataModule, Trainer
from pytorch_lightning.callbacks import (
    BackboneFinetuning,
    BaseFinetuning,
    BatchSizeFinder,
    EarlyStopping,
    LearningRateFinder,
    ModelCheckpoint,
    ProgressBar,
)
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.io import CheckpointIO

from segfocal import data
from segfocal.data.base import CaseData
from segfocal.errors import SegfocalError
from segfocal.models.downloads import asked_weights, fetching, without_downloads
from segfocal.training.arguments import check_config_files, config_files, lift_nulls
from segfocal.training.checkpoints import RunCheckpoints, SyncedCheckpointIO, check_monitor
from segfocal.training.messages import explain, not_built
from segfocal.training.monitors import Presence, passes_nan
from segfocal.training.phases.settings import ActivePhase, Finetune
from segfocal.training.phases.trainer import PhaseTrainer
from segfocal.training.task import SegmentationTask
from segfocal.training.trust import check_run, class_paths, published_only
from segfocal.yaml_text import to_yaml

_TRAINER_DEFAULTS = {
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,  # Lightning's repeats images to fill its batches
    "enable_model_summary": False,
    "log_every_n_steps": 20,
}

# defaults of Lightning's callbacks that jsonargparse cannot write into config.yaml: the device of
# StochasticWeightAveraging, the interval of Timer
register_type(torch.device, str, torch.device, fail_already_registered=False)
yaml.SafeDumper.add_multi_representer(StrEnum, lambda dumper, word: dumper.represent_str(word.value))

_HIGHER = ("dice", "iou", "precision", "recall", "dataset_dice", "dataset_iou")  # the better
_FREEZES = (
    "freezes an attribute backbone, which a SegmentationTask has not. Use segfocal finetune with "
    "finetune.phases, which freezes parts."
)
_REFUSED: dict[type, str] = {
    LearningRateFinder: "trains with rates of its own in place of model.schedule and cannot be used. Set "
    "model.learning_rate, or search it: segfocal tune.",
    BatchSizeFinder: "trains at a batch size that config.yaml does not show and cannot be used. Set "
    "data.init_args.batch_size.",
    BackboneFinetuning: _FREEZES,
    BaseFinetuning: _FREEZES,
}
_UNWRITTEN = "Unable to serialize instance"  # what jsonargparse writes in the place of a value


class SegfocalCLI(LightningCLI):
    """Reads a configuration and builds task and data.

    Args:
        argv: Words such as ``--config X.yaml --model.learning_rate 0.01``; flags win over the file. Nothing
            is read from a checkpoint, so that its settings never overrule them.
        pretrained: Whether the network may fetch pretrained weights; not where a checkpoint replaces them.
        run: The config.yaml of a run, where the words begin with it: classes that are not published ones are
            refused, unless this user trained it on this machine.
        trust: Whether the user vouches for that run.

    Raises:
        SegfocalError: One short message for anything that does not parse.
    """

    model: SegmentationTask
    datamodule: LightningDataModule

    def __init__(
        self, argv: Sequence[str], *, pretrained: bool = True, run: Path | None = None, trust: bool = False
    ) -> None:
        self.restricted = run is not None and check_run(run, trust=trust)
        self.argv = list(argv)
        self.pretrained = pretrained
        super().__init__(
            SegmentationTask,
            LightningDataModule,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults=_TRAINER_DEFAULTS,
            parser_kwargs={"exit_on_error": False, "allow_abbrev": False},
            args=lift_nulls(self.argv),
            auto_configure_optimizers=False,
            run=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add ``--checkpoint.*`` and ``--finetune.*``.

        Args:
            parser: The parser.
        """
        parser.add_lightning_class_args(RunCheckpoints, "checkpoint")
        parser.add_argument("--finetune", type=Finetune | None, default=None)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and say in one message what is wrong.

        Args:
            parser: The parser.
            args: The words.

        Raises:
            SegfocalError: As the class.
        """
        check_config_files(self.argv)
        _import_data(self.argv)
        try:
            with contextlib.redirect_stderr(io.StringIO()), published_only(self.restricted):
                self.config = parser.parse_args(args)
        except (argparse.ArgumentError, ValueError, TypeError) as error:
            known = [action.dest for action in parser._actions]
            raise explain(str(error), known=known) from error
        if not self.pretrained or not _mentions_weights(self.argv):
            network = self.config.model.network.as_dict()
            self.config.model.network = Namespace(without_downloads(network))

    def instantiate_classes(self) -> None:
        """Build task, data and callbacks; the trainer waits until the run directory is known."""
        try:
            wanted = asked_weights(self.config.model.network.as_dict())
            with fetching(wanted), published_only(self.restricted):
                self.config_init = self.parser.instantiate_classes(self.config)
        except Exception as error:  # constructors of other packages raise whatever they like
            raise _own_error(error) or not_built(error) from error
        self.datamodule = self._get(self.config_init, "data")
        self.model = self._get(self.config_init, "model")
        self.checkpoints: RunCheckpoints = self._get(self.config_init, "checkpoint")

    def dump(self) -> str:
        """Return the merged configuration as YAML.

        Raises:
            SegfocalError: Naming a value that cannot be written down, such as a function.
        """
        with warnings.catch_warnings(), published_only(self.restricted):  # words are tried as imports
            warnings.simplefilter("ignore")  # said below
            text = str(self.parser.dump(self.config, skip_none=False))
        if _UNWRITTEN not in text:
            return text
        return to_yaml(dict(_written(yaml.safe_load(text), self.config.as_dict(), "")))

    def settings(self) -> dict[str, Any]:
        """Return the merged configuration as plain values."""
        return dict(yaml.safe_load(self.dump()))

    def completed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return earlier settings with the defaults that were added since.

        Args:
            settings: What ``settings`` returned, perhaps of an older version.

        Returns:
            The same as they are where they no longer parse.
        """
        try:
            own = class_paths(self.settings())  # an edited history names no other classes
            with contextlib.redirect_stderr(io.StringIO()), published_only(True, also=own):
                parsed = self.parser.parse_object(copy.deepcopy(dict(settings)))
                return dict(yaml.safe_load(self.parser.dump(parsed, skip_none=False)))
        except (argparse.ArgumentError, ValueError, TypeError, AttributeError):
            return dict(settings)

    @property
    def finetune(self) -> Finetune | None:
        """The ``finetune`` section; None where there is none."""
        found = self._get(self.config_init, "finetune")
        assert found is None or isinstance(found, Finetune)
        return found

    @property
    def limits(self) -> dict[str, Any]:
        """Where the trainer's settings end the training: ``max_steps`` (-1 for none) and ``max_epochs``."""
        settings = self._get(self.config_init, "trainer")
        return {name: settings[name] for name in ("max_steps", "max_epochs")}

    @property
    def seed(self) -> int:
        """The number that seeded the process."""
        return int(self._get(self.config, "seed_everything") or 0)

    def summary(self) -> str:
        """Return one line per thing that is trained, how, and on what."""
        network, data = self.model.network, self.datamodule
        weights = sum(p.numel() for p in network.parameters() if p.requires_grad)
        note = f"{self.model.note}\n" if self.model.note else ""
        return (
            f"network {type(network).__name__}, {weights:,} weights; data {type(data).__name__}\n{note}"
            f"loss {self.model.loss!r}"
            f"{self.model.penalties.summary(network)}"
        )

    @property
    def ends(self) -> bool:
        """Whether the trainer's settings say how long to train."""
        settings = self._get(self.config_init, "trainer")
        ends = [settings["max_epochs"], settings["max_time"], settings["fast_dev_run"] or None]
        return settings["max_steps"] != -1 or any(end is not None for end in ends)

    def check_end(self) -> None:
        """Raise unless the configuration says how long to train.

        Raises:
            SegfocalError: Naming the options.
        """
        if not self.ends:
            raise SegfocalError(
                "trainer.max_steps or trainer.max_epochs must say how long to train, got neither. "
                "Add one to the configuration or the command, e.g. --trainer.max_epochs 20."
            )

    def check_monitors(self, known: Collection[str]) -> None:
        """Raise where a metric of validation is monitored that ours does not log, or rates are searched.

        Args:
            known: Names that our own validation logs; callbacks from elsewhere may log any others.

        Raises:
            SegfocalError: With the nearest name.
        """
        given = _listed(self._get(self.config_init, "trainer")["callbacks"])
        for callback in given:
            if reason := _REFUSED.get(type(callback)):
                raise SegfocalError(f"trainer.callbacks: {type(callback).__name__} {reason}")
        if not all(type(callback).__module__.startswith("pytorch_lightning.") for callback in given):
            return
        check_monitor("checkpoint.monitor", self.checkpoints.monitor, known)
        for callback in given:
            if isinstance(callback, EarlyStopping) and callback.monitor.startswith("val"):
                check_monitor("the monitor of EarlyStopping", callback.monitor, known)
            if isinstance(callback, EarlyStopping | ModelCheckpoint) and callback.monitor in known:
                _check_mode(type(callback).__name__, str(callback.monitor), callback.mode)

    def check_no_monitors(self) -> None:
        """Raise where a callback waits for a score of validation, but there are no validation images.

        Raises:
            SegfocalError: Naming the callback.
        """
        for callback in _listed(self._get(self.config_init, "trainer")["callbacks"]):
            if isinstance(callback, EarlyStopping) and callback.monitor.startswith("val"):
                raise SegfocalError(
                    f"EarlyStopping monitors {callback.monitor}, but the data have no validation images. "
                    "Give the split val of the data some, or leave that callback out."
                )

    def monitor_notes(self, known: Collection[str]) -> list[str]:
        """Return what the monitored scores of validation cover and do not see, one line each.

        Args:
            known: Names that our own validation logs.

        Raises:
            SegfocalError: Where one of them can see nothing at all.
        """
        settings, data, facts = self._get(self.config_init, "trainer"), self.datamodule, self.model.facts
        limit = settings["limit_val_batches"]
        if not isinstance(data, CaseData) or facts is None or settings["fast_dev_run"] or limit == 0:
            return []
        given = [c for c in _listed(settings["callbacks"]) if isinstance(c, EarlyStopping | ModelCheckpoint)]
        names = [self.checkpoints.monitor, *(str(callback.monitor) for callback in given)]
        most = limit * data.val_batch_size if isinstance(limit, int) else math.inf
        presence = Presence.of(data, facts, most=most)
        return presence.notes([name for name in names if name in known], empty=self.model.empty)

    def build_trainer(
        self,
        *,
        loggers: Sequence[Logger],
        callbacks: Sequence[Callback],
        root: str,
        training: bool = True,
        phase: ActivePhase | None = None,
    ) -> Trainer:
        """Make the trainer.

        Args:
            loggers: Ours; those of the configuration come beside them.
            callbacks: Ours; those of the configuration come first.
            root: The run directory.
            training: Whether callbacks and loggers of the configuration take part.
            phase: Of fine-tuning; the configuration's callbacks begin anew in each.

        Returns:
            The trainer.
        """
        settings = dict(self._get(self.config_init, "trainer"))
        given = [passes_nan(each) for each in _listed(settings["callbacks"])] if training else []
        own = _listed(settings["logger"]) if training else []
        settings["callbacks"] = [*given, *callbacks]
        plugins = _listed(settings["plugins"])
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            settings["plugins"] = [*plugins, SyncedCheckpointIO()]
        settings["logger"] = [*loggers, *own] or False
        settings["default_root_dir"] = root
        settings["enable_progress_bar"] = any(isinstance(c, ProgressBar) for c in settings["callbacks"])
        if phase is not None:
            settings |= phase.limits(**self.limits)
            settings["callbacks"] = [*copy.deepcopy(given), *callbacks]
        try:
            if phase is not None:
                return PhaseTrainer(first_step=phase.first_step, first_epoch=phase.first_epoch, **settings)
            return Trainer(**settings)
        except (ValueError, TypeError, RuntimeError, ImportError, MisconfigurationException) as error:
            raise _own_error(error) or SegfocalError(f"trainer: {error}") from error


def _written(dumped: Any, given: Any, key: str) -> Any:
    """Return what was dumped, with the words that the parser could not write as they were given."""
    if isinstance(dumped, str) and dumped.startswith(_UNWRITTEN):
        if isinstance(given, str | int | float):
            return given
        raise SegfocalError(
            f"{key} cannot be written into config.yaml, got {given!r}. Leave it out, or give a word, a "
            "number or a class_path."
        )
    if isinstance(dumped, Mapping) and isinstance(given, Mapping):
        pairs = ((name, part, f"{key}.{name}" if key else str(name)) for name, part in dumped.items())
        return {name: _written(part, given.get(name), below) for name, part, below in pairs}
    if isinstance(dumped, list) and isinstance(given, list):
        pairs_of = zip(dumped, given, strict=True)
        return [_written(part, other, f"{key}.{n}") for n, (part, other) in enumerate(pairs_of)]
    return dumped


def _check_mode(name: str, monitor: str, mode: str) -> None:
    """Raise where a callback takes the wrong direction for the better one: Lightning's default is min."""
    score = monitor.split("/")[1]
    better = "min" if score == "loss" else "max" if score in _HIGHER else mode
    if mode != better:
        raise SegfocalError(
            f"{name} monitors {monitor} with mode {mode}, but the better one is the "
            f"{'smaller' if mode == 'max' else 'larger'}. Set mode: {better} in its init_args."
        )


def _own_error(error: BaseException | None) -> SegfocalError | None:
    """Return the error of ours that the parser wrapped into its own, if there is one."""
    while error is not None and not isinstance(error, SegfocalError):
        error = error.__cause__ or error.__context__
    return error


def _mentions_weights(argv: Sequence[str]) -> bool:
    """Return whether the user chose pretrained weights or none; smp would download some by default."""
    texts = [*argv, *(Path(file).read_text("utf-8-sig") for file in config_files(argv))]
    return any("weights" in text or "pretrained" in text for text in texts)


def _import_data(argv: Sequence[str]) -> None:
    """Import the data modules that are named without their package: the parser finds what is imported."""
    texts = [*argv, *(Path(file).read_text("utf-8") for file in config_files(argv))]
    words = {word for text in texts for word in re.findall(r"(?<![.\w])[A-Z]\w+", text)}
    for name in words & set(data.__all__):
        getattr(data, name)


def _listed(value: Any) -> list[Any]:
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, list) else [value]
