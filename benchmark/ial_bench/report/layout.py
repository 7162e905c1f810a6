"""What a table is to show: from options, or from a small TOML file kept with the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ial_bench.engine.record import RunRecord
from ial_bench.errors import ConfigError
from ial_bench.files import read_toml
from ial_bench.report.differences import PRESET, backbone_text
from ial_bench.report.published import PublishedRow
from ial_bench.report.quantities import BACKBONE, LATENCY, METRICS, SPREAD
from ial_bench.settings import shown

AS_GIVEN = "given"
"""The order of rows in which they were named."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RowChoice(_Part):
    """A row, or all rows that fit.

    Attributes:
        method: name of a method with runs.
        published: a method as a paper calls it, for a published row.
        cite: citation key of the paper, where two report a method of that name.
        preset: only the configurations nearest to this preset; ``""`` for the defaults.
        backbone: only those with this encoder.
        settings: only those with these settings.
        title: title of one's own.
        group: heading of one's own, above this row and those after it with the same one.
    """

    method: str = ""
    published: str = ""
    cite: str = ""
    preset: str | None = None
    backbone: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    title: str = ""
    group: str = ""

    @model_validator(mode="after")
    def _names_one(self) -> RowChoice:
        if bool(self.method) == bool(self.published):
            raise ValueError("a row names either a method or a published one")
        return self

    def fits(self, run: RunRecord) -> bool:
        """Whether the row of a run is meant."""
        own = run.method
        return (
            own.name == self.method
            and (self.preset is None or self.preset == (own.preset or ""))
            and (self.backbone is None or self.backbone in {own.backbone, backbone_text(own.backbone)})
            and all(key in own.config and _same(own.config[key], value) for key, value in self.settings.items())
        )

    def fits_published(self, row: PublishedRow) -> bool:
        """Whether a published row is meant."""
        return row.method == self.published and self.cite in {"", row.key}

    @property
    def said(self) -> str:
        """What was asked for, in words."""
        settings = [f"{key}={shown(value)}" for key, value in self.settings.items()]
        facts = [f"{PRESET} {self.preset}"] if self.preset else []
        return ", ".join([self.method or f"{self.published} (published)", *facts, *settings])


class Layout(_Part):
    """What a table is to show.

    Attributes:
        datasets: in their order; none: every one with results.
        metrics: accuracies; None: SSA-1, SSA-5, SA-1 and SA-5, as far as the records have them.
        columns: all columns in their order, as words of `report.quantities`, among which ``metrics`` stands for all
            metrics; None: backbone, metrics, spread across seeds, latency, storage and parameters, or of several
            datasets side by side backbone and metrics.
        headings: headings of one's own, by column or dataset.
        rows: in their order; none: all.
        sort: a column, or ``given`` for the order of `rows`; None: by the first metric, or as given where rows are.
        published: whether published rows follow; where `rows` names some, only those.
        limit: show runs limited to so many photos a split.
        side_by_side: one table of all datasets, instead of one each; None: one each.
        settings_as_columns: what tells rows of one method apart gets columns instead of standing in the title.
        digits: decimals of accuracies in percent.
        separable: whether rows that are not separable from the best are marked; it takes half a minute where queries
            are of ten thousand places.
        intervals: whether intervals are shown.
        siunitx: align by the LaTeX package of that name.
    """

    datasets: tuple[str, ...] = ()
    metrics: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    headings: dict[str, str] = Field(default_factory=dict)
    rows: tuple[RowChoice, ...] = ()
    sort: str | None = None
    published: bool = True
    limit: int | None = None
    side_by_side: bool | None = None
    settings_as_columns: bool = False
    digits: int = Field(1, ge=0, le=6)
    separable: bool = True
    intervals: bool = True
    siunitx: bool = False

    @classmethod
    def read(cls, path: Path) -> Layout:
        """That of a file. Several datasets stand side by side unless it says otherwise.

        Raises:
            DataError: missing or not TOML.
            ConfigError: it has a key that does not exist, or a value that it may not have.
        """
        found = cls.of(read_toml(path), str(path))
        several = found.side_by_side is None and len(found.datasets) > 1
        return found.model_copy(update={"side_by_side": True}) if several else found

    @classmethod
    def of(cls, values: dict[str, Any], where: str) -> Layout:
        """The layout of these values.

        Raises:
            ConfigError: one does not exist, or is not as it may be; `where` it stands.
        """
        try:
            found = cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(p) for p in first["loc"]) or "the whole"
            known = f"a layout has {', '.join(cls.model_fields)}; a row {', '.join(RowChoice.model_fields)}"
            raise ConfigError(f"{where}: {key}: {first['msg']}", known) from error
        if found.columns is not None and found.metrics is not None and METRICS not in found.columns:
            problem = f"{where}: the metrics have no place among the columns"
            raise ConfigError(problem, f"write `{METRICS}` into the columns, where the metrics are to stand")
        return found

    def cites(self, row: PublishedRow) -> bool:
        """Whether a published row is to be shown: any, or one that is named where some are."""
        named = [choice for choice in self.rows if choice.published]
        return self.published and (not named or any(choice.fits_published(row) for choice in named))

    def words(self, metrics: tuple[str, ...], several: bool, varied: bool) -> tuple[str, ...]:
        """The columns of a table.

        Args:
            metrics: those to show.
            several: datasets stand side by side.
            varied: some method was run with several seeds.
        """
        if self.columns is None:
            first = (metrics[0], SPREAD) if varied and metrics and not several else metrics[:1]
            costs = () if several else (LATENCY, "storage", "parameters")
            return (BACKBONE, *first, *metrics[1:], *costs)
        listed = [w for word in self.columns for w in (metrics if word == METRICS else (word,))]
        return tuple(dict.fromkeys(listed))


def _same(value: Any, asked: Any) -> bool:
    """Whether a setting is the one asked for; texts may be as after ``--set``."""
    return bool(value == asked) or (isinstance(asked, str) and shown(value) == asked)
