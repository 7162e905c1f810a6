"""Answers to a user's own photos, by the fitted methods of finished runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from ial_bench import images
from ial_bench.addresses import Address
from ial_bench.datasets.dataset import Dataset
from ial_bench.encoders.encoder import EncoderCard, remembered_spec
from ial_bench.encoders.spec import EncoderSpec, shown_spec
from ial_bench.engine import fitted_methods
from ial_bench.engine.record import RunRecord
from ial_bench.engine.timing import inference_mode
from ial_bench.errors import BenchError, DataError, ImageError, SkipMethod, no_exit
from ial_bench.image_batch import ImageBatch
from ial_bench.images import RGB
from ial_bench.method import Method, MethodConfig, RunContext
from ial_bench.progress import chunks
from ial_bench.settings import BACKBONE
from ial_bench.topk import NO_ANSWER, sigmoid


@dataclass(frozen=True)
class Answer:
    """A candidate address for a photo.

    Attributes:
        address: the address.
        score: the method's own; in general only the order of scores has a meaning.
        probability: where scores are logits, the softmax over all candidates; the sigmoid of sigmoid scores; neither is
            calibrated. Else None.
    """

    address: Address
    score: float
    probability: float | None


@dataclass(frozen=True)
class PhotoAnswer:
    """The best candidates of a photo, best first, or why it could not be read."""

    photo: Path
    answers: tuple[Answer, ...] = ()
    problem: str | None = None


def config_of(method: type[Method], record: RunRecord) -> MethodConfig | None:
    """The configuration of a run, None if the current method no longer has these settings."""
    try:
        return method.Config(**record.method.config)
    except ValidationError:
        return None


def fitting(
    found: Sequence[RunRecord],
    method: type[Method],
    dataset: Dataset,
    seed: int | None,
    given: Mapping[str, Any],
    encoder: EncoderCard | None = None,
) -> list[RunRecord]:
    """The finished runs whose method can answer for `dataset`, the best one first.

    Runs on the current version of the dataset come before those on another version with the same candidates, whole runs
    before limited ones, then later runs before earlier ones.

    Args:
        found: records of runs of `method`.
        method: the class, whose version must be the runs'.
        dataset: whose candidates must be the runs'.
        seed: of the run; None: any.
        given: settings that the run must have, in the form of its record.
        encoder: the one that the run must have, under whatever name; None: one of the given name, if any.
    """
    named = {key: value for key, value in given.items() if encoder is None or key != BACKBONE}
    fit = []
    for record in found:
        config = config_of(method, record) if record.status == "done" else None
        if config is None or record.method.version != method.info.version:
            continue
        own = config.model_dump(mode="json")
        if (
            record.dataset.candidate_digest == dataset.candidates.digest
            and (seed is None or record.seed == seed or not record.method.stochastic)
            and all(own.get(key) == value for key, value in named.items())
            and (encoder is None or _same_encoder(record, encoder))
        ):
            fit.append(record)

    def rank(record: RunRecord) -> tuple[bool, bool, str]:
        about = record.dataset
        now = dataset.is_version(about.digest, about.contents_digest)
        return now, about.limit is None, record.provenance.finished

    return sorted(fit, key=rank, reverse=True)


def _same_encoder(record: RunRecord, card: EncoderCard) -> bool:
    """Whether a run's encoder is this one, apart from library versions and precision."""
    known = record.method.encoder
    return known is not None and all(
        card.identity[part] == getattr(known, part) for part in ("weights", "structure", "preprocessing", "head")
    )


def fitted(
    method: type[Method], record: RunRecord, folder: Path, context: RunContext, backbone: str | None = None
) -> Method:
    """The method of a run, ready to answer.

    Args:
        method: the class.
        record: of the run.
        folder: where the fitted method lies.
        context: of the run's seed.
        backbone: spec of its encoder as the user gave it; None: the one that was last loaded here.

    Raises:
        DataError: the fitted method cannot be read, or the encoder has other weights now.
        BenchError: the method cannot run here.
    """
    config = config_of(method, record)
    if config is None:
        raise DataError(f"run {record.run_id} has settings that {method.info.name} no longer has", "run it again")
    try:
        config = _with_encoder(method, config, record, context, backbone)
        made = method(config, context)
        made.prepare()
        fitted_methods.restored(made, folder)
    except SkipMethod as skip:
        raise BenchError(f"{method.info.name} cannot run here: {skip.reason}") from skip
    except BenchError:
        raise
    except (Exception, SystemExit) as error:  # a damaged file makes libraries and plugins raise errors of any kind
        raise DataError(
            f"the fitted method in {folder} cannot be read: {type(error).__name__}: {error}", "delete the folder"
        ) from error
    return made


def _with_encoder(
    method: type[Method], config: MethodConfig, record: RunRecord, context: RunContext, backbone: str | None
) -> MethodConfig:
    """The run's configuration, with a spec by which the run's own encoder can be loaded here.

    Raises:
        DataError: there is none.
        SkipMethod: it cannot be loaded here.
    """
    recorded = method(config, context).backbone
    if recorded is None:
        return config
    known = record.method.encoder
    found = backbone
    if found is None and known is not None and context.cache is not None:
        found = remembered_spec(known.digest, context.cache)  # a record has no paths of its machine
    if found is None and not EncoderSpec.parse(recorded).published:
        raise DataError(
            f"the files of {recorded}, the encoder of run {record.run_id}, are not where they were, or have changed",
            "say where they are: --backbone, with their paths",
        )
    card = context.features.card(found or recorded)
    same = card.first_digest == record.method.weights_digest if known is None else card.digest == known.digest
    if not same:
        raise DataError(
            f"{shown_spec(card.spec)} is another encoder now than in run {record.run_id}: other weights, network, "
            "preprocessing or libraries",
            "give the run's own with --backbone, or run it again",
        )
    return config if found is None else config.model_copy(update={BACKBONE: found})


def answer(
    method: Method, photos: Sequence[Path], dataset: Dataset, top: int, batch_size: int = 32
) -> list[PhotoAnswer]:
    """The `top` best candidates of each photo; a photo that cannot be read does not stop the others.

    Raises:
        PredictionError: the method's answer is not valid.
        DataError: features that are NaN or infinite.
    """
    given: list[PhotoAnswer] = []
    for part in chunks(len(photos), batch_size):
        paths, read, keys, problems = [], list[RGB](), list[int](), dict[Path, str]()
        for path in photos[part]:
            try:
                data = images.read_bytes(path)
                read.append(images.decode(data, str(path)))
            except ImageError as error:
                problems[path] = error.problem
                continue
            paths.append(path)
            keys.append(int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little"))
        batch = ImageBatch.from_arrays(read, np.array(keys, dtype=np.uint64), names=[str(path) for path in paths])
        answers = dict(zip(paths, _answers(method, batch, dataset, top), strict=True))
        given += [PhotoAnswer(path, answers.get(path, ()), problems.get(path)) for path in photos[part]]
    return given


def _answers(method: Method, batch: ImageBatch, dataset: Dataset, top: int) -> list[tuple[Answer, ...]]:
    addresses = dataset.candidates.addresses
    logits = method.scores_are == "logits"
    k = len(addresses) if logits else min(top, len(addresses))  # a softmax needs the scores of all
    with inference_mode(), no_exit(f"method {method.info.name}"):
        found = method.predict(batch, k)
    found.check(len(batch), k, len(addresses), method.info.name)
    # Places after the last candidate have no share.
    shares = softmax(np.where(found.indices == NO_ANSWER, np.float32(-1e30), found.scores)) if logits else None
    if method.scores_are == "sigmoid":
        shares = sigmoid(found.scores)
    return [
        tuple(
            Answer(
                addresses[found.indices[row, rank]],
                float(found.scores[row, rank]),
                None if shares is None else float(shares[row, rank]),
            )
            for rank in range(min(top, k))
            if found.indices[row, rank] != NO_ANSWER
        )
        for row in range(len(batch))
    ]


def softmax(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """float64 [n, k]: ``exp(s_ij) / sum_j exp(s_ij)``."""
    shifted = scores.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True, initial=-np.inf)
    powers = np.exp(shifted)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
