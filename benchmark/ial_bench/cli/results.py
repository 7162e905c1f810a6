"""`bench score` and `bench results`: stored results, scored again and passed on between machines and people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ial_bench import folders
from ial_bench.cli import options
from ial_bench.cli.console import print_json, print_rows
from ial_bench.errors import ConfigError, DataError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ial_bench.packs.pack import Pack
    from ial_bench.packs.verify import Verified, Verifier

app = typer.Typer(
    rich_markup_mode=None,
    help="Pass results on: into one file, verified against the dataset, merged with others.",
    no_args_is_help=True,
)

Packs = Annotated[list[Path], typer.Argument(help="Files that `bench results pack` wrote.", show_default=False)]
DatasetName = Annotated[
    str, typer.Option("--dataset", "-d", help="Name of the dataset that they are about, or the path of its folder.")
]
Signers = Annotated[
    Path | None,
    typer.Option(help="File of who may sign, in OpenSSH's form: every pack must bear the signature of one of them."),
]


def score(
    dataset: options.DatasetOption,
    methods: options.MethodNames = "all",
    ks: Annotated[
        str | None, typer.Option("--ks", help="The k of SSA-k and SA-k. [default: 1,5,10, as far as stored]")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; name what records tell otherwise, and exit with 1.")
    ] = False,
    results: options.Results = None,
    data_home: options.DataHome = None,
    as_json: options.AsJson = False,
) -> None:
    """Score stored predictions again.

    Recomputes the metrics of finished runs and updates their records, without torch. With --check, records stay as
    they are, and every number that does not follow from answers and dataset is named.

    Example: bench score --dataset cambridge --ks 1,3,5,10
    """
    from ial_bench.datasets.known import open_dataset
    from ial_bench.engine.records import records
    from ial_bench.engine.scoring import DEFAULT_KS, disagreements, rescore
    from ial_bench.files import sweep

    if check and ks is not None:
        raise ConfigError("--check takes the k that records have", "leave --ks out")
    wanted_ks = None if ks is None else _numbers(ks)
    data = open_dataset(dataset, data_home)
    home = folders.results_home(results)
    if not check:
        sweep(home / data.name)
    found = list(records(home, data.name))
    names = sorted({r.method.name for _, r in found if not isinstance(r, DataError) and r.status == "done"})
    chosen = names if methods == "all" else [m.strip() for m in methods.split(",")]
    if names and (unknown := [m for m in chosen if m not in names]):
        raise unknown_name("method with finished runs", unknown[0], names, f"there are {', '.join(names)}")
    scored, problems = [], 0
    for path, record in found:
        if isinstance(record, DataError):
            typer.echo(f"not scored: {record}", err=True)
            problems += 1
        elif record.status == "done" and record.method.name in chosen:
            try:
                for line in disagreements(path, record, data) if check else ():
                    typer.echo(f"{path}: {line}", err=True)
                    problems += 1
                scored.append(record if check else rescore(path, record, data, wanted_ks))
            except DataError as error:
                typer.echo(f"not {'checked' if check else 'scored'}: {error}", err=True)
                problems += 1
    if not scored and not problems:
        raise DataError(f"no finished runs on {data.name!r} in {home}", f"`bench run --dataset {dataset}` makes some")
    if as_json:
        print_json([r.model_dump(mode="json") for r in scored])
    else:
        shown = [*(f"{name}-{k}" for name in ("SSA", "SA") for k in wanted_ks or DEFAULT_KS), "MRR"]
        measured = [(r, r.metrics.accuracy) for r in scored if r.metrics]
        rows = [
            [r.method.name, str(r.seed), *(f"{100 * accuracy[m].value:.2f}" if m in accuracy else "" for m in shown)]
            for r, accuracy in measured
        ]
        print_rows(["method", "seed", *shown], rows)
    if problems:
        raise typer.Exit(1)


@app.command("pack")
def pack(
    methods: options.Answering = None,
    dataset: options.AnsweredDataset = None,
    out: Annotated[Path | None, typer.Option(help="File to write. [default: DATASET.ialpack]")] = None,
    licence: Annotated[str, typer.Option(help="Under which the results are given.")] = "CC-BY-4.0",
    contact: Annotated[str | None, typer.Option(help="Who to ask. [default: left out]")] = None,
    limit: Annotated[int | None, typer.Option(help="Pack runs with this limit.")] = None,
    results: options.Results = None,
) -> None:
    """Write finished runs into one file that others can verify.

    It holds records and answers, and the digest of what they were measured against: no photo, no position, no path, no
    name of a photo.

    Example: bench results pack fusion retrieval --dataset pitts-ial --contact lab@example.org
    """
    from ial_bench.packs.pack import SUFFIX, make_pack
    from ial_bench.report.selection import chosen_dataset

    home = folders.results_home(results)
    name = chosen_dataset(home, dataset)
    made, notes = make_pack(home, name, methods or [], out or Path(f"{name}{SUFFIX}"), limit, licence, contact)
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"packed {len(made.manifest.runs):,} runs: {made.path}", err=True)


@app.command("sign")
def sign(
    packs: Packs,
    key: Annotated[Path, typer.Option(help="A private key of ssh, Ed25519.")] = Path("~/.ssh/id_ed25519"),
) -> None:
    """Sign packs with an ssh key: FILE.sig beside each.

    `ssh-keygen -Y sign -n ial-bench -f KEY FILE` makes the same, also with a key that an agent holds.

    Example: bench results sign pitts-ial.ialpack --key ~/.ssh/id_ed25519
    """
    from ial_bench.packs.pack import Pack
    from ial_bench.packs.sign import sign as signed

    for file in packs:
        made = signed(Pack.open(file).path, key, lambda: str(typer.prompt(f"Passphrase of {key}", hide_input=True)))
        typer.echo(f"signed: {made}", err=True)


@app.command("verify")
def verify(
    packs: Packs,
    dataset: DatasetName,
    signers: Signers = None,
    plugin: options.Plugins = None,
    data_home: options.DataHome = None,
    as_json: options.AsJson = False,
) -> None:
    """Compute every number of packs anew, from their answers and the dataset at hand.

    Names each number, id and digest that does not follow, and exits with 1. Times, memory and the machine cannot be
    verified: they are taken as told.

    Example: bench results verify pitts-ial.ialpack --dataset pitts-ial
    """
    found = []
    for file in packs:
        _signed_by(file, signers)
        found += [(file, run) for run in _verified(file, dataset, plugin, data_home)[2]]
    if as_json:
        print_json([
            {"pack": file.name, "run_id": r.run_id, "method": r.method, "holds": r.holds, "problems": r.problems,
             "notes": r.notes}
            for file, r in found
        ])  # fmt: skip
    else:
        rows = [[f.name, r.run_id, r.method, "holds" if r.holds else "does not hold"] for f, r in found]
        print_rows(["pack", "run", "method", ""], rows)
        _tell(found)
    if not all(r.holds for _, r in found):
        raise typer.Exit(1)


@app.command("merge")
def merge(
    packs: Packs,
    dataset: DatasetName,
    signers: Signers = None,
    plugin: options.Plugins = None,
    results: options.Results = None,
    data_home: options.DataHome = None,
) -> None:
    """Take the runs of packs that hold into a folder of results; exits with 1 where one was refused.

    A run that is there already stays as it is. The same run with other answers is refused. Tables tell which rows came
    from packs.

    Example: bench results merge theirs.ialpack --dataset pitts-ial
    """
    from ial_bench.packs.verify import merge_run

    home = folders.results_home(results)
    done = []
    for file in packs:
        signer = _signed_by(file, signers)
        pack, verifier, runs = _verified(file, dataset, plugin, data_home)
        done += [(file, merge_run(pack, run, verifier, home, signer)) for run in runs]
    print_rows(["pack", "run", "method", ""], [[f.name, m.run.run_id, m.run.method, m.fate] for f, m in done])
    for file, m in done:
        if m.fate == "refused":
            typer.echo(f"{file.name}: {m.run.method or 'run'} {m.run.run_id}: {m.why}", err=True)
    if any(m.fate == "refused" for _, m in done):
        raise typer.Exit(1)


@app.command("site-template")
def site_template(
    folder: Annotated[Path, typer.Argument(help="New folder to write.", show_default=False)],
) -> None:
    """Write a repository for a public leaderboard.

    Packs come as pull requests; a workflow verifies them, merges them and publishes the pages of `bench report`.

    Example: bench results site-template our-leaderboard
    """
    from ial_bench.packs.template import write_template

    for file in write_template(folder):
        typer.echo(f"wrote {file}", err=True)
    typer.echo(f"next: read {folder / 'README.md'}; git init {folder}", err=True)


def _signed_by(file: Path, signers: Path | None) -> str | None:
    """Who signed a pack; None where no signature is asked for.

    Raises:
        DataError: none of the signers did.
    """
    from ial_bench.packs.sign import read_signers, signed_by

    if signers is None:
        return None
    name = signed_by(file, read_signers(signers))
    typer.echo(f"{file.name} is signed by {name}", err=True)
    return name


def _verified(
    file: Path, dataset: str, plugin: Sequence[Path] | None, data_home: Path | None
) -> tuple[Pack, Verifier, list[Verified]]:
    """A pack, its verifier and its verified runs.

    Raises:
        DataError: it is no pack, or about another dataset, version or ground truth.
    """
    from ial_bench.datasets.known import open_dataset
    from ial_bench.packs.pack import Pack
    from ial_bench.packs.verify import Verifier

    pack = Pack.open(file)
    verifier = Verifier(open_dataset(dataset, data_home), pack.manifest.limit, options.registry(plugin))
    if problems := verifier.about(pack.manifest):
        raise DataError(f"{file} is not about {dataset}: {'; '.join(problems)}", "give the dataset that it is about")
    return pack, verifier, [verifier.run(pack, run_id) for run_id in sorted(pack.manifest.runs)]


def _tell(found: Sequence[tuple[Path, Verified]]) -> None:
    for file, run in found:
        for kind, lines in (("", run.problems), ("note: ", run.notes)):
            for line in lines:
                typer.echo(f"{kind}{file.name}: {run.method or 'run'} {run.run_id}: {line}", err=True)


def _numbers(text: str) -> list[int]:
    try:
        ks = sorted({int(k) for k in text.split(",")})
    except ValueError:
        raise ConfigError(f"--ks {text!r} is not a list of whole numbers", "for instance --ks 1,5,10") from None
    if ks[0] < 1:
        raise ConfigError(f"--ks {text!r}: k starts at 1", "for instance --ks 1,5,10")
    return ks
