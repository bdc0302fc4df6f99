"""Which cells can start: those whose needs have ended, in the order of the plan."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Literal

Ending = Literal["done", "failed", "blocked"]


class Schedule:
    """Cells and what they wait for.

    Args:
        cells: As plan.json holds them, each after those it needs.
    """

    def __init__(self, cells: Iterable[dict[str, Any]]) -> None:
        self.cells = {cell["id"]: cell for cell in cells}
        self.endings: dict[str, Ending] = {}
        self.unmet = {name: len(cell["needs"]) for name, cell in self.cells.items()}
        self.waiting_for: dict[str, list[str]] = {}
        for name, cell in self.cells.items():
            for need in cell["needs"]:
                self.waiting_for.setdefault(need, []).append(name)
        self.ready = deque(name for name, count in self.unmet.items() if not count)

    def next(self) -> str | None:
        """Return the next cell that can start, or None."""
        return self.ready.popleft() if self.ready else None

    def again(self, cell: str) -> None:
        """Put a cell back to the front.

        Args:
            cell: Its name.
        """
        self.ready.appendleft(cell)

    def end(self, cell: str, ending: Ending) -> None:
        """Note that a cell ended, and let those go on that waited for it.

        Args:
            cell: Its name.
            ending: How.
        """
        left = [(cell, ending)]
        while left:
            name, how = left.pop()
            self.endings[name] = how
            for waiting in self.waiting_for.get(name, []):
                self.unmet[waiting] -= 1
                if self.unmet[waiting]:
                    continue
                if self._is_possible(waiting):
                    self.ready.append(waiting)
                else:
                    left.append((waiting, "blocked"))

    def count(self, ending: Ending) -> int:
        """Return how many cells ended in one way.

        Args:
            ending: Which.
        """
        return sum(how == ending for how in self.endings.values())

    def is_over(self) -> bool:
        """Return whether every cell ended."""
        return len(self.endings) == len(self.cells)

    def _is_possible(self, name: str) -> bool:
        """Without the weights it begins with a cell cannot run; of a search one trial is enough."""
        cell = self.cells[name]
        trials = [need for need in cell["needs"] if need != cell["source"]]
        source = cell["source"] is None or self.endings[cell["source"]] == "done"
        return source and (not trials or any(self.endings[trial] == "done" for trial in trials))
