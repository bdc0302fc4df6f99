"""What can be put into an existing network while its weights keep their names."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn


class Change(ABC):
    """A change of what a network computes that leaves every key of its ``state_dict`` as it was.

    So weights of the plain network load into the changed one, and the other way round. In a configuration:
    ``model.changes``, a list that is applied in its order before anything is trained or loaded.
    """

    @abstractmethod
    def apply(self, network: nn.Module) -> None:
        """Change a network in place.

        Args:
            network: Images to logits.

        Raises:
            SegfocalError: If it has nothing that could be changed so.
        """
