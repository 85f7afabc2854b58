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
    g5 data fetch dcase2024 -o DIR
    """


@data.command("fetch")
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the set."
)
@click.option("--url", help="A mirror of Zenodo.")
def data_fetch(name: str, output: Path, url: str | None) -> None:
    """Download a public set of conf/fetch.yaml; stopped, it goes on with the same command.

    \b
    g5 data fetch dcase2024 -o dcase2024
    """
    from jobs.fetch import fetch_set

    fetch_set(name, output, url=url)


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


@main.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.argument("ground_truth", type=click.Path(path_type=Path))
@click.option(
    "--mode",
    type=click.Choice(["fair", "official"]),
    default="fair",
    show_default=True,
    help="official: to the last digit as the published DCASE evaluator; fair: without its quirks.",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Scores for scripts.")
@click.option("--report", type=click.Path(path_type=Path), help="Folder for an HTML page.")
def evaluate(
    predictions: Path, ground_truth: Path, mode: str, json_path: Path | None, report: Path | None
) -> None:
    """Score predicted events as DCASE Task 5 does, against a folder of ground truth.

    Both may be Raven, Audacity, BirdNET, DCASE, CSV or Parquet; the sub-folders of GROUND_TRUTH
    are its subsets. The first five calls of each recording are the support.

    \b
    g5 evaluate found/predictions.csv Validation_Set/
    g5 evaluate predictions.csv truth/ --mode official --json scores.json --report out/
    """
    from jobs.evaluate import evaluate_files

    evaluate_files(predictions, ground_truth, mode=mode, json_path=json_path, report_dir=report)


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
