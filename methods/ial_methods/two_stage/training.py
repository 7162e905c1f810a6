"""Training of first stages: the regression head, and the location encoder of GeoCLIP."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from ial_bench import RunContext, derive_seed
from ial_bench.training.config import TrainingConfig
from ial_bench.training.loop import full_precision
from ial_bench.training.sampler import Rows, step_candidates
from ial_bench.training.task import FeatureTask

_FIRST_SCALE, _MAX_SCALE = 1 / 0.07, 100.0  # CLIP's own


class PhotoHead(nn.Module):
    """``W2 ReLU(W1 sqrt(d) f + b1) + b2`` of unit features f.

    Args:
        dim_in: d.
        width: of the hidden layer.
        dim: of the answer.
    """

    def __init__(self, dim_in: int, width: int, dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim_in, width)
        self.out = nn.Linear(width, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, dim] of unit features [n, d], whose entries are brought to a size of about 1."""
        answer: torch.Tensor = self.out(torch.relu(self.hidden(x * math.sqrt(x.shape[1]))))
        return answer


class PositionHead(PhotoHead):
    """Metres east and north of unit features: the answer of a `PhotoHead`, times `scale` metres.

    Random weights follow from `seed`.
    """

    def __init__(self, dim_in: int, width: int, scale: float, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("two-stage-regression", seed))
            super().__init__(dim_in, width, 2)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 2] metres of unit features [n, d]."""
        return self.scale * super().forward(x)


class FourierFeatures(nn.Module):
    """``[cos 2 pi B x, sin 2 pi B x]`` with B of normal frequencies (Rahimi and Recht, NeurIPS 2007).

    The mean over frequencies of the inner product of two of them is close to ``exp(-2 pi^2 (d / wavelength)^2)``, a
    Gaussian of deviation wavelength / 2 pi in the distance d of the points.

    Args:
        wavelength: one over the deviation of the frequencies, metres.
        n: frequencies.
    """

    frequencies: torch.Tensor

    def __init__(self, wavelength: float, n: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(n, 2) / wavelength)  # cycles a metre

    def forward(self, metres: torch.Tensor) -> torch.Tensor:
        """[p, 2 n] of points [p, 2] on a plane."""
        # Not as a matrix product, which may be taken in half precision: phases are thousands of radians.
        turns = metres[:, :1] * self.frequencies[:, 0] + metres[:, 1:] * self.frequencies[:, 1]
        return torch.cat([torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns)], dim=1)


class LocationEncoder(nn.Module):
    """A sum of networks, each on Fourier features of one wavelength.

    Args:
        wavelengths: metres.
        frequencies: of each wavelength.
        width: of the three hidden layers.
        dim: of the answer.
    """

    def __init__(self, wavelengths: Sequence[float], frequencies: int, width: int, dim: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.Sequential(
                FourierFeatures(wavelength, frequencies),
                nn.Linear(2 * frequencies, width), nn.ReLU(),
                nn.Linear(width, width), nn.ReLU(),
                nn.Linear(width, width), nn.ReLU(),
                nn.Linear(width, dim),
            )
            for wavelength in wavelengths
        )  # fmt: skip

    def forward(self, metres: torch.Tensor) -> torch.Tensor:
        """[p, dim] of points [p, 2] on a plane."""
        return torch.stack([one(metres) for one in self.scales]).sum(dim=0)


class LocationModel(nn.Module):
    """Both encoders, and the factor on their cosines. Random weights and frequencies follow from `seed`.

    Args:
        dim_in: of photos' features.
        photo_width: of the photo head's hidden layer.
        wavelengths: metres; this and the next as in `LocationEncoder`.
        frequencies: of each wavelength.
        width: of the location encoder's hidden layers.
        dim: of both answers.
        seed: of the run.
    """

    def __init__(
        self, dim_in: int, photo_width: int, wavelengths: Sequence[float], frequencies: int, width: int, dim: int,
        seed: int,
    ) -> None:  # fmt: skip
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("two-stage-location", seed))
            self.photos = PhotoHead(dim_in, photo_width, dim)
            self.locations = LocationEncoder(wavelengths, frequencies, width, dim)
        self.log_scale = nn.Parameter(torch.tensor(math.log(_FIRST_SCALE)))


def photo_position_nce(
    photos: torch.Tensor, positions: torch.Tensor, target: torch.Tensor, scale: torch.Tensor | float
) -> torch.Tensor:
    """Symmetric InfoNCE in which each distinct position stands once, shared by all photos taken there.

    Half of it is the cross-entropy of each photo's position among all; the other half, of the photos of each position
    among all photos, with equal shares. Positions without a photo are wrong answers to the first half alone. Where
    every photo has a position of its own, and there are no others, it is CLIP's loss.

    Args:
        photos: [n, d], of any length.
        positions: [p, d], of any length.
        target: int64 [n], each photo's position.
        scale: factor on cosines.
    """
    logits = scale * F.normalize(photos, dim=-1) @ F.normalize(positions, dim=-1).T
    by_photo = F.cross_entropy(logits, target)
    seen, counts = torch.unique(target, return_counts=True)
    right = (target[:, None] == seen[None, :]).to(logits.dtype)
    by_position = -((right / counts) * F.log_softmax(logits[:, seen], dim=0)).sum(dim=0).mean()
    loss: torch.Tensor = (by_photo + by_position) / 2
    return loss


class RegressionTask(FeatureTask):
    """Photos' features against coordinates. Arguments not named here are those of `TrainingTask`.

    Args:
        head: what is trained.
        huber_m: metres, the threshold of the loss.
        x: float32 [n, d], features of the train photos.
        metres: float32 [n, 2], their positions.
    """

    def __init__(
        self, name: str, config: TrainingConfig, context: RunContext, head: PositionHead, huber_m: float,
        x: npt.NDArray[np.float32], metres: npt.NDArray[np.float32], val_ssa1: Callable[[], float | None],
    ) -> None:  # fmt: skip
        super().__init__(name, config, context, head, x, np.arange(len(x)), val_ssa1, unit=True)
        self._huber_m, self._metres = huber_m, torch.from_numpy(metres)

    def losses(self, rows: Rows, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Mean Huber loss of both coordinates over the joint batch, over its threshold: metres, of large errors."""
        found = self.ranks.gather(self.module(inputs.to(self.device)).float())
        true = self.ranks.gather(self._metres[rows].to(self.device))
        return {"loss": F.huber_loss(found, true, delta=self._huber_m) / self._huber_m}


class LocationTask(FeatureTask):
    """Photos' features against the positions of their batch, each distinct one once.

    Every process encodes all positions of the joint batch: they are few and their encoder is small, and the step is
    then the one of a single process. Arguments not named here are those of `TrainingTask`.

    Args:
        model: what is trained.
        extra: train positions drawn for each step as wrong answers beside those of its photos.
        x: float32 [n, d], features of the train photos.
        metres: float32 [p, 2], the distinct positions of the train photos.
        position: int64 [n], which of them each train photo has.
    """

    module: LocationModel

    def __init__(
        self, name: str, config: TrainingConfig, context: RunContext, model: LocationModel, extra: int,
        x: npt.NDArray[np.float32], metres: npt.NDArray[np.float32], position: Rows,
        val_ssa1: Callable[[], float | None],
    ) -> None:  # fmt: skip
        super().__init__(name, config, context, model, x, np.arange(len(x)), val_ssa1, unit=True)
        self._extra, self._metres, self._position = extra, torch.from_numpy(metres), position

    def losses(self, rows: Rows, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """`photo_position_nce` over the joint batch, with further positions of train photos as wrong answers."""
        model = self.module
        photos = self.ranks.gather(model.photos(inputs.to(self.device)).float())
        own = self.ranks.gather(torch.from_numpy(self._position[rows]).to(self.device)).cpu().numpy()
        wanted = len(np.unique(own)) + self._extra
        drawn = step_candidates(own, len(self._metres), wanted, self.context.seed, self.trainer.log.steps)
        asked = np.arange(len(self._metres)) if drawn is None else drawn
        positions = model.locations(self._metres[torch.from_numpy(asked)].to(self.device)).float()
        target = torch.from_numpy(np.searchsorted(asked, own)).to(photos.device)
        with full_precision(photos.device):
            return {"loss": photo_position_nce(photos, positions, target, model.log_scale.exp())}

    def after_step(self) -> None:
        """Keep the factor on cosines where CLIP keeps it: from 1 to 100."""
        self.module.log_scale.clamp_(0, math.log(_MAX_SCALE))
