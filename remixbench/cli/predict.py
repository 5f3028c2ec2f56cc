"""`remixbench predict`."""

from __future__ import annotations

from typing import Any

import click

from remixbench.cli.options import PATH, Settings, device_option
from remixbench.parallel import prepare_for_torch


@click.command()
@click.argument("run", type=PATH)
@click.argument("audio", type=PATH, nargs=-1, required=True, metavar="AUDIO...")
@click.option("--out", type=PATH, metavar="DIR", help="Folder to write tags.csv and events.tsv to.")
@click.option(
    "--threshold", type=float, metavar="T", help="Threshold for all classes. [default: the run's own, per class]"
)
@click.option("--frames", is_flag=True, help="With --out: also write frame scores, frames/NAME.tsv.")
@click.option("--figure", is_flag=True, help="Draw each file, as NAME.png in --out or the current folder.")
@device_option
@click.pass_obj
def command(settings: Settings, /, **values: Any) -> None:
    """Detect events in AUDIO files with the trained system of a RUN.

    AUDIO may have any format that libsndfile reads (WAV, FLAC, OGG, MP3), any sample rate and any length.

    Prints the events: file name, onset and offset in seconds, label, and score (the highest frame score in the event).
    Figures are those of `remixbench show --run`; for a recording longer than the training clips, they show the scores
    over its whole length.

    Example: remixbench predict runs/mini/2ap-aux/snr_20/fold_4/seed_0 street.wav --out detected --figure
    """
    prepare_for_torch()
    from remixbench.inference.recordings import events_table, predict

    predictions = predict(progress=settings.progress(), **values)
    click.echo(events_table(predictions).decode(), nl=False)
