"""The record of a run: JSON that a person can read and a schema can check.

Fractions, not percent; times in the unit of their name. `run-record.schema.json` beside this file is made
from these classes.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ial_bench.encoders.encoder import Precision
from ial_bench.geo.points import FARTHEST_M
from ial_bench.json_files import digest
from ial_bench.method import Scores
from ial_bench.settings import BACKBONE

PROTOCOL_VERSION = 2
"""Protocol version of numbers. Records of an earlier one are scored again from their predictions."""
_SLACK = 1e-9  # of a number in its interval: sums in another order
_MOST_DEPTH, _MOST_INTEGER = 32, 1 << 63
_SURROGATE = re.compile("[\ud800-\udfff]")
SCHEMA_FILE = Path(__file__).parent / "run-record.schema.json"

Status = Literal["done", "failed", "skipped"]

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, lt=_MOST_INTEGER)]
Positive = Annotated[int, Field(ge=1, lt=_MOST_INTEGER)]
Quantity = Annotated[float, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _check_within(value: float, ci95: tuple[float, float] | None) -> None:
    if ci95 is not None and not ci95[0] - _SLACK <= value <= ci95[1] + _SLACK:
        raise ValueError(f"{value:g} lies outside of its interval, {ci95[0]:g} to {ci95[1]:g}")


def _check_moment(text: str) -> str:
    """An ISO date with a zone, not in the future: the latest run decides which runs are shown together."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or moment > datetime.now(timezone.utc) + timedelta(days=1):
        raise ValueError(f"{text} is no moment with a zone, or has yet to come")
    return text


Moment = Annotated[str, AfterValidator(_check_moment)]


def _check_facts(facts: dict[str, Any]) -> dict[str, Any]:
    if problem := oddity(facts):
        raise ValueError(problem)
    return facts


Facts = Annotated[dict[str, Any], BeforeValidator(_check_facts)]
"""Any JSON; only its form is checked."""


class Interval(_Part):
    """A fraction with its 95 % interval."""

    value: float = Field(ge=0, le=1)
    ci95: tuple[Fraction, Fraction] | None = Field(
        None, description="over places: see the protocol of the record's version; null with a single place"
    )

    @model_validator(mode="after")
    def _lies_within(self) -> Interval:
        _check_within(self.value, self.ci95)
        return self


class DistanceMetrics(_Part):
    """Distance in metres from the query's true position."""

    median: float = Field(ge=0, le=FARTHEST_M)
    median_ci95: tuple[float, float] | None = Field(None, description="over places; null before protocol version 2")
    to: str = Field(description="what the distance is measured to")
    within_25: Interval
    within_50: Interval
    within_100: Interval
    within_200: Interval

    @model_validator(mode="after")
    def _lies_within(self) -> DistanceMetrics:
        _check_within(self.median, self.median_ci95)
        return self


class Metrics(_Part):
    """Accuracies by name (SSA-1, SA-1, MRR, macro-SSA-1, ...) and distances."""

    accuracy: dict[str, Interval]
    distance_m: DistanceMetrics


class EncoderRecord(_Part):
    """Everything that the features of the pretrained encoder depend on."""

    digest: str = Field(description="SHA-256 of all that follows but the notes")
    weights: str = Field(description="SHA-256 over names, types, shapes and values of its tensors")
    structure: str = Field(description="SHA-256 of the network without its weights")
    libraries: dict[str, str] = Field(description="versions of what defines its arithmetic")
    preprocessing: Facts
    head: Facts = Field(description="pooling or assignment behind the network, where its weights do not tell")
    texts: Facts = Field(description="how texts become tokens; empty without a text tower")
    precision: Precision = Field(description="of the arithmetic that photos are encoded with")
    notes: list[str] = Field(description="what had to be assumed")


class PartRecord(_Part):
    """A part that the method is made of, which all methods that name it share."""

    name: str = Field(description="what the method calls it; `fit`: its own, which others may name")
    method: str
    version: str
    identity: str = Field(description="all that the part depends on, as run ids are made")
    seconds: Quantity = Field(description="that its fit took, whenever that was")
    seconds_now: Quantity = Field(description="that were spent on it in this run")
    peak_rss_bytes: Count | None = None
    peak_device_bytes: Count | None = None


class MethodRecord(_Part):
    """What was run."""

    name: str
    title: str
    family: str
    version: str
    origin: str = Field(description="distribution the method comes from, or name of its file")
    oracle: bool = Field(description="told the true positions of queries; never ranked")
    stochastic: bool
    final_fit: str = Field(description="labelled photos of the final fit: none, train or train+val")
    config: Facts = Field(description="full configuration, defaults included")
    preset: str | None = Field(None, description="the preset that the configuration is nearest to; null: the defaults")
    changed: list[str] = Field(default_factory=list, description="settings that differ from it")
    backbone: str | None = Field(None, description="the pretrained encoder it starts from")
    weights_digest: str | None = Field(
        None, description="SHA-256 of the encoder's weights and preprocessing: all that schema version 1 knew of it"
    )
    encoder: EncoderRecord | None = Field(
        None, description="what is known of the encoder; null in records of version 1"
    )
    source_digest: str | None = Field(None, description="SHA-256 of a plugin's source; null: comes with ial-bench")
    scores: Scores | None = Field(
        None, description="what scores say: order, logits (of a softmax) or sigmoid; null in records of version 1"
    )
    parts: list[PartRecord] = Field(default_factory=list, description="what its fit is made of, and shares with others")
    facts: Facts = Field(default_factory=dict, description="what the method tells of its fit")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration without the encoder's name, which stands for what is known of the encoder."""
        return {key: value for key, value in self.config.items() if key != BACKBONE}

    @cached_property
    def settings_digest(self) -> str:
        """SHA-256 of the settings."""
        return digest(self.settings)


class DatasetRecord(_Part):
    """What it was run on."""

    name: str
    digest: str
    candidate_digest: str
    streets_digest: str | None = Field(None, description="SHA-256 of the street network, of runs that read it")
    truth_digest: str | None = Field(
        None, description="SHA-256 of what answers are measured against, of finished runs; null before schema version 4"
    )
    contents_digest: str | None = Field(
        None, description="SHA-256 over the content digests of all its photos; null where the dataset has none"
    )
    limit: Positive | None = Field(None, description="photos per split at most; null: all")
    n_train: Count
    n_val: Count
    n_database: Count
    n_queries: Count
    n_places: Count = Field(description="places of the queries")
    n_candidates: Count
    n_queries_without_candidate: Count = Field(description="their address is no candidate: they count as wrong")


class FeaturePhase(_Part):
    """Encoding of all photos, where the method works on cached features."""

    seconds: Quantity = Field(description="computing time, whenever it was spent")
    images: Count
    cached: bool = Field(description="true if nothing had to be computed in this run")


class TimedPhase(_Part):
    """A phase that is run once."""

    seconds: Quantity = Field(description="parts included, whenever they were fitted")
    seconds_now: Quantity | None = Field(None, description="of them, in this run; null: all")
    peak_rss_bytes: Count | None = None
    peak_device_bytes: Count | None = None


class QueryPhase(_Part):
    """Answering one photo, decoded RGB in memory to top-k list, batch 1."""

    p50_ms: Quantity
    p95_ms: Quantity
    p99_ms: Quantity
    n: Count
    warmup: Count
    decode_p50_ms: Quantity = Field(description="decoding the photo, which is not part of the latency")
    images_per_second: Quantity = Field(description="throughput at `throughput_batch`, measured apart")
    throughput_batch: Count
    torch_flops: Count | None = Field(None, description="floating point operations of torch a query, where counted")
    peak_rss_bytes: Count | None = None
    peak_device_bytes: Count | None = None


class Phases(_Part):
    """Times, apart."""

    features: FeaturePhase | None = None
    fit: TimedPhase
    index: TimedPhase
    query: QueryPhase | None = Field(None, description="null if timing was switched off or there are no queries")


class Size(_Part):
    """What the method takes at query time."""

    storage_bytes: Count = Field(description="weights, index and candidate features, exact")
    parameters: Count
    parameters_trained: Count


class PredictionsRecord(_Part):
    """Where the predictions lie, beside the record."""

    path: str
    sha256: str
    k: Positive


class Provenance(_Part):
    """Where and with what the run was made."""

    project: Facts
    packages: dict[str, str]
    hardware: Facts
    hardware_digest: str = Field(description="latencies of different digests are not comparable")
    engine: Facts = Field(description="settings that cannot change a result: batch size, workers, device")
    started: Moment
    finished: Moment


class Received(_Part):
    """Where a run comes from that was not made here: verified against its answers and the dataset when it was taken."""

    pack: str = Field(description="SHA-256 of the pack")
    licence: str
    contact: str | None = None
    signed_by: str | None = Field(None, description="whose signature was found to be theirs; null: none was asked for")


class RunRecord(_Part):
    """One run of one method on one dataset with one seed."""

    schema_version: Literal[4] = 4
    run_id: str
    status: Status
    reason: str | None = Field(None, description="why it was skipped or failed")
    traceback: str | None = None
    method: MethodRecord
    dataset: DatasetRecord
    seed: Count
    k: Positive
    dtype: str
    protocol_version: Count
    metrics: Metrics | None = None
    phases: Phases | None = None
    size: Size | None = None
    predictions: PredictionsRecord | None = None
    provenance: Provenance
    received: Received | None = Field(None, description="the pack that it was taken from; null: run here")


def oddity(data: Any) -> str | None:
    """What JSON allows but no record may hold, since it would fail far from here, where it is shown or stored."""
    level, depth = [data], 0
    while level:
        if depth > _MOST_DEPTH:
            return f"it is nested deeper than {_MOST_DEPTH} levels"
        below: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is dict:
                below += value
                below += value.values()
            elif kind is list:
                below += value
            elif kind is str:
                if not value.isascii() and _SURROGATE.search(value):
                    return "half a character (a lone surrogate) in its texts"
            elif (kind is int and abs(value) >= _MOST_INTEGER) or (kind is float and not math.isfinite(value)):
                return "a number that is out of all bounds"
        level, depth = below, depth + 1
    return None


def schema_text() -> str:
    """The JSON Schema of a record, as it is shipped."""
    schema = RunRecord.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2) + "\n"
