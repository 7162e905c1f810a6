"""Settings of learnt prompts. No torch here: methods are listed and planned without it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ial_bench import MethodConfig
from ial_bench.workload import Sizes

Position = Literal["end", "middle"]

STOP = "."
"""Ends every prompt, as in the methods' own code. Behind a bracket it is one token with it, as in any text."""
N_CONTEXT = 16
"""Context tokens where neither their number nor a phrase is given."""
SPREAD = 0.02
"""Standard deviation of what is drawn to start from."""


class PromptConfig(MethodConfig):
    """Settings of the context."""

    n_context: int | None = Field(
        None, ge=1, description="learnt tokens M; null: as many as the phrase has, or 16 without one"
    )
    init: str | None = Field(
        None,
        description="phrase whose first M tokens the context starts from, the rest stays as it is; null: Gaussian",
    )


def prompt_tokens(config: PromptConfig, sizes: Sizes) -> float:
    """Tokens of a candidate's prompt, about."""
    phrase = len((config.init or "").split())
    return min(sizes.tokens + (phrase or config.n_context or N_CONTEXT) + 1, sizes.context)
