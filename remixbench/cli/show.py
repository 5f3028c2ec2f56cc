"""`remixbench show`."""

from __future__ import annotations

from typing import Any

import click

from remixbench.cli.options import FILE, Settings, decibel


@click.command()
@click.argument("clip")
@click.option("--dataset", metavar="NAME|DIR", help="Data set. [default: the run's, otherwise the most recent one]")
@click.option("--snr", type=decibel, metavar="DB", help="SNR. [default: the run's, otherwise the highest]")
@click.option("--run", metavar="RUN", help="Folder of a run: draw what its network computes from the clip.")
@click.option("--separated", is_flag=True, help="With --run: draw each class that the system separates.")
@click.option("--out", type=FILE, metavar="FILE", help="PNG, SVG or PDF file to write. [default: CLIP.png]")
@click.pass_obj
def command(settings: Settings, /, **values: Any) -> None:
    """Draw a clip: waveform, log-mel spectrogram, reference events and levels.

    With --run, draw the panels of the paper's Figure 2: log-mel, reconstruction, attention over frequency and time,
    frame scores and clip scores. With --separated, draw the spectrogram of each class that the system separates.

    Example: remixbench show 00007 --run runs/mini/2ap-aux/snr_20/fold_4/seed_0 --out figure2.pdf
    """
    from remixbench.plots.show import show

    click.echo(show(workspace=settings.workspace, **values))
