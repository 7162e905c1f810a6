"""How a training went. No torch here: listings and records read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class TrainingLog:
    """How a training went.

    Attributes:
        epochs: per epoch its mean losses, val SSA-1 and images per second.
        best_epoch: whose weights were kept, from 1; None before the first.
        steps: taken in all.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int | None = None
    steps: int = 0

    def told(self) -> dict[str, Any]:
        """As JSON values."""
        return {"steps": self.steps, "best_epoch": self.best_epoch, "epochs": self.epochs}

    @property
    def best_val(self) -> float:
        """Val SSA-1 of the best epoch, -1 where none was measured."""
        if self.best_epoch is None:
            return -1.0
        value = self.epochs[self.best_epoch - 1]["val_ssa1"]
        return -1.0 if value is None else float(value)
