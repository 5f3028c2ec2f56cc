"""The command line, `remixbench COMMAND`. The module of a command is imported only when it is called."""

from __future__ import annotations

import gc
import io
import logging
import signal
import sys
import warnings
from importlib import import_module
from pathlib import Path

import click

from remixbench import __version__
from remixbench.cli.options import Settings
from remixbench.errors import RemixbenchError, is_out_of_memory, nearest, one_line

# descriptions for `remixbench --help`, which imports no command
COMMANDS = {
    "download": "Download, verify and unpack the sources.",
    "plan": "Draw a manifest from the tables of the sources.",
    "make": "Make a data set: audio, labels and features.",
    "verify": "Check a data set against its manifest and digests.",
    "export": "Export a data set for other tools.",
    "embed": "Compute embeddings of every clip with frozen pretrained encoders.",
    "overlap": "List the event recordings that an encoder was trained on.",
    "train": "Train systems on a data set.",
    "probe": "Compare frozen pretrained encoders with the same small head.",
    "predict": "Detect events in audio files with a trained system.",
    "separate": "Separate audio files into classes with a trained system.",
    "score": "Score runs or anyone's predictions, and write the leaderboard.",
    "report": "Write the leaderboard as one self-contained HTML page.",
    "figure": "Write the leaderboard as a figure or table for a paper.",
    "show": "Draw a clip, or what a trained system computes from it.",
    "recipes": "List the built-in recipes.",
    "systems": "List the systems that can be trained.",
}


class Commands(click.Group):
    """The group of all commands; each is in the module of `remixbench.cli` with its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return the command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"remixbench.cli.{cmd_name}").command
        command.name = cmd_name
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or suggest the nearest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(
                f"unknown command '{args[0]}'{nearest(args[0], COMMANDS)}; commands: {', '.join(COMMANDS)}"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _note_verbose(ctx: click.Context, _: click.Parameter, verbose: bool) -> None:
    """Store the flag for `run`, which needs it when parsing fails."""
    ctx.ensure_object(dict)["verbose"] = verbose


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--workspace",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("."),
    envvar="REMIXBENCH_WORKSPACE",
    show_envvar=True,
    metavar="DIR",
    help="Folder of sources, data sets, runs and leaderboards. [default: current folder]",
)
@click.option(
    "-v", "--verbose", is_flag=True, is_eager=True, expose_value=False, callback=_note_verbose,
    help="Show the traceback of an error.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print only results and errors.")
@click.version_option(__version__, prog_name="remixbench")
@click.pass_context
def group(ctx: click.Context, workspace: Path, quiet: bool) -> None:
    """A benchmark for weakly supervised sound event detection in noise, from little data.

    Without options, make, train and score run the whole benchmark.

    Example: remixbench make --snr 0 10 20 && remixbench train && remixbench score
    """
    ctx.obj = Settings(workspace, quiet)


class Terminated(BaseException):
    """SIGTERM was received. Like an interrupt, it unwinds the stack, so that files and locks are cleaned up."""


def _terminate(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    raise Terminated


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0 success, 1 failure, 2 bad usage or input, 130 or 143 interrupted."""
    signal.signal(signal.SIGTERM, _terminate)
    gc.set_threshold(10_000)  # collecting garbage among what is being imported takes a sixth of a command's start
    for stream in (sys.stdout, sys.stderr):  # an encoding may lack a character, a file name may not be UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # without a writable home matplotlib uses a temporary folder, and warns
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # joblib's warning on an interrupt, which we report in one line
    warnings.filterwarnings("ignore", r"\d+ tasks ", UserWarning)
    sys.exit(run(sys.argv[1:] if args is None else args))


def run(args: list[str]) -> int:
    """Run the command line and return the exit status. Every error is one line on standard error."""
    options: dict[str, bool] = {}
    try:
        result = group.main(args=args, prog_name="remixbench", standalone_mode=False, obj=options)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else str(error))
        return 2
    except click.NoSuchOption as error:
        return _fail(_no_such_option(error), 2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "remixbench"
        return _fail(f"{one_line(error.format_message()).rstrip('.')} (see `{command} --help`)", 2)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except RemixbenchError as error:
        _print_traceback(options)
        return _fail(str(error), error.exit_status)
    except Terminated:
        return _fail("terminated; rerun to resume", 143)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted; rerun to resume", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone
        return 1
    except UnicodeEncodeError as error:
        _print_traceback(options)
        return _fail(f"{error.object[:200]!a}: a name that is not UTF-8; rename it", 2)
    except Exception as error:
        _print_traceback(options)
        if is_out_of_memory(error):
            return _fail(f"not enough memory{f' ({error})' if str(error) else ''}; finished files are intact", 1)
        if isinstance(error, OSError):
            where = f"{error.filename}: " if error.filename else ""
            return _fail(f"{where}{error.strerror or error}; finished files are intact; rerun the command", 1)
        description = f"{type(error).__name__}: {error}"
        return _fail(f"internal error ({description}); please report it with the output of `remixbench -v ...`", 1)
    return result if isinstance(result, int) else 0


ALIASES = {
    "--lr": "--learning-rate",
    "--model": "--system",
    "--models": "--system",
    "--bs": "--batch-size",
    "--wd": "--weight-decay",
    "--data": "--dataset",
    "--output": "--out",
    "--output-dir": "--out",
    "--workers": "--jobs",
    "--num-workers": "--jobs",
    "--scheduler": "--schedule",
}
"""Common option names of other programs, and their names here."""


def _no_such_option(error: click.NoSuchOption) -> str:
    """Return the message for an unknown option, with the option that was meant or its correct position."""
    name, ctx = error.option_name, error.ctx
    command = ctx.command_path if ctx else "remixbench"
    see = f"(see `{command} --help`)"
    if ctx is not None and ctx.parent is not None and name in {opt for p in group.params for opt in p.opts}:
        shown = " DIR" if name == "--workspace" else ""
        return f"{name} goes before the command: remixbench {name}{shown} {ctx.info_name} ... {see}"
    names = [opt for p in ctx.command.params for opt in p.opts if opt.startswith("--")] if ctx else []
    if name == "--resume":
        return f"no option --resume: rerun the same command to resume {see}"
    if name in ALIASES:
        meant = f" (did you mean '{ALIASES[name]}'?)" if ALIASES[name] in names else ""
    else:
        meant = nearest(name, names)
    return f"no such option: {name}{meant} {see}"


def _fail(message: str, status: int) -> int:
    click.echo(f"remixbench: {one_line(message)}", err=True)
    return status


def _print_traceback(options: dict[str, bool]) -> None:
    import traceback

    if options.get("verbose"):
        traceback.print_exc()
