"""Late fusion of AddressCLIP and retrieval over its tuned features; and its probabilities spread over neighbours."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench import (
    PHOTO,
    Candidates,
    Effort,
    Features,
    MethodInfo,
    Part,
    Photos,
    Scores,
    Sizes,
    State,
    Workload,
    chunks,
)
from ial_bench.json_files import digest
from ial_methods.addressclip.method import AddressClip
from ial_methods.fusion.probabilities import (
    Evidence,
    FusionParameters,
    Grids,
    Probabilities,
    Spread,
    choose,
    choose_spread,
    log_scores,
    neighbour_shares,
    spread,
)
from ial_methods.retrieval.gallery import Gallery, identity, labels_of
from ial_methods.retrieval.knn import LISTED
from ial_methods.retrieval.search import StreamedExact, search, search_effort
from ial_methods.retrieval.votes import Labels, nearest_scores

FloatRows: TypeAlias = npt.NDArray[np.float32]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]

# For datasets without a val split.
_DEFAULT = FusionParameters(weight=0.5, k=10, temperature=0.02, text_temperature=1.0)
_DEFAULT_SPREAD = Spread(part=0.02, bandwidth_m=50.0)

_CELLS = 1 << 22  # photos x candidates whose probabilities are looked at together
_FLOPS_A_CELL = 20  # of a probability that a choice looks at, by what it takes


class Fusion(AddressClip):
    """Averages the answer of AddressCLIP, whose training it shares, and a vote of the nearest labelled photos.

    The vote sees photos by AddressCLIP's tower.

    ``p = w p_retrieval + (1 - w) p_text``: p_text is the softmax of AddressCLIP's logits over all candidates,
    p_retrieval the softmax-weighted vote of the k nearest photos by the cosine of the same feature. The weight w, k and
    both temperatures are chosen together on val, among the train photos; w = 0 and w = 1 are among the weights. Then
    val and database photos join the gallery, as in `retrieval`.
    """

    info = MethodInfo(
        name="fusion",
        title="Fusion",
        family="fusion",
        summary="AddressCLIP's probabilities and a vote of the nearest photos in its feature space, averaged.",
        reference="the sum rule of Kittler et al., On Combining Classifiers, TPAMI 1998, on Xu et al., AddressCLIP, "
        "ECCV 2024",
        stochastic=True,
        final_fit="train+val",
        scores="logits",
        version="2",
    )

    shares_fit = False

    class Config(AddressClip.Config):
        weight_grid: tuple[Share, ...] = Field(
            (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
            min_length=1,
            description="weights of retrieval to choose from, 0 to 1; one value fixes it",
        )
        k_grid: tuple[Annotated[int, Field(ge=1)], ...] = Field(
            (2, 5, 10, 20, 50), min_length=1, description="neighbours to choose from"
        )
        temperature_grid: tuple[Positive, ...] = Field(
            (0.01, 0.02, 0.05, 0.1), min_length=1, description="temperatures of the vote to choose from"
        )
        text_temperature_grid: tuple[Positive, ...] = Field(
            (1.0, 2.0, 4.0), min_length=1, description="temperatures of the texts' logits to choose from"
        )

    config: Config
    choice: FusionParameters
    gallery: Gallery

    def parts(self) -> Mapping[str, Part]:
        """AddressCLIP with these settings."""
        return {"addressclip": Part.of(AddressClip, self.config)}

    def workload(self, sizes: Sizes) -> Workload:
        """All labelled photos through the tower, the candidates' texts twice, and every choice on val."""
        found, query = search_effort(sizes)
        gallery = 4.0 * sizes.labelled * sizes.dim
        fit = Effort(
            images=sizes.labelled, tokens=2 * sizes.candidates * sizes.tokens,
            flops=_FLOPS_A_CELL * self._choices * sizes.val * sizes.candidates,
        )  # fmt: skip
        trained = self.trained_at_most(sizes)
        return Workload(fit + found, PHOTO + query, trained, held=3 * gallery, stored=gallery)

    @property
    def _choices(self) -> int:
        """Answers that are compared for each val photo."""
        c = self.config
        grids = (c.weight_grid, c.k_grid, c.temperature_grid, c.text_temperature_grid)
        return math.prod(len(grid) for grid in grids)

    def fit(self, train: Photos, val: Photos) -> None:
        """Take AddressCLIP's towers; then encode train and val photos by them, and choose."""
        trained: Any = self.part("addressclip", train, val)
        self.towers = trained.towers
        self.facts.update(trained.facts)
        self._labelled = [self._tuned(train, "train"), self._tuned(val, "val")]
        self._choose(*self._labelled)

    def index(self, candidates: Candidates) -> None:
        """Encode the candidates' texts, and build the gallery of all labelled photos."""
        super().index(candidates)
        parts = [*self._labelled]
        if len(candidates.database):
            parts.append(self._tuned(candidates.database, "database"))
        made_of = identity(self._tower_digest(), parts)
        self.gallery = Gallery.of(parts, {"labels": labels_of(parts)}, made_of, transform=_as_it_is)
        del self._labelled

    def score_features(self, x: FloatRows) -> FloatRows:
        """Logarithms of probabilities. Texts alone, where they were chosen, keep AddressCLIP's logits."""
        logits = super().score_features(x)
        if self._texts_alone:
            return np.asarray(logits / np.float32(self.choice.text_temperature))
        gallery = self.gallery
        evidence = self._evidence(x, logits, gallery.index, gallery.known["labels"], max(self.choice.k, LISTED))
        below = nearest_scores(evidence.similarity, evidence.labels, logits.shape[1])
        return log_scores(self._rescored(self.choice.fused(evidence)), below)

    @property
    def scores_are(self) -> Scores:
        """Logarithms of probabilities, whatever the model was trained with: the sum needs a share for each address."""
        return self.info.scores

    @property
    def _texts_alone(self) -> bool:
        return self.choice.weight == 0

    def _rescored(self, p: Probabilities) -> Probabilities:
        """Change fused probabilities [n, n_candidates] before they become scores."""
        return p

    def _tuned(self, photos: Photos, what: str) -> Features:
        """Unit features of photos by the tuned tower."""
        x = np.empty((len(photos), self.context.features.card(self.backbone).dim), np.float32)
        with self.context.report.track(len(photos), f"{self.info.name}: encode {what} photos", "photos") as advance:
            for part, features in self.photo_features(photos):
                x[part] = features
                advance(part.stop - part.start)
        return Features(x, photos)

    def _choose(self, train: Features, val: Features) -> None:
        config = self.config
        grids = Grids(config.weight_grid, config.k_grid, config.temperature_grid, config.text_temperature_grid)
        val_ssa1: Mapping[str, float] | None = None
        if len(val):
            blocks = self._seen_from(train, val, max(config.k_grid))
            self.choice, val_ssa1 = choose(blocks, grids, len(val))
        elif len(every := list(grids)) == 1:
            self.choice = every[0]
        else:
            self.context.report.log(f"{self.info.name}: no val split to choose on; taking {_DEFAULT}")
            self.choice = _DEFAULT
        self.facts["fusion"] = {**asdict(self.choice), "val_ssa1": val_ssa1}

    def _seen_from(self, train: Features, val: Features, k: int) -> Iterator[tuple[Evidence, Labels]]:
        """Evidence of texts and train photos for val photos, with their true addresses; in blocks."""
        texts = self.scaled_texts(train.photos.candidates)
        gallery, labels = StreamedExact(train, _as_it_is), labels_of([train])
        for part in chunks(len(val), max(1, _CELLS // len(texts))):
            x = val.x[part]
            yield self._evidence(x, x @ texts.T, gallery, labels, k), val.labels[part]

    def _evidence(self, x: FloatRows, logits: FloatRows, gallery: Any, labels: Labels, k: int) -> Evidence:
        similarity, rows = search(gallery, x, k)
        return Evidence(logits, similarity, labels[np.maximum(rows, 0)])  # where none was found, its vote is 0

    def _tower_digest(self) -> str:
        """SHA-256 of the backbone and all that training made of it."""
        arrays = {n: t.detach().cpu().numpy() for n, t in self.trained_state().items()}
        trained = {n: hashlib.sha256(a.tobytes()).hexdigest() for n, a in arrays.items()}
        return digest({"backbone": self.context.features.card(self.backbone).digest, "trained": trained})

    def restore(self, state: State) -> None:
        super().restore(state)
        chosen = self.facts["fusion"]
        self.choice = FusionParameters(**{name: chosen[name] for name in asdict(_DEFAULT)})

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.gallery.save(folder)

    def load(self, folder: Path) -> None:
        """Read both; the gallery memory-mapped.

        Raises:
            DataError: the gallery was made by another tower than this one.
        """
        super().load(folder)
        self.gallery = Gallery.load(folder, {"encoder": self._tower_digest()}, transform=_as_it_is)

    def storage_bytes(self) -> int:
        """The image tower, the texts' features, and the gallery with its labels."""
        return super().storage_bytes() + self.gallery.nbytes


class FusionGeographic(Fusion):
    """`fusion`, and what it says is spread over the map.

    ``p' = (1 - s) p + s p S``: each address hands the part s of its probability to its neighbours, in shares that fall
    with a Gaussian of the distance between the addresses' mean positions. s and the Gaussian's bandwidth are chosen on
    val behind the choices of `fusion`, which stay as they are; s = 0 is among them.
    """

    info = MethodInfo(
        name="fusion-geographic",
        title="Fusion + neighbours",
        family="fusion",
        summary="Fusion, with probability spread over neighbouring sub-streets.",
        reference=Fusion.info.reference,
        stochastic=True,
        final_fit="train+val",
        scores="logits",
        version="2",
    )

    class Config(Fusion.Config):
        spread_grid: tuple[Share, ...] = Field(
            (0.0, 0.02, 0.05, 0.1, 0.2), min_length=1, description="parts of the probability to spread, to choose from"
        )
        bandwidth_grid: tuple[Positive, ...] = Field(
            (50.0, 100.0, 200.0), min_length=1, description="bandwidths in metres to choose from"
        )

    config: Config
    spreading: Spread
    shares: Any

    def index(self, candidates: Candidates) -> None:
        super().index(candidates)
        self.shares = neighbour_shares(candidates.positions, self.spreading.bandwidth_m)

    @property
    def _choices(self) -> int:
        return super()._choices + len(self.config.spread_grid) * len(self.config.bandwidth_grid)

    @property
    def _texts_alone(self) -> bool:
        return super()._texts_alone and self.spreading.part == 0

    def _rescored(self, p: Probabilities) -> Probabilities:
        return spread(p, self.shares, self.spreading.part) if self.spreading.part > 0 else p

    def _choose(self, train: Features, val: Features) -> None:
        super()._choose(train, val)
        spreads = [Spread(*one) for one in product(self.config.spread_grid, self.config.bandwidth_grid)]
        val_ssa1: float | None = None
        if len(val):
            blocks = self._fused_val(train, val)
            self.spreading, right = choose_spread(blocks, train.photos.candidates.positions, spreads)
            val_ssa1 = right / len(val)
        elif len(spreads) == 1:
            self.spreading = spreads[0]
        else:
            self.context.report.log(f"{self.info.name}: no val split to choose on; taking {_DEFAULT_SPREAD}")
            self.spreading = _DEFAULT_SPREAD
        self.facts["spread"] = {**asdict(self.spreading), "val_ssa1": val_ssa1}

    def _fused_val(self, train: Features, val: Features) -> Iterator[tuple[Probabilities, Labels]]:
        for evidence, truth in self._seen_from(train, val, self.choice.k):
            yield self.choice.fused(evidence), truth

    def state(self) -> State:
        rows = {f"shares/{name}": getattr(self.shares, name) for name in ("data", "indices", "indptr")}
        return {**super().state(), **rows}

    def restore(self, state: State) -> None:
        from scipy.sparse import csr_array

        super().restore(state)
        chosen, n = self.facts["spread"], len(self.texts)
        self.spreading = Spread(**{name: chosen[name] for name in asdict(_DEFAULT_SPREAD)})
        rows = (state["shares/data"], state["shares/indices"], state["shares/indptr"])
        self.shares = csr_array(rows, shape=(n, n))

    def storage_bytes(self) -> int:
        return super().storage_bytes() + sum(a.nbytes for n, a in self.state().items() if n.startswith("shares/"))


def _as_it_is(x: FloatRows) -> FloatRows:
    """Tuned features have unit norm already."""
    return x
