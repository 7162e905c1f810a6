"""Prompt learning against the contract of every method."""

from __future__ import annotations

import pytest

from ial_bench.testing import CHECK_BACKBONE, check_method
from support.prompt_lab import METHODS


@pytest.mark.parametrize("name", ["coop", "cocoop", "maple"])
def test_the_contract_is_kept(name: str) -> None:
    method = METHODS[name]
    check_method(method, method.Config(backbone=CHECK_BACKBONE, epochs=1, batch_size=16, learning_rate=0.01))
