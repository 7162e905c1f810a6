"""The contract between the harness and a method.

A method is a class with an `info` and a `Config`. The engine makes it, and calls, in this order::

    prepare()                     can it run here? raise SkipMethod(reason) if not
    fit(train, val)               learn; choose hyper-parameters on val
    index(candidates)             encode the candidates, build the search index
    predict(images, k)            the k best candidates of each photo
    answered()                    record what only the queries show

`state` / `restore` carry a fitted method over a restart, and the engine carries its `facts`. Nothing that a method is
given reveals the address of a query.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from ial_bench.files import checked_name
from ial_bench.progress import Reporter
from ial_bench.seeds import generator

if TYPE_CHECKING:
    from ial_bench.datasets.photos import Candidates, Photos
    from ial_bench.encoders.encoder import Encoder, EncoderCard
    from ial_bench.encoders.image_tower import ImageTower
    from ial_bench.encoders.towers import ClipTowers
    from ial_bench.image_batch import ImageBatch
    from ial_bench.topk import TopK
    from ial_bench.workload import Sizes, Workload

State: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Named arrays: all that a fitted and indexed method needs to answer."""

FinalFit = Literal["none", "train", "train+val"]
Scores = Literal["order", "logits", "sigmoid"]


@dataclass(frozen=True)
class MethodInfo:
    """What a method is, for listings, tables and records.

    Attributes:
        name: the name to run it by: lower case, words joined by ``-``.
        title: the name in tables.
        family: its group in listings, such as ``baseline``, ``clip``, ``retrieval``.
        summary: one sentence.
        reference: paper it comes from, or a citation key; empty for none.
        version: raised whenever a change can change its answers; part of the run's identity.
        stochastic: whether the seed changes its answers. One that is not is run once.
        oracle: whether it is given the true positions of queries. Oracles are shown, never ranked.
        final_fit: the labelled photos that the final fit uses.
        scores: what scores mean besides their order. ``logits``: their softmax over all candidates gives the method's
            probabilities. ``sigmoid``: the sigmoid of each is the probability that this candidate is right, whatever
            the others. ``order``: nothing.

    Raises:
        ConfigError: an invalid name; records lie in folders named after it.
    """

    name: str
    title: str
    family: str
    summary: str = ""
    reference: str = ""
    version: str = "1"
    stochastic: bool = False
    oracle: bool = False
    final_fit: FinalFit = "train+val"
    scores: Scores = "order"

    def __post_init__(self) -> None:
        checked_name(self.name, "method")


class MethodConfig(BaseModel):
    """Settings of a method; subclass it as `Config` inside the method. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a method's model: all, and those that `fit` trains."""

    total: int = 0
    trained: int = 0


class FeatureSource(Protocol):
    """Where features of frozen encoders come from: the engine's cache, or computed on the spot."""

    def card(self, spec: str) -> EncoderCard:
        """What is known of the encoder; it is loaded only where no earlier load left its card."""
        ...

    def encoder(self, spec: str) -> Encoder:
        """The encoder, loaded once per process.

        Raises:
            SkipMethod: its weights or its library are not available here.
        """
        ...

    def towers(self, spec: str) -> ClipTowers:
        """A separate copy of an open_clip model, to be trained or prompted.

        Raises:
            SkipMethod: its weights are not available here, or it has no CLIP text tower.
        """
        ...

    def image_tower(self, spec: str, pooling: str) -> ImageTower:
        """A separate copy of an encoder's image tower, to be trained, with its own pooling or another.

        Raises:
            SkipMethod: its weights are not available here, or it cannot be trained here.
            ConfigError: it does not support the pooling.
        """
        ...

    def photos(self, spec: str, photos: Photos) -> npt.NDArray[np.float32]:
        """float32 [n, d], memory-mapped: features of dataset photos, computed where the cache lacks them."""
        ...

    def batch(self, spec: str, images: ImageBatch) -> npt.NDArray[np.float32]:
        """float32 [n, d]: features of a batch."""
        ...


@dataclass(frozen=True)
class RunContext:
    """What a method may use of its surroundings.

    Attributes:
        seed: the run's seed.
        device: torch device, such as ``cpu`` or ``cuda``.
        features: encoders and their features.
        report: progress and lines for the user.
        batch_size: photos to encode at once.
        workers: processes that may read and decode photos.
        work: folder of this run, kept until the run is done: checkpoints go here. None: keep none.
        checkpoint_steps: training steps between checkpoints.
        cache: folder that outlives the run, for what other runs can use too, such as answers of a service. None: keep
            nothing.
        parts: where the parts of methods come from. None: they are fitted on the spot.
    """

    seed: int
    device: str
    features: FeatureSource
    report: Reporter
    batch_size: int = 32
    workers: int = 0
    work: Path | None = None
    checkpoint_steps: int = 200
    cache: Path | None = None
    parts: PartSource | None = None

    def rng(self, *axes: str | int) -> np.random.Generator:
        """Random numbers that depend on the run's seed and on `axes`."""
        return generator("method", self.seed, *axes)


class Method(ABC):
    """A way to answer "at which of these addresses was this photo taken?".

    Subclasses set `info`, may define a nested `Config`, and implement `predict`; the rest as needed.
    """

    info: ClassVar[MethodInfo]
    uses_features: ClassVar[bool] = False
    """Whether it works on features of its frozen backbone: the engine then encodes all photos beforehand."""
    shares_fit: ClassVar[bool] = False
    """Whether its fit, before `index`, is kept for its own runs and for all methods that name it as a part; `fit_state`
    and `restore_fit` then carry it."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named settings, such as ``paper`` for the published ones; single settings may be changed on top."""

    class Config(MethodConfig):
        """No settings."""

    def __init__(self, config: MethodConfig, context: RunContext) -> None:
        self.config = config
        self.context = context

    @property
    def backbone(self) -> str | None:
        """Spec of the pretrained encoder the method starts from; its weights are part of the run's identity."""
        return None

    @property
    def scores_are(self) -> Scores:
        """What the scores of this configuration mean besides their order; valid once it is fitted or restored."""
        return self.info.scores

    @property
    def reads_streets(self) -> bool:
        """Whether it reads the street network of the candidates, which is then part of the run's identity."""
        return False

    def prepare(self) -> None:  # noqa: B027 - an optional hook
        """Check that the method can run here.

        Raises:
            SkipMethod: it cannot, and why.
        """

    def fit(self, train: Photos, val: Photos) -> None:  # noqa: B027 - an optional hook
        """Learn from `train`; choose hyper-parameters on `val`, which may be empty."""

    def index(self, candidates: Candidates) -> None:  # noqa: B027 - an optional hook
        """Prepare to answer: encode the candidates or build the search index. Timed apart from `fit`."""

    @abstractmethod
    def predict(self, images: ImageBatch, k: int) -> TopK:
        """The k best candidates of each photo (all, where there are fewer than k).

        The timed method: from decoded RGB in memory to the list. The answer for a photo must not depend on
        the other photos of the batch.
        """

    def answered(self) -> None:  # noqa: B027 - an optional hook
        """Write into `facts` what only the queries show; called once, when all are answered."""

    def parts(self) -> Mapping[str, Part]:
        """What it is made of, by names of its own: methods that share their fit, with their settings."""
        return {}

    def part(self, name: str, train: Photos, val: Photos) -> Method:
        """One of its `parts`, fitted and not yet indexed; for `fit`, which may change it.

        Raises:
            SkipMethod: it cannot be fitted here.
        """
        source = self.context.parts or FitOnTheSpot(self.context)
        return source.fitted(name, self.parts()[name], train, val)

    def fit_state(self) -> State:
        """Arrays from which `restore_fit` rebuilds what `fit` made; for methods that share their fit."""
        raise NotImplementedError(f"{type(self).__name__} shares its fit but has no fit_state()")

    def restore_fit(self, state: State) -> None:
        """Restore what `fit_state` returned; called instead of `fit`."""
        raise NotImplementedError(f"{type(self).__name__} shares its fit but has no restore_fit()")

    def state(self) -> State:
        """Arrays from which `restore` makes the method ready to answer. The default: no state."""
        return {}

    def restore(self, state: State) -> None:
        """Restore what `state` returned; called instead of `fit` and `index` when a run resumes."""
        if state:
            raise NotImplementedError(f"{type(self).__name__} has a state but no restore()")

    def save(self, folder: Path) -> None:
        """Store the state in `folder`, which exists and is empty. Override it for what is not an array."""
        from safetensors.numpy import save_file

        save_file({k: np.asarray(v, order="C") for k, v in self.state().items()}, folder / "state.safetensors")

    def load(self, folder: Path) -> None:
        """Restore what `save` stored."""
        from safetensors.numpy import load_file

        self.restore(load_file(folder / "state.safetensors"))

    def storage_bytes(self) -> int:
        """Exact bytes needed to answer queries: weights, index, candidate features."""
        return sum(v.nbytes for v in self.state().values())

    def workload(self, sizes: Sizes) -> Workload | None:  # noqa: ARG002 - for those that know
        """What a run has to do, by which its cost is estimated before it begins. None: only earlier runs show it."""
        return None

    def parameters(self) -> ParameterCount:
        """Parameters of the model."""
        return ParameterCount()

    @cached_property
    def facts(self) -> dict[str, Any]:
        """A dictionary to write into: JSON values worth keeping in the record, such as chosen hyper-parameters.

        The engine stores them after the fit and after the queries, and gives them back before `restore` or `load`.
        """
        return {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a function in the place of the dictionary of facts.

        Raises:
            TypeError: `facts` is a function, which nobody would call.
        """
        super().__init_subclass__(**kwargs)
        if callable(cls.__dict__.get("facts")):
            raise TypeError(f"{cls.__name__}.facts is a dictionary to write into, no function: self.facts[...] = ...")


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
        """`method` with those settings of `config`, another method's, that it has too."""
        own = {name: getattr(config, name) for name in method.Config.model_fields}
        return cls(method, method.Config(**own))


class PartSource(Protocol):
    """Where fitted parts come from: the engine, which fits each once and keeps it, or a fit on the spot."""

    def fitted(self, name: str, part: Part, train: Photos, val: Photos) -> Method:
        """The part's method, fitted and not yet indexed; the caller may change it.

        Args:
            name: the part's name in the method that is made of it.
            part: the part.
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

    def fitted(self, name: str, part: Part, train: Photos, val: Photos) -> Method:  # noqa: ARG002 - nothing is kept
        """The part's method, fitted."""
        method = part.method(part.config, self.context)
        method.prepare()
        method.fit(train, val)
        return method
