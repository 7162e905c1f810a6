"""A location encoder, and the head that brings photos to it (Vivanco Cepeda et al., GeoCLIP, NeurIPS 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from ial_bench.seeds import derive_seed

_FIRST_SCALE, _MAX_SCALE = 1 / 0.07, 100.0  # CLIP's own


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


class PhotoHead(nn.Module):
    """``W2 ReLU(W1 sqrt(d) f + b1) + b2`` of unit features f: where a photo lies among locations.

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

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """Keep the factor where CLIP keeps it: from 1 to 100."""
        self.log_scale.clamp_(0, math.log(_MAX_SCALE))
