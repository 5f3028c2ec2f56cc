"""`remixbench separate`."""

from __future__ import annotations

from typing import Any

import click

from remixbench.cli.options import PATH, ManyCommand, Settings, device_option, many
from remixbench.parallel import prepare_for_torch


@click.command(cls=ManyCommand)
@click.argument("run", type=PATH)
@click.argument("audio", type=PATH, nargs=-1, required=True, metavar="AUDIO...")
@click.option("--out", type=PATH, required=True, metavar="DIR", help="Folder to write NAME/CLASS.wav to.")
@many("--class", "classes", metavar="LABEL...", help="Classes to write. [default: those detected]")
@click.option("--background", is_flag=True, help="Also write the rest of each recording, NAME/background.wav.")
@device_option
@click.pass_obj
def command(settings: Settings, /, classes: tuple[str, ...], **values: Any) -> None:
    """Separate the detected classes in AUDIO files with the trained system of a RUN.

    AUDIO may have any format that libsndfile reads (WAV, FLAC, OGG, MP3), any sample rate and any length. The system's
    time-frequency maps are applied to the recording's spectrum as masks; the phase is kept. Waveforms are mono and have
    the recording's sample rate and length. With --background, they sum to the recording. The folder of a recording
    holds only the latest result.

    Example: remixbench separate runs/mini/crnn-sep/snr_20/fold_4/seed_0 street.wav --out separated --background
    """
    prepare_for_torch()
    from remixbench.inference.recordings import separate

    written = separate(classes=classes or None, progress=settings.progress(), **values)
    for name, sources in written.items():
        for path in sources.values():
            click.echo(path)
        if not sources:
            settings.progress().say(f"{name}: no class is detected; --class LABEL writes a class anyway")
