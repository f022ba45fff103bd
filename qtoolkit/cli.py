"""The command `qt`. Every command is a thin call into its room, which is imported only when the command runs."""

from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(name="qt", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="The course on efficient inference: its health, its exercises, its measurements.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _finish(problems: bool) -> None:
    """Exit code 1 where something is wrong."""
    if problems:
        raise typer.Exit(1)


@app.command()
def doctor(json: Json = False) -> None:
    """Versions, instruction set, native kernels or fallback, data, disk; and what to do about anything wrong."""
    from qtoolkit import doctor as room

    report = room.examine()
    typer.echo(room.as_json(report) if json else room.as_text(report))
    _finish(room.prevents_the_course(report))


@app.command()
def coverage(json: Json = False) -> None:
    """What of the field is implemented, tested, taught and exercised; fails when a link is broken."""
    from qtoolkit import coverage as room

    report = room.examine()
    typer.echo(room.as_json(report) if json else room.as_text(report))
    _finish(bool(report.broken))


@app.command()
def reproduce(name: Annotated[Optional[str], typer.Argument(help="Which result; without it, the list.")] = None) -> None:
    """Remake a recorded result: book/results/NAME.json, and weights where there are any."""
    from qtoolkit.lab.reproduce import RECIPES
    from qtoolkit.lab.reproduce import reproduce as remake

    if name is None:
        for known, recipe in RECIPES.items():
            typer.echo(f"{known:16} {recipe.__doc__.strip().splitlines()[0]}")
    elif name not in RECIPES:
        raise typer.BadParameter(f"no recipe for {name!r}; there are: {', '.join(RECIPES)}")
    else:
        try:
            typer.echo(f"wrote {remake(name).name}")
        except RuntimeError as error:  # data that cannot be had, kernels that are not native: told, not traced
            typer.echo(f"qt reproduce {name}: {error}", err=True)
            raise typer.Exit(1) from None


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Few rounds: a look, not a measurement.")] = False,
    json_file: Annotated[Optional[Path], typer.Option("--json", help="Write the figures to this file as well.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads to use.")] = 1,
    files: Annotated[bool, typer.Option("--files", help="Time compressed files instead: VGG-16's shapes, and layers of 1e5 to 1e8 weights.")] = False,
) -> None:
    """Time the kernels against their best peers and the machine's limits."""
    if files:
        from qtoolkit.compression import speed

        return speed.main()
    from qtoolkit.kernels import bench as room

    room.main(quick=quick, json_file=json_file, threads=threads)


@app.command()
def build(check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if exercises/ is not up to date.")] = False) -> None:
    """Make exercises/ from solutions/: student notebooks, and keys of numbers and hints."""
    from qtoolkit.check import build as room

    _finish(bool(room.main(check_only=check)))


@app.command()
def verify() -> None:
    """Prove every exercise: in sync, solutions pass, empty answers score 0, wrong answers are caught and named."""
    from qtoolkit.check import verify as room

    _finish(bool(room.main()))


@app.command()
def check(
    chapter: Annotated[Optional[str], typer.Argument(help="A chapter, such as ch02; without it, all.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Check again whenever a notebook is saved.")] = False,
) -> None:
    """Run your exercise notebooks and print what the checks say; fails until all of them pass."""
    from qtoolkit.check import terminal as room

    try:
        _finish(bool(room.main(chapter, watch)))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@app.command("list")
def list_() -> None:
    """All exercises of the course, which of them are done, and which comes next."""
    from qtoolkit.check import progress as room

    _finish(bool(room.main()))


def _say_or_fail(command: str, *arguments) -> None:
    """Print what a command of the compression room says; a bad file or name is told, not traced."""
    from qtoolkit.compression import cli as room

    try:
        typer.echo(getattr(room, f"run_{command}")(*arguments))
    except (room.BadFile, ValueError, OSError) as error:
        typer.echo(f"qt {command.replace('_', '-')}: {error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def compress(
    network: Annotated[str, typer.Argument(help="A trained network of the course: lenet-300-100 or lenet-5.")],
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    json: Json = False,
) -> None:
    """Prune, share and Huffman-code a network into one file, at the paper's densities, without retraining."""
    from qtoolkit.lab.models import NETWORKS, trained

    if network not in NETWORKS:
        raise typer.BadParameter(f"no network {network!r}; there are: {', '.join(NETWORKS)}")
    _say_or_fail("compress", trained(network), file, network, json)


@app.command()
def inspect(file: Path, json: Json = False) -> None:
    """What a compressed file holds, layer by layer, in the paper's columns."""
    _say_or_fail("inspect", file, json)


@app.command()
def evaluate(file: Path, json: Json = False) -> None:
    """Decode a compressed file and measure its error on the 10,000 test digits."""
    from qtoolkit.lab.data import mnist

    test = mnist("test")
    _say_or_fail("evaluate", file, test.inputs(), test.labels, json)


@app.command("import-songhan")
def import_songhan(source: Path, file: Path) -> None:
    """Translate AlexNet_compressed.net, as the authors of Deep Compression published it, into a file of ours."""
    _say_or_fail("import_songhan", source, file)


def main() -> None:
    """Entry point of `qt`."""
    app()


if __name__ == "__main__":
    main()
