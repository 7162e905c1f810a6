"""Retrieval with an encoder that is trained on the train photos by metric learning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ial_bench import (
    Effort,
    Features,
    ImageBatch,
    MethodInfo,
    ParameterCount,
    Photos,
    Sizes,
    SkipMethod,
    TopK,
    Workload,
)
from ial_bench.datasets.loader import DecodedPhotos
from ial_bench.encoders.spec import require_trainable_tower, shown_spec
from ial_bench.files import storage_errors
from ial_bench.json_files import digest
from ial_bench.training.checkpoint import put_tensors, trained_tensors
from ial_methods.retrieval.knn import Retrieval
from ial_methods.retrieval.metric import MetricConfig

if TYPE_CHECKING:
    from ial_bench.encoders.image_tower import ImageTower
    from ial_bench.training.trained_encoder import TrainedEncoder

_WEIGHTS = "encoder.safetensors"


class RetrievalTuned(Retrieval):
    """`retrieval` by features of an image tower that was trained to tell places apart.

    The loss is the multi-similarity loss with its miner, over batches of several photos of each class, or CosFace's
    classification of the classes, whose weights are left behind afterwards. Gallery, search and vote are those of
    `retrieval`, by the features of the epoch that was best on val.
    """

    info = MethodInfo(
        name="retrieval-tuned",
        title="Retrieval (tuned)",
        family="retrieval",
        summary="Retrieval with an encoder trained by metric learning on the train photos.",
        reference="Wang et al., Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning, CVPR 2019; "
        "Wang et al., CosFace: Large Margin Cosine Loss for Deep Face Recognition, CVPR 2018",
        stochastic=True,
        version="2",
    )
    uses_features = False

    class Config(MetricConfig, Retrieval.Config):
        """Settings."""

    config: Config
    _rank = 0  # each process that trains writes its own features

    def prepare(self) -> None:
        """Check that the encoder can be trained and that the library of the losses is installed."""
        require_trainable_tower(self.backbone)
        if find_spec("pytorch_metric_learning") is None:
            raise SkipMethod("pytorch-metric-learning is not installed: pip install pytorch-metric-learning")

    def workload(self, sizes: Sizes) -> Workload:
        """Pixels of train photos through both ways; those of train and val forwards, and a search, each epoch."""
        config, found = self.config, super().workload(sizes)
        steps = config.steps_over(sizes.train)
        batch = min(config.batch_size, sizes.train)
        looked = Effort(images=sizes.train + sizes.val) + found.fit
        trained = Effort(images_trained=steps * batch, steps=steps)
        fit = trained + looked * (config.epochs + 1) + Effort(images=sizes.database)
        return replace(found, fit=fit, trained=sizes.image_parameters, batch=batch)

    @cached_property
    def tower(self) -> ImageTower:
        """This method's own copy of the image tower; its trained parameters ask for gradients."""
        tower = self.context.features.image_tower(self.backbone, self.config.pooling)
        tower.unfreeze()
        return tower

    @cached_property
    def decoded(self) -> DecodedPhotos:
        return DecodedPhotos(self.context.work)

    def fit(self, train: Photos, val: Photos) -> None:
        """Train; then choose k and temperature as `retrieval` does."""
        from ial_methods.retrieval.metric_task import MetricTask

        task = MetricTask(
            self.info.name, self.config, self.context, self.tower, train, val, self.decoded, self.features,
            self.best_on_val,
        )  # fmt: skip
        self._rank = task.ranks.rank
        self.facts["training"] = task.trainer.run().as_dict()
        self.facts["classes"] = task.classes
        self.fit_features(*task.features())

    def features(self, photos: Photos) -> Features:
        """Features of dataset photos by the tower as it is; on disk where the run has a folder, else in memory."""
        blocks = (x for _, x in self._encoder.photos(photos))
        if self.context.work is None or len(photos) == 0:
            return Features(np.concatenate([np.zeros((0, self._dim), np.float32), *blocks]), photos)
        return Features(self._on_disk(self.context.work, blocks, photos), photos)

    def predict(self, images: ImageBatch, k: int) -> TopK:
        """Encode the photos with the trained tower and answer as `retrieval` does."""
        x = np.zeros((len(images), self._dim), np.float32)
        for part, features in self._encoder.images(images):
            x[part] = features
        return self.predict_features(x, k)

    @property
    def _encoder(self) -> TrainedEncoder:
        from ial_bench.training.trained_encoder import TrainedEncoder

        name = f"{shown_spec(self.backbone)} as {self.info.name} trained it"
        return TrainedEncoder(name, self.tower, self.tower.preprocess, self.context, self.decoded)

    @cached_property
    def _dim(self) -> int:
        return self.tower.dim

    def _on_disk(
        self, work: Path, blocks: Iterable[npt.NDArray[np.float32]], photos: Photos
    ) -> npt.NDArray[np.float32]:
        path = work / f"tuned-{photos.digest[:16]}-{self._rank}.f32"
        with storage_errors(path):
            path.unlink(missing_ok=True)  # a map of the last epoch's stays as it is
            with path.open("wb") as file:
                for block in blocks:
                    file.write(block.tobytes())
        return np.memmap(path, np.float32, "r", shape=(len(photos), self._dim))

    @property
    def _encoder_digest(self) -> str:
        from ial_bench.encoders.build import tensor_digest

        made_of = {"encoder": super()._encoder_digest, "pooling": self.config.pooling}
        return digest({**made_of, "tuned": tensor_digest(self.tower.tensors())})

    def storage_bytes(self) -> int:
        return self.gallery_bytes() + sum(t.numel() * t.element_size() for t in self.tower.tensors().values())

    def parameters(self) -> ParameterCount:
        """Those that features depend on, all of them trained. A classifier is left behind, and not counted."""
        count = sum(p.numel() for p in self.tower.parameters() if p.requires_grad)
        return ParameterCount(count, count)

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        super().save(folder)
        save_file(trained_tensors(self.tower), folder / _WEIGHTS)

    def load(self, folder: Path) -> None:
        """Read the tower, then the gallery, which must be of its features."""
        from safetensors.torch import load_file

        put_tensors(self.tower, load_file(folder / _WEIGHTS))
        super().load(folder)
