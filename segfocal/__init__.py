"""segfocal: focal losses for imbalanced semantic segmentation, exact, fast, and honestly compared."""

from __future__ import annotations

__version__ = "0.1.0"
