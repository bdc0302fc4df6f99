"""Other libraries' losses by their own names and arguments, from our one pass: a module per library.

Change ``from monai.losses import DiceFocalLoss`` into ``from segfocal.losses.compat.monai import
DiceFocalLoss``: the numbers stay, scalings and all, and the memory goes. What is not kept: NaN, overflow, and
wrong input that is taken without a word. An argument that has no counterpart raises and says what to do.

Under data parallelism each rank makes its loss of its own images and the gradients are averaged, as with the
libraries themselves: adapters are modules, no ``SegmentationLoss``, and have no ``sync``. Where the loss of
the whole batch is wanted, use the losses of ``segfocal.losses`` with ``sync=True``.
"""
