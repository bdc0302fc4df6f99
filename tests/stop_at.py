"""Interrupt a training at a chosen place."""

from segfocal.training.checkpoints import RunCheckpoints


class StopAt:
    """Ask to stop as a signal would, at a step or in a validation."""

    def __init__(self, monkeypatch, *, step=None, validation=None):
        self.step, self.validation, self.validations = step, validation, 0
        batch_end, val_start = RunCheckpoints.on_train_batch_end, RunCheckpoints.on_validation_batch_start

        def on_train_batch_end(callback, trainer, *args):
            if trainer.global_step == self.step:
                callback.stop.name = "SIGINT"
            batch_end(callback, trainer, *args)

        def on_validation_batch_start(callback, trainer, module, batch, index, loader=0):
            self.validations += index == 0
            if index == 1 and self.validations == self.validation:
                callback.stop.name = "SIGTERM"
            val_start(callback, trainer, module, batch, index, loader)

        monkeypatch.setattr(RunCheckpoints, "on_train_batch_end", on_train_batch_end)
        monkeypatch.setattr(RunCheckpoints, "on_validation_batch_start", on_validation_batch_start)
