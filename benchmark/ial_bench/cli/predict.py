"""`bench predict`: addresses for photos of one's own."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ial_bench import folders
from ial_bench.cli import options
from ial_bench.cli.console import ConsoleReporter, print_json, print_rows
from ial_bench.errors import ConfigError, DataError, unknown_name

if TYPE_CHECKING:
    from ial_bench.datasets.dataset import Dataset
    from ial_bench.encoders.encoder import EncoderCard
    from ial_bench.engine.answering import PhotoAnswer
    from ial_bench.engine.record import RunRecord
    from ial_bench.method import Method, RunContext
    from ial_bench.progress import Reporter


def predict(
    photos: Annotated[list[Path], typer.Argument(help="Photos, in any format that datasets may have.")],
    method: Annotated[str, typer.Option("--method", "-m", help="The method.")],
    dataset: options.DatasetOption,
    seed: Annotated[int | None, typer.Option(help="Seed of the run. [default: any]")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE that the run has; may be repeated.")
    ] = None,
    preset: options.Presets = None,
    backbone: Annotated[str | None, typer.Option(help="Encoder of the run.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="Id of the run. [default: the latest that fits]")] = None,
    top: Annotated[int, typer.Option(min=1, help="Addresses per photo.")] = 5,
    device: options.Device = "auto",
    plugin: options.Plugins = None,
    results: options.Results = None,
    cache: options.Cache = None,
    data_home: options.DataHome = None,
    as_json: options.AsJson = False,
) -> None:
    """Name the addresses of photos of your own.

    Answers with the method that a finished `bench run` has fitted; never trains one. Exit 1 if a photo cannot be
    read; the others are answered all the same.

    Example: bench predict --method linear-probe --dataset synth-city my-photo.jpg
    """
    from ial_bench.cli.choices import Wanted, settings_of
    from ial_bench.datasets.known import open_dataset
    from ial_bench.engine import fitted_methods
    from ial_bench.engine.answering import answer, config_of, fitted, fitting
    from ial_bench.settings import BACKBONE, configured

    report = ConsoleReporter()
    registry = options.registry(plugin)
    cls = registry.get(method)
    if cls.info.oracle:
        raise ConfigError(
            f"{method} answers from the true position of a photo, which nobody knows for one of your own",
            "choose a method that looks at the photo; `bench list methods` shows all",
        )
    given = settings_of(registry, Wanted(method, preset or (), None, backbone, settings or ()))[method]
    asked = configured(cls, given).model_dump(mode="json")
    data = open_dataset(dataset, data_home)
    made = _records(folders.results_home(results), data.name, method)
    common = ["--methods", method, "--dataset", dataset]
    places = [("--plugin", plugin), ("--results", [results]), ("--cache", [cache]), ("--data-home", [data_home])]
    elsewhere = _repeated(*places)
    chosen = fitting(made, cls, data, seed, {key: asked[key] for key in given}, _own_encoder(given, cache, report))
    if run is not None:
        if run not in {r.run_id for r in made}:
            raise unknown_name(f"run of {method} on {data.name}", run, [r.run_id for r in made], "`bench list runs`")
        chosen = [r for r in chosen if r.run_id == run]
    if not chosen:
        words = _repeated(("--seeds", [seed]), ("--preset", preset), ("--backbone", [backbone]), ("--set", settings))
        raise DataError(_nothing(method, data, made, run), f"`{_command([*common, *words, *elsewhere])}` makes one")
    record = next((r for r in chosen if r.method.source_digest == registry.source(method)), None)
    if record is None:
        again = [*common, *_words(cls, config_of(cls, chosen[0]), chosen[0]), *elsewhere]
        raise DataError(_other_code(method, data, run), f"`{_command(again)}` makes it anew")
    config = config_of(cls, record)
    folder = fitted_methods.kept(folders.cache_home(cache), record.run_id)
    if folder is None:
        again = [*common, *([] if config is None else _words(cls, config, record)), "--rerun", *elsewhere]
        raise DataError(
            f"the fitted {method} of run {record.run_id} is not in the cache", f"`{_command(again)}` makes it anew"
        )
    report.log(_about(record, data))
    context = _context(record, device, folders.cache_home(cache), report)
    ready = fitted(cls, record, folder, context, given.get(BACKBONE))
    answered = answer(ready, photos, data, top)
    _show(answered, record, as_json)
    for one in answered:
        if one.problem is not None:
            report.log(f"error: {one.problem}")
    if any(one.problem is not None for one in answered):
        raise typer.Exit(1)


def _own_encoder(given: Mapping[str, Any], cache: Path | None, report: Reporter) -> EncoderCard | None:
    """The encoder asked for where it is a file of the user's: runs do not know it by that name."""
    from ial_bench.encoders.spec import EncoderSpec
    from ial_bench.engine.features import FeatureStore
    from ial_bench.settings import BACKBONE

    if BACKBONE not in given or EncoderSpec.parse(given[BACKBONE]).published:
        return None
    return FeatureStore(folders.cache_home(cache), "cpu", 32, 0, report).card(given[BACKBONE])


def _context(record: RunRecord, device: str, cache: Path, report: Reporter) -> RunContext:
    """What the method of a run needs to answer: encoders in the run's own precision."""
    from ial_bench.encoders.encoder import FLOAT32
    from ial_bench.engine.features import FeatureStore
    from ial_bench.machine import resolve_device
    from ial_bench.method import RunContext

    where, encoder = resolve_device(device), record.method.encoder
    precision = FLOAT32 if encoder is None else encoder.precision
    store = FeatureStore(cache, where, 32, 0, report, precision=precision)
    return RunContext(record.seed, where, store, report, cache=cache)


def _records(home: Path, dataset: str, method: str) -> list[RunRecord]:
    """The method's runs on a dataset; those that cannot be read are named on stderr."""
    from ial_bench.engine.record import RunRecord
    from ial_bench.engine.records import records

    found = []
    for path, record in records(home, dataset):
        if path.parent.name == method:
            if isinstance(record, RunRecord):
                found.append(record)
            else:
                typer.echo(f"not read: {record}", err=True)
    return found


def _nothing(method: str, data: Dataset, made: list[RunRecord], run: str | None) -> str:
    """Why no run can answer."""
    done = [r for r in made if r.status == "done" and run in {None, r.run_id}]
    which = f"finished run of {method} on {data.name}" if run is None else f"answer from run {run}"
    if not done:
        return f"there is no {which}"
    if all(r.dataset.candidate_digest != data.candidates.digest for r in done):
        return f"there is no {which}: it was made when the dataset had other addresses"
    return f"there is no {which} with this seed, these settings and this version of the method"


def _other_code(method: str, data: Dataset, run: str | None) -> str:
    """Why none of the runs that fit can answer."""
    if run is not None:
        return f"run {run} was made by other code than {method} has now"
    return f"no finished run of {method} on {data.name} was made by the code that {method} has now"


def _about(record: RunRecord, data: Dataset) -> str:
    parts = [f"seed {record.seed}"] if record.method.stochastic else []
    parts.append(f"finished {record.provenance.finished}")
    if record.dataset.limit is not None:
        parts.append(f"limited to {record.dataset.limit:,} photos a split")
    if not data.is_version(record.dataset.digest, record.dataset.contents_digest):
        parts.append(f"made on another version of {data.name}, with the same addresses")
    return f"answers are those of run {record.run_id} ({', '.join(parts)})"


def _words(cls: type[Method], config: Any, record: RunRecord) -> list[str]:
    """The options of `bench run` that make a run of the same identity."""
    from ial_bench.engine.plan import STORED_K
    from ial_bench.settings import BACKBONE, as_text, nearest_preset

    name, own = record.method.name, config.model_dump(mode="json")
    preset, changed = nearest_preset(cls, config)
    words = ["--preset", f"{name}={preset}"] if preset else []
    if BACKBONE in own:
        words += ["--backbone", own[BACKBONE]]  # in any case: a dataset may name another one
    for key in changed:
        if key != BACKBONE:
            words += ["--set", f"{name}.{key}={as_text(own[key])}"]
    words += ["--seeds", str(record.seed)] if record.method.stochastic else []
    words += ["--limit", str(record.dataset.limit)] if record.dataset.limit is not None else []
    return words + (["--k", str(record.k)] if record.k != STORED_K else [])


def _repeated(*options: tuple[str, Sequence[Any] | None]) -> list[str]:
    """Options with their values as words of a command, without those that were not given."""
    return [
        w for option, values in options for value in values or () if value is not None for w in (option, str(value))
    ]


def _command(words: list[str]) -> str:
    return shlex.join(["bench", "run", *words])


def _show(answered: list[PhotoAnswer], record: RunRecord, as_json: bool) -> None:
    if as_json:
        print_json({
            "method": record.method.name,
            "dataset": record.dataset.name,
            "run_id": record.run_id,
            "seed": record.seed,
            "photos": [
                {
                    "photo": str(one.photo),
                    "error": one.problem,
                    "answers": [
                        {"address": a.address.text, "score": a.score, "probability": a.probability}
                        for a in one.answers
                    ],
                }
                for one in answered
            ],
        })  # fmt: skip
        return
    given = [(one.photo, rank, a) for one in answered for rank, a in enumerate(one.answers, 1)]
    if given:
        logits = all(a.probability is not None for _, _, a in given)
        print_rows(
            ["photo", "rank", "address", "probability %" if logits else "score"],
            [
                [
                    str(photo), str(rank), a.address.text,
                    f"{a.score:.4g}" if a.probability is None else f"{100 * a.probability:.1f}",
                ]
                for photo, rank, a in given
            ],
        )  # fmt: skip
