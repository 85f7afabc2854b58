"""The `g5` command: one verb per job, each a few lines that call into a room.

Heavy libraries are imported inside the verbs, so that `g5 --help` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Any

import click

OVERRIDES: dict[str, Any] = {"nargs": -1, "type": click.UNPROCESSED, "metavar": "[KEY=VALUE]..."}
PASS_THROUGH = {"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}


class Command(click.Group):
    """Prints an error the user can put right as one line, and exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ValueError as error:
            # Imported only once something went wrong.
            from preprocessing.errors import UserError

            if not isinstance(error, UserError):
                raise
            click.echo(f"error: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo(
                "stopped; what was finished is kept, and training goes on with resume=true",
                err=True,
            )
            sys.exit(130)


class Architectures(click.ParamType):
    """One architecture of `conf/arch/`, or several with commas for `-m`."""

    name = "arch"

    def convert(self, value: str, param: Any, ctx: Any) -> str:
        from conf.choices import choices

        known = choices("arch")
        for part in value.split(","):
            if part not in known:
                self.fail(f"there is no architecture {part!r}; choose from {', '.join(known)}")
        return value

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from conf.choices import choices

        done, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(done + comma + name) for name in choices("arch") if name.startswith(last)
        ]


@click.group(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="g5")
def main() -> None:
    """Few-shot bioacoustics: recordings in, a trained few-shot encoder out.

    \b
    g5 train v2 experiment=demo      a first run, in minutes, with no data of your own
    g5 test CKPT                     how good is it, on species it has never heard
    g5 ui                            compare the runs in MLflow

    Every KEY=VALUE is a key of conf/; a mistyped one is an error that suggests the right one.
    """


@main.command(context_settings=PASS_THROUGH)
@click.argument("arch", type=Architectures())
@click.option("--exp-name", metavar="NAME", help="The run's folder, outputs/<name>/NAME/.")
@click.option(
    "-m", "--multirun", is_flag=True, help="Run every combination of comma-separated values."
)
@click.argument("overrides", **OVERRIDES)
def train(arch: str, exp_name: str | None, multirun: bool, overrides: tuple[str, ...]) -> None:
    """Train an architecture of conf/arch/, then test it on species it has never heard.

    \b
    g5 train v2
    g5 train v1 --exp-name my_run arch.training.max_epochs=10 seed=7
    g5 train v1,v2 -m seed=1,2,3
    g5 train v2 resume=true
    g5 train v2 data=dcase path.train_dir=DIR path.eval_dir=DIR path.test_dir=DIR
    """
    from archs.train import launch

    if "," in arch and not multirun:
        raise click.UsageError(f"{arch} is several runs: add -m")
    values = {} if exp_name is None else {"exp_name": exp_name}
    launch([f"arch={arch}", *overrides], values, multirun=multirun)


@main.command(context_settings=PASS_THROUGH)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("overrides", **OVERRIDES)
def test(checkpoint: Path, overrides: tuple[str, ...]) -> None:
    """Test a checkpoint on episodes of classes it was not trained on.

    Starts from the checkpoint's own configuration. Architecture, model and front end are fixed;
    data, protocol, trainer and logger may be overridden.

    \b
    g5 test outputs/protonet_baseline/v2_run/checkpoints/best_checkpoint.ckpt
    g5 test CKPT data=clips path.train_dir=clips.csv data.split=test arch.episodes.n_way=5
    """
    from jobs.test import evaluate_checkpoint

    evaluate_checkpoint(checkpoint, list(overrides))


@main.command(context_settings=PASS_THROUGH)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("overrides", **OVERRIDES)
def shots(checkpoint: Path, overrides: tuple[str, ...]) -> None:
    """Test a checkpoint at 1, 2, 5, 10 and 20 shots, on the same classes and queries.

    \b
    g5 shots outputs/protonet_baseline/v2_run/checkpoints/best_checkpoint.ckpt
    g5 shots CKPT arch.episodes.n_way=5 arch.episodes.n_query=2
    """
    from jobs.shots import shots_of_checkpoint

    shots_of_checkpoint(checkpoint, list(overrides))


@main.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--folds", is_flag=True, help="Runs of data.fold=0,1,... are one cross-validation.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder of the figures.")
def compare(runs: tuple[str, ...], folds: bool, output: Path | None) -> None:
    """Say whether tested runs differ, paired over the same test episodes.

    A RUN is a run's folder, a multirun's folder (all its jobs), a run's name or an MLflow run id.
    Runs that differ only in the seed count as one.

    \b
    g5 compare v1_run v2_run
    g5 compare --folds outputs/protonet_baseline/v1_cv outputs/protonet_baseline/v2_cv
    """
    from jobs.compare import compare_runs

    compare_runs(runs, folds=folds, output=output)


@main.command(context_settings=PASS_THROUGH)
@click.argument("arch", type=Architectures())
@click.option(
    "--widths", default="0.25,0.5,1,2", show_default=True, help="Factors on arch.model.channels."
)
@click.argument("overrides", **OVERRIDES)
def capacity(arch: str, widths: str, overrides: tuple[str, ...]) -> None:
    """Train an architecture at several widths and draw its error over width.

    A run of its own for each width; what was finished is not done again.

    \b
    g5 capacity v1
    g5 capacity v2 --widths 0.5,1 experiment=demo
    """
    from jobs.capacity import capacity as draw_capacity

    draw_capacity(arch, widths, list(overrides))


@main.command(context_settings=PASS_THROUGH)
@click.option(
    "--check", is_flag=True, help="Verify what is stored instead; exit code 1 if damaged."
)
@click.argument("overrides", **OVERRIDES)
def features(check: bool, overrides: tuple[str, ...]) -> None:
    """Extract the features of every recording into the store (training does it when absent).

    \b
    g5 features
    g5 features features=pcen data=dcase path.train_dir=DIR path.eval_dir=DIR
    g5 features --check
    """
    from jobs.data import build_features, check_features

    sys.exit(check_features(list(overrides)) if check else build_features(list(overrides)))


@main.group()
def data() -> None:
    """Recordings and their annotations.

    \b
    g5 data check data=dcase path.train_dir=DIR
    """


@data.command("check", context_settings=PASS_THROUGH)
@click.option("--strict", is_flag=True, help="Exit with 1 if there is any problem.")
@click.argument("overrides", **OVERRIDES)
def data_check(strict: bool, overrides: tuple[str, ...]) -> None:
    """Print what the data hold, and everything that is wrong with them.

    \b
    g5 data check
    g5 data check --strict data=raven path.train_dir=DIR path.eval_dir=DIR
    """
    from jobs.data import check_data

    sys.exit(check_data(list(overrides), strict=strict))


@data.command("split")
@click.argument("clips", type=click.Path(path_type=Path), metavar="CLIPS.csv")
@click.option("--by", metavar="COLUMN", help="Values of this column stay together; label: classes.")
@click.option("--stratified/--plain", default=True, help="Keep the classes' shares alike.")
@click.option("--val", default=0.2, show_default=True, help="Share of the clips for validation.")
@click.option("--test", default=0.2, show_default=True, help="Share of the clips for the test.")
@click.option("--folds", type=int, help="Number of folds, each of which is tested once.")
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.csv")
def data_split(clips: Path, output: Path, by: str | None, stratified: bool, **numbers: Any) -> None:
    """Part a list of clips (file,label,...) into train, val and test, and into folds.

    \b
    g5 data split clips.csv -o split.csv                            stratified, clip by clip
    g5 data split clips.csv --by source --folds 5 -o split.csv      sources stay together
    g5 data split clips.csv --by label --folds 5 -o split.csv       by classes, for few-shot
    """
    from jobs.split import split_clips

    split_clips(clips, output, by=by, stratify=stratified, **numbers)


@main.command()
@click.option("--port", default=5000, show_default=True, help="Port on 127.0.0.1.")
def ui(port: int) -> None:
    """Open MLflow on the runs of the current directory, at http://127.0.0.1:PORT.

    \b
    g5 ui --port 5001
    """
    from tracking.mlflow_places import local_uri, redacted

    uri = os.environ.get("MLFLOW_TRACKING_URI") or local_uri(Path.cwd())
    click.echo(f"MLflow on {redacted(uri)}: http://127.0.0.1:{port} (Ctrl-C ends it)")
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--port",
        str(port),
        "--backend-store-uri",
        uri,
    ]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
