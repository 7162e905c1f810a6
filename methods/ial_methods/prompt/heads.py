"""What CoOp, CoCoOp and MaPLe train."""

from __future__ import annotations

import torch
from torch import nn

_SQUEEZE = 16  # CoCoOp's hidden layer is so many times narrower than the photo's feature


class CoOpHead(nn.Module):
    """The context, [M, width] or for each candidate [n_candidates, M, width]."""

    def __init__(self, context: torch.Tensor) -> None:
        super().__init__()
        self.context = nn.Parameter(context.clone())


class CoCoOpHead(nn.Module):
    """The context [M, width], and the meta-network from unit features [n, dim] to shifts [n, width]."""

    def __init__(self, context: torch.Tensor, dim: int) -> None:
        super().__init__()
        self.context = nn.Parameter(context.clone())
        hidden = max(1, dim // _SQUEEZE)
        self.meta = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, context.shape[1]))


class MaPLeHead(nn.Module):
    """Prompts of the text tower's blocks, and their couplings to the image tower's.

    Args:
        prompts: [M, width] for each block.
        image_width: of the image tower's tokens; None: it is not prompted.
    """

    def __init__(self, prompts: list[torch.Tensor], image_width: int | None) -> None:
        super().__init__()
        self.texts = nn.ParameterList(nn.Parameter(p.clone()) for p in prompts)
        width = prompts[0].shape[1]
        self.couplings = nn.ModuleList(nn.Linear(width, image_width) for _ in prompts if image_width is not None)

    def visual(self) -> list[torch.Tensor]:
        """[M, image_width] for each block."""
        # Detached where no gradients are wanted: torch's counter of operations fails on what asks for them there.
        texts = self.texts if torch.is_grad_enabled() else [p.detach() for p in self.texts]
        return [couple(p) for couple, p in zip(self.couplings, texts, strict=True)]
