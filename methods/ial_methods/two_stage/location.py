"""Image -> GPS -> address with a first stage that embeds positions with a trained location encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ial_bench import Effort, Features, MethodInfo, RunContext, Sizes, chunks, unit_norm
from ial_bench.geo.points import Points, centroids
from ial_bench.geo.projections import to_equal_area_m
from ial_bench.training.checkpoint import put_tensors, trained_tensors
from ial_bench.training.config import TrainingConfig
from ial_methods.retrieval.gallery import Gallery
from ial_methods.retrieval.votes import vote_weights
from ial_methods.two_stage.neighbours import weighted_mean
from ial_methods.two_stage.pipeline import Pipeline, ValByPlace

if TYPE_CHECKING:
    from ial_methods.two_stage.training import LocationModel, PhotoHead

_FILE = "location.npz"
_BLOCK = 4096


class TwoStageLocation(Pipeline):
    """The photo's position is the labelled one whose encoding is most similar to the photo's.

    GeoCLIP's idea in a city: a network on random Fourier features of a position and a head on the photo's frozen
    feature are trained contrastively; then the positions of all labelled photos are encoded once, and searched.
    """

    info = MethodInfo(
        name="two-stage-location",
        title="Image-GPS-Address (location encoder)",
        family="two-stage",
        summary="Position by a trained location encoder, then the address by a geocoder.",
        reference="Vivanco Cepeda et al., GeoCLIP: Clip-Inspired Alignment between Locations and Images for Effective "
        "Worldwide Geo-localization, NeurIPS 2023",
        stochastic=True,
        final_fit="train",
        version="2",
    )

    class Config(TrainingConfig, Pipeline.Config):
        """Settings; the defaults are sized for a city of some thousand photos."""

        wavelengths_m: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = Field(
            (100.0, 400.0),
            min_length=1,
            description="of the Fourier features, metres: one over the deviation of their frequencies; a network each",
        )
        frequencies: int = Field(256, ge=1, description="random ones for each wavelength")
        width: int = Field(256, ge=1, description="of the three hidden layers of each wavelength's network")
        photo_width: int = Field(2048, ge=1, description="of the hidden layer of the head on photos' features")
        dim: int = Field(256, ge=1, description="of the encodings that photos and positions share")
        extra_positions: int = Field(
            0, ge=0, description="train positions drawn for each step as wrong answers beside those of its photos"
        )
        top_k: int = Field(
            1, ge=1, description="1: the most similar position; more: the mean of so many, by softmax of similarities"
        )
        epochs: int = Field(20, ge=1, description="passes over the train photos; the best by val SSA-1 is kept")
        batch_size: int = Field(256, ge=1, description="photos of a step, over all processes")
        learning_rate: float = Field(1e-3, gt=0, description="the largest, reached after the warm-up")
        weight_decay: float = Field(0.1, ge=0, description="of matrices; vectors and scalars are never decayed")

    config: Config
    stage1: LocationStage

    def stage1_effort(self, sizes: Sizes) -> Effort:
        """Photos and their positions through both networks, both ways; on val, all train positions as well."""
        config, steps = self.config, self.config.steps_over(sizes.train)
        seen = 6 * steps * min(config.batch_size, sizes.train) + 2 * config.epochs * (sizes.val + sizes.train)
        against = 2.0 * config.epochs * sizes.val * sizes.train * config.dim
        return Effort(flops=seen * self.stage1_parameters(sizes) + against, steps=steps)

    def stage1_parameters(self, sizes: Sizes) -> float:
        c = self.config
        each = c.width * (2 * c.frequencies + 2 * c.width + c.dim)
        return float(c.photo_width * (sizes.dim + c.dim) + len(c.wavelengths_m) * each)

    def __init__(self, config: Config, context: RunContext) -> None:
        super().__init__(config, context)
        self.stage1 = LocationStage(config, context, self.info.name)


class LocationStage:
    """The first stage.

    Args:
        config: settings.
        context: seed and device.
        name: of the method, for progress.
    """

    model: LocationModel
    """Needed to encode positions; a stage that was loaded has the head and the gallery alone."""
    head: PhotoHead
    gallery: Gallery
    origin: Points

    def __init__(self, config: TwoStageLocation.Config, context: RunContext, name: str) -> None:
        self.config, self.context, self.name = config, context, name
        self._scale, self._trained = 1.0, 0

    def fit(self, train: Features, val: Features, log: Callable[[str], None]) -> None:  # noqa: ARG002 - the engine logs
        """Train both encoders; those of the best epoch on val are kept.

        Raises:
            SkipMethod: there are no train photos.
        """
        from ial_methods.two_stage.training import LocationModel, LocationTask

        c = self.config
        distinct, position = np.unique(train.photos.positions, axis=0, return_inverse=True)
        self.origin = centroids(distinct, np.zeros(len(distinct), dtype=np.int64), 1)[0]
        self.model = LocationModel(
            train.x.shape[1], c.photo_width, c.wavelengths_m, c.frequencies, c.width, c.dim, self.context.seed
        ).to(self.context.device)
        self.head = self.model.photos
        metres = to_equal_area_m(distinct, self.origin).astype(np.float32)
        by_place = ValByPlace(train, val, self.locate)

        def val_ssa1() -> float | None:
            if len(val):
                self.index([train], "")
            return by_place()

        task = LocationTask(
            self.name, c, self.context, self.model, c.extra_positions, train.x, metres,
            position.reshape(-1).astype(np.int64), val_ssa1,
        )  # fmt: skip
        self._log = task.trainer.run()
        self._trained = sum(p.numel() for p in self.model.parameters())
        self.index([train], "")

    def index(self, parts: Sequence[Features], encoder: str) -> None:
        """Encode the distinct positions of all parts, and search them from now on."""
        import faiss

        self._scale = float(self.model.log_scale.detach().exp())
        positions = np.unique(np.concatenate([p.photos.positions for p in parts]), axis=0)
        index = faiss.IndexFlatIP(self.config.dim)
        for part in chunks(len(positions), _BLOCK):
            index.add(unit_norm(self.encode_positions(positions[part])))
        self.gallery = Gallery(index, {"positions": positions}, {"encoder": encoder})

    def encode_positions(self, positions: Points) -> npt.NDArray[np.float32]:
        """float32 [n, dim]: encodings of positions [n, 2], of any length."""
        import torch

        metres = torch.from_numpy(to_equal_area_m(positions, self.origin).astype(np.float32))
        with torch.inference_mode():
            encoded: npt.NDArray[np.float32] = self.model.locations(metres.to(self.context.device)).cpu().numpy()
        return encoded

    def encode_photos(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """float32 [n, dim]: encodings of photos' features [n, d], of any length."""
        import torch

        with torch.inference_mode():
            encoded: npt.NDArray[np.float32] = (
                self.head(torch.from_numpy(unit_norm(x)).to(self.context.device)).cpu().numpy()
            )
        return encoded

    def locate(self, x: npt.NDArray[np.float32]) -> Points:
        """The most similar position of the gallery, or the mean of several, by the probabilities the training gave."""
        if len(x) == 0:
            return np.zeros((0, 2))
        similarity, rows = self.gallery.search(self.encode_photos(x), self.config.top_k)
        positions = self.gallery.known["positions"][rows]
        if self.config.top_k == 1:
            return positions[:, 0]
        return weighted_mean(positions, vote_weights(similarity, 1 / self._scale))

    def facts(self) -> Mapping[str, Any]:
        """How the training went, and how many positions are searched; after a fit."""
        return {"positions": len(self.gallery), "scale": self._scale, "training": self._log.as_dict()}

    def storage_bytes(self) -> int:
        """The head on photos and the gallery; the location encoder has done its work."""
        return sum(p.numel() * p.element_size() for p in self.head.parameters()) + self.gallery.nbytes

    def trained_parameters(self) -> int:
        return self._trained

    def save(self, folder: Path) -> None:
        arrays: dict[str, Any] = {n: t.numpy() for n, t in trained_tensors(self.head).items()}
        np.savez(folder / _FILE, scale=np.array(self._scale), trained=np.array(self._trained), **arrays)
        self.gallery.save(folder)

    def load(self, folder: Path, encoder: str) -> None:
        import torch

        from ial_methods.two_stage.training import PhotoHead

        with np.load(folder / _FILE, allow_pickle=False) as stored:
            arrays = {n: stored[n] for n in stored.files}
        self._scale, self._trained = float(arrays.pop("scale")), int(arrays.pop("trained"))
        width, dim_in = arrays["hidden.weight"].shape
        self.head = PhotoHead(dim_in, width, arrays["out.weight"].shape[0]).to(self.context.device)
        put_tensors(self.head, {n: torch.from_numpy(a) for n, a in arrays.items()})
        self.gallery = Gallery.load(folder, {"encoder": encoder})
