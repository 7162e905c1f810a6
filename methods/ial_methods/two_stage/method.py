"""Image -> GPS -> address: predict where the photo was taken, then which address that is."""

from __future__ import annotations

from pydantic import Field

from ial_bench import MethodInfo, RunContext
from ial_methods.two_stage.neighbours import Kind, NeighbourParameters, Neighbours, grid
from ial_methods.two_stage.pipeline import Pipeline

REFERENCE = (
    "Xu et al., AddressCLIP: Empowering Vision-Language Models for City-wide Image Address Localization, ECCV 2024"
)
_DEFAULT = NeighbourParameters(10, 0.05, 50.0)  # for datasets without a val split


class TwoStage(Pipeline):
    """The pipeline that image address localization is compared with.

    The first stage takes a position from those of the most similar labelled photos (train + val + database); the second
    ranks the candidates for it. The predicted position is stored beside the answer.
    """

    info = MethodInfo(
        name="two-stage",
        title="Image-GPS-Address",
        family="two-stage",
        summary="Position from the nearest labelled photos, then the address by a geocoder.",
        reference=REFERENCE,
    )

    class Config(Pipeline.Config):
        """Settings."""

        stage1: Kind = Field(
            "nearest",
            description="nearest photo's position; mean, weighted by similarity, of the top k; or mean-shift, the mode "
            "of their density",
        )
        k_grid: tuple[int, ...] = Field(
            (2, 5, 10, 20, 50), min_length=1, description="neighbours to choose from; one value fixes it"
        )
        temperature_grid: tuple[float, ...] = Field(
            (0.01, 0.02, 0.05, 0.1), min_length=1, description="temperatures of their weights to choose from"
        )
        bandwidth_grid: tuple[float, ...] = Field(
            (10.0, 25.0, 50.0, 100.0, 200.0), min_length=1, description="bandwidths of mean-shift, metres"
        )

    config: Config
    stage1: Neighbours

    def __init__(self, config: Config, context: RunContext) -> None:
        super().__init__(config, context)
        grids = grid(config.stage1, config.k_grid, config.temperature_grid, config.bandwidth_grid)
        self.stage1 = Neighbours(config.stage1, grids, _DEFAULT)
