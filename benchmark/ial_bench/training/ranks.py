"""Several processes that train one model: each takes a share of every batch, and the loss is that of the whole.

Features are gathered with their gradients, so that contrastive losses see the global batch, and gradients are
averaged: together this is exactly the step that one process would take with the joint batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import nn

from ial_bench.training.checkpoint import laid_out_like
from ial_bench.training.sampler import Rows

_PATIENCE = timedelta(days=30)  # the others wait while the main process encodes, evaluates and answers


class Ranks:
    """The processes of this training; one, unless a launcher (`accelerate launch`, `torchrun`) started several.

    Args:
        device: what this process computes on. The first `Ranks` of a process decides by it how they communicate.

    Raises:
        ConfigError: several were started, but accelerate is not installed.
    """

    def __init__(self, device: str | None = None) -> None:
        self._accelerator: Any = None
        self.rank, self.size = 0, 1
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            self._accelerator = _accelerator(device)
            self.rank, self.size = self._accelerator.process_index, self._accelerator.num_processes

    @property
    def main(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def share(self, rows: Rows) -> Rows:
        """This process's part of a batch whose length is a multiple of `size`."""
        return np.split(rows, self.size)[self.rank]

    def gather(self, x: torch.Tensor) -> torch.Tensor:
        """The parts [b, ...] of all processes as [size * b, ...], in order of rank; gradients flow back to each."""
        if self._accelerator is None:
            return x
        from torch.distributed.nn.functional import all_gather

        return torch.cat(all_gather(x.contiguous()))  # type: ignore[no-untyped-call]

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes; a missing one counts as zeros."""
        if self._accelerator is None:
            return
        own = list(parameters)
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in own])
        mean = self._accelerator.reduce(flat, reduction="mean")
        for parameter, grad in zip(own, mean.split([p.numel() for p in own]), strict=True):
            parameter.grad = laid_out_like(parameter.detach(), grad.view_as(parameter))

    def wait(self) -> None:
        """Until all processes are here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()

    def tell(self, value: Any) -> Any:
        """The main process's `value`, in every process."""
        if self._accelerator is None:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value], from_process=0)[0]


def _accelerator(device: str | None) -> Any:
    from ial_bench.errors import ConfigError

    try:
        from accelerate import Accelerator, InitProcessGroupKwargs
    except ImportError as error:
        raise ConfigError(
            "several processes were started, but accelerate is not installed", "pip install 'ial-bench[distributed]'"
        ) from error
    patience = InitProcessGroupKwargs(timeout=_PATIENCE)
    return Accelerator(cpu=True if device == "cpu" else None, kwargs_handlers=[patience])
