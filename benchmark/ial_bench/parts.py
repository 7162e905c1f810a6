"""Parts that methods are made of: what one method has fitted, others start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ial_bench.datasets.photos import Photos
    from ial_bench.method import Method, MethodConfig, RunContext


@dataclass(frozen=True)
class Part:
    """A method whose fit another one is made of.

    Attributes:
        method: the class; its `shares_fit` is true.
        config: its settings: all that matters to the part, and nothing else.
    """

    method: type[Method]
    config: MethodConfig

    @classmethod
    def of(cls, method: type[Method], config: MethodConfig) -> Part:
        """`method` with those of the settings of `config`, of another method's, that are its own too."""
        own = {name: getattr(config, name) for name in method.Config.model_fields}
        return cls(method, method.Config(**own))


class PartSource(Protocol):
    """Where fitted parts come from: the engine, which fits each once and keeps it, or made on the spot."""

    def fitted(self, name: str, part: Part, train: Photos, val: Photos) -> Method:
        """The part's method, fitted and not yet indexed; the caller may change it.

        Args:
            name: what the method that is made of it calls it.
            part: which.
            train: photos to learn from.
            val: photos to choose on.

        Raises:
            SkipMethod: it cannot be fitted here.
        """
        ...


@dataclass(frozen=True)
class FitOnTheSpot:
    """Fits each part whenever it is asked for: for tests, and for methods that are used without the engine."""

    context: RunContext

    def fitted(self, name: str, part: Part, train: Photos, val: Photos) -> Method:  # noqa: ARG002 - nothing is told
        """The part's method, fitted."""
        method = part.method(part.config, self.context)
        method.prepare()
        method.fit(train, val)
        return method
