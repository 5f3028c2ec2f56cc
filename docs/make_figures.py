"""Draw the figures of the documentation: `python docs/make_figures.py LEVELS_CSV`, of a data set of remix2019 at 0 dB.

Writes docs/figures/achieved_snr.svg and prints the numbers that differences.md quotes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

FIGURES = Path(__file__).resolve().parent / "figures"


def main(levels_csv: str) -> None:
    """Draw the histogram of achieved minus nominal SNR."""
    table = pd.read_csv(levels_csv)
    if set(table["target_is_on"]) != {"rms of recording"}:
        raise SystemExit(f"{levels_csv}: not of the released definition, found {set(table['target_is_on'])}")
    error = (table["achieved_db"] - table["target_db"]).to_numpy()
    error = error[np.isfinite(error)]
    quantiles = np.quantile(error, [0.05, 0.5, 0.95])
    print(
        f"{len(error)} events of {table['clip_id'].nunique()} clips: mean {error.mean():.2f} dB,"
        f" standard deviation {error.std():.2f} dB, 5 % {quantiles[0]:.2f}, median {quantiles[1]:.2f},"
        f" 95 % {quantiles[2]:.2f}, least {error.min():.2f}, greatest {error.max():.2f};"
        f" within 0.5 dB {np.mean(np.abs(error) <= 0.5):.1%}"
    )
    plt.rcParams["svg.hashsalt"] = "remixbench"  # the same bytes each time
    figure, axes = plt.subplots(figsize=(6.4, 3.0), layout="constrained")
    axes.hist(error, bins=np.arange(-16, 17.01, 0.5), color="#33658a")
    axes.axvline(0, color="#f26419", linewidth=1.5)
    axes.set_xlabel("achieved minus nominal SNR (dB)")
    axes.set_ylabel("events")
    axes.spines[["top", "right"]].set_visible(False)
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / "achieved_snr.svg", metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
