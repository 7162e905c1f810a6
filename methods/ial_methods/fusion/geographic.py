"""Fusion whose probabilities are spread over neighbouring addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from typing import Any

from pydantic import Field

from ial_bench import Candidates, Features, MethodInfo, State
from ial_methods.fusion.method import Fusion, Positive, Share
from ial_methods.fusion.probabilities import Probabilities, Spread, choose_spread, neighbour_shares, spread
from ial_methods.retrieval.votes import Labels

_DEFAULT = Spread(part=0.02, bandwidth_m=50.0)  # for datasets without a val split


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
            self.context.report.log(f"{self.info.name}: no val split to choose on; taking {_DEFAULT}")
            self.spreading = _DEFAULT
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
        self.spreading = Spread(**{name: chosen[name] for name in asdict(_DEFAULT)})
        rows = (state["shares/data"], state["shares/indices"], state["shares/indptr"])
        self.shares = csr_array(rows, shape=(n, n))

    def storage_bytes(self) -> int:
        return super().storage_bytes() + sum(a.nbytes for n, a in self.state().items() if n.startswith("shares/"))
