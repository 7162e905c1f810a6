"""Random numbers whose seed depends on exactly the axes they should vary with."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(*axes: str | int) -> int:
    """A 63-bit seed from `axes`, the same on every machine and in every process.

    ``derive_seed("val", 0)`` and ``derive_seed("sign flips", 0)`` are unrelated, though both use seed 0.
    """
    text = "\x1f".join(f"{type(a).__name__}:{a}" for a in axes)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*axes: str | int) -> np.random.Generator:
    """A PCG64 generator seeded by `axes`."""
    return np.random.Generator(np.random.PCG64(derive_seed(*axes)))
