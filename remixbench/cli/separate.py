"""`remixbench separate`."""

from __future__ import annotations

from pathlib import Path

import click

from remixbench.cli.console import Settings
from remixbench.cli.options import ManyCommand, device_option, many
from remixbench.parallel import prepare_for_torch


@click.command(cls=ManyCommand)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("audio", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="AUDIO...")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Write NAME/CLASS.wav there."
)
@many(
    "--class", "classes", metavar="LABEL...", help="Classes to write, named after the files. [default: those detected]"
)
@click.option("--background", is_flag=True, help="Write the rest of each recording, NAME/background.wav.")
@device_option
@click.pass_obj
def command(
    settings: Settings,
    /,
    run: Path,
    audio: tuple[Path, ...],
    out: Path,
    classes: tuple[str, ...],
    background: bool,
    device: str,
) -> None:
    """Separate the detected classes in AUDIO files with the trained system of a RUN.

    Files may have any format that libsndfile reads (WAV, FLAC, OGG, MP3), any rate and length. The system's
    time-frequency maps are masks on the recording's spectrum; the phase is kept. Waveforms are mono, at the
    recording's own rate and length. With --background, they sum to the recording. The folder of a recording holds its
    last result only: an earlier one is replaced.

    Example: remixbench separate runs/mini/crnn-sep/snr_20/fold_4/seed_0 street.wav --out separated --background
    """
    prepare_for_torch()
    from remixbench.inference.recordings import separate

    written = separate(
        run, audio, out=out, classes=classes or None, background=background, device=device,
        progress=settings.progress(),
    )  # fmt: skip
    for name, sources in written.items():
        for path in sources.values():
            click.echo(path)
        if not sources:
            settings.progress().say(f"{name}: no class is detected; --class LABEL writes one all the same")
