"""The identity of a run: what its answers depend on, the same for its plan and for its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ial_bench.datasets.photos import SPLITS
from ial_bench.encoders.encoder import FLOAT32
from ial_bench.engine.record import RunRecord
from ial_bench.json_files import digest
from ial_bench.settings import BACKBONE

ANSWERS_VERSION = 1
"""Protocol version of answers, which is part of run ids: version 2 of the protocol measures the answers of version
1."""
_ID_LENGTH = 16  # hexadecimal digits of the SHA-256
_PART_SPLITS = ("train", "val")
"""What parts are fitted on."""
_WHERE_KNOWN = ("streets_digest", "source_digest", "contents_digest")
"""These are hashed only where they are known, so that the ids of earlier runs stay."""


@dataclass(frozen=True)
class RunSpec:
    """Everything that can change a run's predictions; workers, chunks and paths cannot, and are left out.

    Attributes:
        config: full configuration, with base names for the encoder's files.
        protocol_version: of the answers, `ANSWERS_VERSION`.
        weights_digest: `EncoderCard.first_digest`, by which records of schema version 1 are known.
        encoder_digest: `EncoderCard.digest`; where it is known, the encoder's name is not part of the identity.
        known_as: id of the record of schema version 1 that this run already has.
    """

    method: str
    version: str
    config: Mapping[str, Any]
    weights_digest: str | None
    dataset_digest: str
    candidate_digest: str
    limit: int | None
    seed: int
    k: int
    dtype: str = FLOAT32
    splits: tuple[str, ...] = SPLITS
    protocol_version: int = ANSWERS_VERSION
    streets_digest: str | None = None
    encoder_digest: str | None = None
    source_digest: str | None = None
    contents_digest: str | None = None
    known_as: str | None = None

    @classmethod
    def of(cls, record: RunRecord) -> RunSpec:
        """The identity of a recorded run."""
        method, about = record.method, record.dataset
        return cls(
            method.name, method.version, method.config, method.weights_digest, about.digest, about.candidate_digest,
            about.limit, record.seed, record.k, record.dtype, streets_digest=about.streets_digest,
            encoder_digest=None if method.encoder is None else method.encoder.digest,
            source_digest=method.source_digest, contents_digest=about.contents_digest,
        )  # fmt: skip

    @property
    def run_id(self) -> str:
        """The first 16 digits of the SHA-256 of the canonical JSON of all of it.

        The street network is left out where the method does not read it, the source of what comes with ial-bench, and
        the contents of photos where the dataset does not have them. The encoder's digest stands for its name and
        weights: one encoder under two names or paths is one run.
        """
        if self.known_as is not None:
            return self.known_as
        if self.encoder_digest is None:
            return self.first_id
        return _id_of(self, "weights_digest", {key: value for key, value in self.config.items() if key != BACKBONE})

    @property
    def first_id(self) -> str:
        """The id by the rule of schema version 1, which still holds for runs without an encoder."""
        return _id_of(self, "encoder_digest", self.config)

    def is_called(self, run_id: str) -> bool:
        """Whether a run of this identity may have the id, by the current rule or the first one."""
        return run_id == self.run_id or run_id == self.first_id  # noqa: PLR1714 - the second is seldom needed


def part_id(spec: RunSpec) -> str:
    """The identity of a run's fit: that of the run, without what only its answers depend on."""
    return replace(spec, k=0, splits=_PART_SPLITS, known_as=None).run_id


def _id_of(spec: RunSpec, without: str, config: Mapping[str, Any]) -> str:
    values = {name: value for name, value in vars(spec).items() if value is not None or name not in _WHERE_KNOWN}
    del values["known_as"], values[without]
    return digest({**values, "config": config})[:_ID_LENGTH]
