"""Text and figure of docs/results.md, which `results.py` writes."""

from __future__ import annotations

import math
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from results_runs import (
    ABLATION,
    COARSE,
    CORPORA,
    ORDINARY,
    ORDINARY_RECIPE,
    PAPER,
    PARTS,
    RECIPES,
    Corpus,
    Run,
    Trained,
)

import remixbench
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.splits import split
from remixbench.scoring import average_precision
from remixbench.systems.registry import spec
from remixbench.training.run_files import HISTORY, read_history

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results.md"
FIGURE = "figures/results.svg"
"""Of the page, beside it."""
SHOWN = {
    "micro_ap": "micro-AP",
    "macro_ap": "macro-AP",
    "frame_ap": "frame AP",
    "psds1": "PSDS 1",
    "psds1[alpha_st 0]": "PSDS 1, α_ST = 0",
    "psds2": "PSDS 2",
}
CHANCE = "chance, the same score for all"
ENCODER_TITLE = "Pretrained encoders at 0 dB"
SIZE_TITLE = "crnn with a part of the training clips"
ABLATION_TITLE = "Ablation of crnn's training defaults, half of the training clips"
COSTLY = "- The published systems cost too much at this size, and are trained on a coarse log-mel."
"""Said where only `crnn` is trained."""
BEGUN, UNCUT = ",bias=prior", ",schedule=constant"
"""How the names of published systems end that begin at the mean label, or keep their learning rate."""
CURVE = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)
"""Parts of a training after which its validation score is shown."""


def section(title: str, dataset: Dataset, rows: Sequence[Trained], chance: Mapping[str, float]) -> str:
    """Return the part of the page for one data set; `chance` has the metrics of a system that knows nothing."""
    clips = next(row.runs[0].info["clips"] for row in rows if row.runs[0].info["fraction"] == 1)
    precisions = sorted({run.info["precision"] for row in rows for run in row.runs})
    lines = [
        f"## {title}",
        "",
        f"{len(dataset.clips)} clips, {len(dataset.classes)} classes, manifest {dataset.manifest_digest[:12]};"
        f" {clips['train']} clips to train on, {clips['validation']} to choose the epoch on, {clips['test']} of fold 4"
        f" to test on. Trained in {' and '.join(precisions)}. Not comparable with published scores:"
        f" {'; '.join(dataset.not_comparable)}.",
        "",
    ]
    if dataset.name.endswith(ORDINARY):
        lines += [
            "As `remix2019-strict`, but that each recording counts as an origin of its own: training and test share no"
            " recording, but may share an uploader's session.",
            "",
        ]
    coarse = dataset.name.endswith(COARSE)
    if coarse:
        lines += [
            "Here the published systems are trained. What was reduced: the log-mel, to 32 bands every 0.128 s in place"
            " of 64 every 0.032 s, an eighth of the operations; the width, to an eighth; 24 epochs in batches of 4.",
            "",
        ]
    embedded = by_encoder(rows)
    parts = {
        "Systems at 0 dB": [row for row in rows if row.parts & {"systems", "published"}],
        ENCODER_TITLE: on_encoders(rows),
        "crnn at each SNR": by_snr(rows),
        SIZE_TITLE: by_size(rows),
        "crnn-emb at each SNR": [row for row in embedded if "fraction" not in row.name],
        f"crnn-emb{SIZE_TITLE.removeprefix('crnn')}": [row for row in embedded if row.runs[0].info["snr"] == 0],
        ABLATION_TITLE: sorted(
            (row for row in rows if row.ablation), key=lambda row: list(ABLATION).index(row.ablation or "")
        ),
    }
    for heading, chosen in parts.items():
        if heading.startswith("Systems") or len(chosen) > 1:
            names = [row.ablation if heading == ABLATION_TITLE else None for row in chosen]
            lines += [f"### {heading}, {title}", "", *table(chosen, names), chance_line(chance), ""]
            lines += not_above_chance(chosen, mean_label_micro_ap(dataset, rows[0].runs[0].fold))
        if heading.startswith("Systems"):
            lines += [*claims(chosen), "", *learning_curves(chosen, chance["micro_ap"])] if coarse else [COSTLY, ""]
        if heading == ENCODER_TITLE and len(chosen) > 1:
            lines += encoder_claims(chosen)
        if heading.endswith(SIZE_TITLE.removeprefix("crnn")) and len(chosen) > 1:
            defaults = spec("crnn").training_defaults
            lines += [f"{defaults['epochs']} epochs each, or as many more as {defaults['min_steps']} steps take.", ""]
    return "\n".join(lines)


def of_crnn(rows: Iterable[Trained], *parts: str) -> list[Trained]:
    """Return the rows of `crnn` as it comes that belong to one of some parts of the page."""
    return [row for row in rows if row.name == "crnn" and row.parts & {*parts}]


def on_encoders(rows: Sequence[Trained]) -> list[Trained]:
    """Return what is trained on embeddings at 0 dB, and `crnn`."""
    pretrained = [row for row in rows if row.pretrained and row.runs[0].info["snr"] == 0]
    return sorted([*pretrained, *of_crnn(rows, "systems")], key=lambda row: row.mean("micro_ap"))


def by_snr(rows: Iterable[Trained]) -> list[Trained]:
    """Return `crnn` at every SNR."""
    return of_crnn(rows, "systems", "snr")


def by_size(rows: Sequence[Trained]) -> list[Trained]:
    """Return `crnn` at 0 dB with a part of the training clips, and with all of them."""
    smaller = [row for row in rows if "size" in row.parts]
    return sorted([*smaller, *of_crnn(rows, "systems")], key=lambda row: float(row.runs[0].info["fraction"]))


def by_encoder(rows: Iterable[Trained]) -> list[Trained]:
    """Return `crnn-emb` as it comes, by encoder and SNR, with all or a part of the training clips.

    There is nothing of an encoder with which it was trained at 0 dB on all clips alone.
    """
    groups: dict[str, list[Trained]] = {}
    for row in rows:
        system, *settings = row.name.split(",")
        values = dict(setting.partition("=")[::2] for setting in settings)
        if system == "crnn-emb" and "encoder" in values and values.keys() <= {"encoder", "fraction"}:
            groups.setdefault(values["encoder"], []).append(row)
    return [
        row
        for name in sorted(groups)
        if len(groups[name]) > 1
        for row in sorted(groups[name], key=lambda row: (row.runs[0].info["snr"], row.runs[0].info["fraction"]))
    ]


def runs_of_part(part: str, recipe: str, rows: Iterable[Trained]) -> tuple[int, int] | None:
    """Return how many runs of a part a recipe has, and how many it should have; None where the part leaves it out."""
    trainings = [training for training in PARTS[part] if recipe in training.recipes]
    infos = [(run.seed, run.info) for row in rows for run in row.runs]
    present = {
        (info["system"], info["snr"], info["fraction"], seed, number)
        for number, training in enumerate(trainings)
        for seed, info in infos
        if seed in training.seed and training.includes(info)
    }
    wanted = sum(len(t.system) * len(t.snr) * len(t.seed) * len(t.settings.get("fraction", [1.0])) for t in trainings)
    return (len(present), wanted) if trainings else None


def not_trained(counts: Sequence[tuple[str, str, str, int, int]]) -> list[str]:
    """Say which parts of the page lack runs; `counts` are (corpus, part, recipe, runs, wanted)."""
    lacking = [row for row in counts if row[3] < row[4]]
    if not lacking:
        return []
    return [
        "## Not trained yet",
        "",
        "How many runs of a `--part` and `--recipe` of the script this page has, of those that it is meant to have; the"
        " script trains the rest.",
        "",
        "| corpus | part | recipe | runs | of |",
        "| --- | --- | --- | ---: | ---: |",
        *(f"| {' | '.join(map(str, row))} |" for row in lacking),
        "",
    ]


def encoder_claims(rows: Sequence[Trained]) -> list[str]:
    """Compare what is trained on embeddings with `crnn`."""
    crnn = next((row for row in rows if row.name == "crnn"), None)
    if crnn is None:
        return []
    lines = []
    for row in (row for row in rows if row.pretrained):
        gains = [
            f"{SHOWN[metric]} {row.mean(metric) / crnn.mean(metric) - 1:+.0%}" for metric in ("micro_ap", "frame_ap")
        ]
        lines.append(f"- {row.name} against crnn: {', '.join(gains)}.")
    return [*lines, ""] if lines else []


def origins(rows: Mapping[str, Sequence[Trained]]) -> list[str]:
    """Say how much `crnn` gains where training and test may share origins; `rows` are by title of a data set."""
    lines = []
    for corpus in CORPORA.values():
        by_recipe = {
            recipe: next((row for row in rows.get(f"{recipe}, {corpus.title}", ()) if row.name == "crnn"), None)
            for recipe in (RECIPES[1], ORDINARY_RECIPE)
        }
        strict, ordinary = by_recipe.values()
        if strict is not None and ordinary is not None:
            gain = difference(ordinary, strict, "with shared origins")
            lines.append(f"- {corpus.title}: micro-AP of crnn {gain}, on other test clips made by the same rules.")
    return ["## What shared origins are worth", "", *lines, ""] if lines else []


def draw(data_sets: Mapping[str, list[Trained]], path: Path) -> None:
    """Draw micro-AP against operations per clip, SNR and training clips, for each data set."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    plt.rcParams["svg.hashsalt"] = "remixbench"  # the same bytes rows time
    figure, (cost, level, size) = plt.subplots(1, 3, figsize=(9.6, 4.0), sharey=True, layout="constrained")
    labels: dict[float, dict[str, float]] = {}
    drawn = {title: rows for title, rows in data_sets.items() if ORDINARY not in title}
    for number, (title, rows) in enumerate(drawn.items()):
        color = f"C{number}"
        systems = [row for row in rows if row.parts & {"systems", "published"} and "," not in row.name]
        if systems:
            _plot(cost, systems, [row.runs[0].info["macs"] / 1e9 for row in systems], fmt="o", color=color, label=title)
        for row in systems:
            here = labels.setdefault(row.runs[0].info["macs"] / 1e9, {})
            top = row.mean("micro_ap") + row.deviation("micro_ap")
            here[row.name] = max(top, here.get(row.name, 0.0))
        if len(snrs := by_snr(rows)) > 1:
            _plot(level, snrs, [row.runs[0].info["snr"] for row in snrs], fmt="o-", color=color)
        if len(sizes := by_size(rows)) > 1:
            _plot(size, sizes, [row.runs[0].info["clips"]["train"] for row in sizes], fmt="o-", color=color)
    for macs, tops in labels.items():  # systems of one cost share a label, above the highest of them
        place = (macs, max(tops.values()))
        cost.annotate(", ".join(sorted(tops)), place, (0, 4), textcoords="offset points", fontsize=6, ha="center")
    cost.set_xscale("log")
    cost.margins(x=0.3)
    cost.set_ylabel("micro-AP")
    cost.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    cost.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    cost.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(loc="outside lower center", ncols=2, fontsize=7, frameon=False)
    titles = {
        cost: "multiply-accumulates per clip (10⁹), 0 dB",
        level: "SNR (dB), crnn",
        size: "training clips, crnn, 0 dB",
    }
    for axes, title in titles.items():
        axes.set_xlabel(title, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        if not axes.containers:
            figure.delaxes(axes)  # nothing was trained for it
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _plot(axes: Any, chosen: Sequence[Trained], x: Sequence[float], **look: str) -> None:
    """Draw mean and deviation over the seeds of micro-AP."""
    y = [row.mean("micro_ap") for row in chosen]
    axes.errorbar(x, y, [row.deviation("micro_ap") for row in chosen], markersize=4, capsize=2, **look)


def chance_line(chance: Mapping[str, float]) -> str:
    """Return the last line of a table: what chance has of the metrics shown."""
    cells = [f"{chance[metric]:.3f}" if metric in chance else "-" for metric in SHOWN]
    cells.insert(1, "-")
    return f"| {' | '.join([f'*{CHANCE}*', *cells, *['-'] * 7])} |"


def mean_label_micro_ap(dataset: Dataset, fold: int) -> float:
    """Return the micro-AP of a system that has learned how frequent each class is in training, and nothing else."""
    rows = split(dataset, fold, seed=0, select="validation", fraction=1.0)
    test = dataset.weak[rows.test]
    scores = np.broadcast_to(dataset.weak[rows.train].mean(axis=0), test.shape)
    return float(average_precision(test, scores, average="micro"))


def not_above_chance(rows: Sequence[Trained], mean_label: float) -> list[str]:
    """Name the rows whose micro-AP is not above chance, so that nobody compares them.

    Parameters
    ----------
    mean_label : the micro-AP of the mean labels of the training clips.
    """
    low = [row.name for row in rows if row.micro_ap.at_chance]
    early = {row.name: row.runs[0].info for row in rows if row.micro_ap.at_chance and chosen_early(row)}
    begun = [name for name in low if BEGUN in name]
    constant = [name for name in low if UNCUT in name]
    reasons = {
        "A class has nearly the same score in every clip, with some seeds at least: from scores of 0.5 the first epochs"
        " only come down to the mean label, and where validation does not improve meanwhile, the released schedule"
        " lowers the learning rate until nothing changes any more (see the last column of the table of validation"
        " scores).": [name for name in low if name not in (*begun, *constant, *early)],
        "They begin at the mean label, and not every seed leaves it far behind before the learning rate falls.": begun,
        "In so few steps not every seed leaves the mean label far behind.": constant,
    }
    reasons |= {
        f"Its {info['clips']['validation']} validation clips chose epoch {info['epoch']} of {info['epochs_trained']},"
        " in which it had learned next to nothing: so few clips score by accident.": [name]
        for name, info in early.items()
    }
    lines = [f"**Not above chance at this size: {', '.join(names)}.** {why}" for why, names in reasons.items() if names]
    order = (
        "Their order means nothing. Micro-AP of the mean labels of the training clips, the same for all clips, is"
        f" {mean_label:.3f}: a class that is frequent in training need not be so in the test fold, so that even less"
        " than chance is possible."
    )
    return [*lines, order, ""] if lines else []


def chosen_early(row: Trained) -> bool:
    """Whether the epoch of a row of part of the clips lies in the first tenth of its training, in the mean."""
    infos = [run.info for run in row.runs]
    epochs = [info["epoch"] / info["epochs_trained"] for info in infos if info.get("fraction", 1) < 1]
    return bool(epochs) and statistics.fmean(epochs) < 0.1


def learning_curves(rows: Sequence[Trained], chance: float) -> list[str]:
    """Return a table of validation micro-AP against steps, of one seed per row, and when learning rates fell."""
    curves = [(row, _curve(row.runs[0])) for row in rows]
    if not curves:
        return []
    steps = curves[0][1][0]
    lines = [
        f"Micro-AP on the validation clips against steps, seed {rows[0].runs[0].seed} (chance {chance:.3f}), and the"
        " epoch of each seed from which on the learning rate was at most a hundredth of its first value, where it was:",
        "",
        f"| system | {' | '.join(f'{step:,}' for step in steps)} | a hundredth from epoch |",
        f"| --- |{' ---: |' * (len(steps) + 1)}",
    ]
    lines += [
        f"| {row.name} | {' | '.join(f'{value:.3f}' for value in values)} | {', '.join(map(_stalled, row.runs))} |"
        for row, (epochs, values) in curves
        if epochs == steps
    ]
    return [*lines, ""]


def _curve(run: Run) -> tuple[list[int], list[float]]:
    """Return steps and validation micro-AP after some epochs of a run."""
    history = read_history(run.folder / HISTORY, run.info.get("results", {}).get(HISTORY))
    values = [value for value in history["validation_micro_ap"] if value is not None]
    per_epoch = -(-run.info["clips"]["train"] // run.info["batch_size"])
    epochs = [round(share * len(values)) for share in CURVE]
    return [epoch * per_epoch for epoch in epochs], [values[epoch - 1] for epoch in epochs]


def _stalled(run: Run) -> str:
    """Return the first epoch whose learning rate is at most a hundredth of the first; - where there is none."""
    rates = pd.read_csv(run.folder / HISTORY)["learning_rate"]
    return next((str(epoch) for epoch, rate in enumerate(rates, 1) if rate < 0.011 * rates[0]), "-")


def table(rows: Sequence[Trained], names: Sequence[str | None] = ()) -> list[str]:
    """Return the table of some rows of a data set; it names the SNR of each where there are several.

    Parameters
    ----------
    names : of the rows in place of their own.
    """
    several = len({row.runs[0].info.get("snr") for row in rows}) > 1
    heads = [
        "system",
        "micro-AP",
        "95 % interval",
        *list(SHOWN.values())[1:],
        "drop when shifted",
        "parameters",
        "GMAC per clip",
    ]
    heads += ["epochs", "batch", "minutes", "seeds"]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    for row, name in zip(rows, names or [None] * len(rows), strict=True):
        info = row.runs[0].info
        cells = [
            (name or row.name)
            + (f" (width {info['width']:g})" if info["width"] != 1 else "")
            + (f" at {info['snr']:g} dB" if several else ""),
            *_with_interval(row),
            *(_spread([values[metric] for values in row.values]) for metric in list(SHOWN)[1:]),
            _spread(row.shift_loss, percent=True),
            f"{info['parameters']:,}",
            f"{info['macs'] / 1e9:.3g}",
            str(info.get("epochs_trained", info["epochs"])),
            str(info["batch_size"]),
            f"{row.minutes:.1f}",
            ", ".join(str(run.seed) for run in row.runs),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def claims(rows: Sequence[Trained]) -> list[str]:
    """Say what holds of the paper's claims, and of `crnn` against the best of the published systems."""
    published = [row for row in rows if row.published]
    crnn = next((row for row in rows if row.name == "crnn"), None)
    lines = paper_claims(rows, published)
    return lines + (comparison(crnn, published) if crnn is not None and published else [])


def paper_claims(rows: Sequence[Trained], published: Sequence[Trained]) -> list[str]:
    """Say what holds of the paper's order and of its auxiliary task.

    Systems whose micro-AP is not above chance have no order.
    """
    order = [row.name for row in published if row.name in PAPER]
    if len(order) < len(PAPER):
        left = [name for name in PAPER if name not in order]
        lines = [f"- Not trained as released, so that the paper's order is not tested: {', '.join(left)}."]
    elif any(row.micro_ap.at_chance for row in published):
        best = max(published, key=lambda row: row.mean("micro_ap")).name
        lines = [
            "- Some are not above chance, so that the paper's order is not tested. The best published system is"
            f" {best}{', as in the paper' if best == PAPER[-1] else f', in the paper {PAPER[-1]}'}."
        ]
    else:
        same = "as in the paper" if tuple(order) == PAPER else "not the paper's order"
        lines = [f"- By micro-AP: {' < '.join(order)}: {same}."]
    for kind, ending in {
        "As released": "",
        "With `bias=prior`": BEGUN,
        "With a constant learning rate (`--schedule constant`)": UNCUT,
    }.items():
        chosen = [row for row in rows if row.name.endswith(ending)] if ending else published
        above = [row.name.removesuffix(ending) for row in chosen if not row.micro_ap.at_chance]
        if chosen:
            lines.append(f"- {kind}, {len(above)} of {len(chosen)} are above chance: {', '.join(above) or 'none'}.")
    named = {row.name: row for row in rows}
    if "2ap" in named and "2ap-aux" in named:
        lines.append(f"- The paper's auxiliary task: micro-AP {difference(named['2ap-aux'], named['2ap'])}.")
    for row in published:
        for what, ending in {"Beginning at the mean label": BEGUN, "A constant learning rate": UNCUT}.items():
            if (changed := named.get(f"{row.name}{ending}")) is not None:
                lines.append(f"- {what}, {row.name}: micro-AP {difference(changed, row)}.")
    return lines


def difference(changed: Trained, base: Trained, what: str = "with") -> str:
    """Say by how much the micro-AP of two rows differs, and whether that is more than the spread over seeds."""
    values = [row.micro_aps for row in (changed, base)]
    if changed.values == base.values:
        return f"{_spread(values[0])} {what} and without: it changed nothing in these trainings"
    text = f"{_spread(values[0])} {what}, {_spread(values[1])} without"
    if min(map(len, values)) < 2:
        return f"{text}, of one seed"
    apart = abs(changed.mean("micro_ap") - base.mean("micro_ap"))
    spread = math.hypot(changed.deviation("micro_ap"), base.deviation("micro_ap"))
    return f"{text}, {'more than' if apart > 2 * spread else 'within'} twice the spread over seeds"


def comparison(crnn: Trained, published: Sequence[Trained]) -> list[str]:
    """Compare `crnn` with the best of the published systems by each metric."""
    sizes = ", ".join(sorted({size(row) for row in published}))
    lines = [
        f"- These are not matched trainings: {size(crnn)}, settings chosen on fold 3 of this corpus; the published"
        f" systems have {sizes}, and their own settings but for these."
    ]
    for metric in ("micro_ap", "frame_ap", "psds1"):
        best = max(published, key=lambda row: row.mean(metric))
        if best.mean(metric) > 0:
            gain = crnn.mean(metric) / best.mean(metric) - 1
            lines.append(
                f"- {SHOWN[metric]} of crnn: {gain:+.0%} against the best published system at the size above,"
                f" {best.name}."
            )
    best = max(published, key=lambda row: row.mean("micro_ap"))
    hours = sum(run.info["seconds"] for row in published for run in row.runs) / 3600
    return [
        *lines,
        f"- crnn trained in {crnn.minutes / best.minutes:.0%} of the time of {best.name} at that size.",
        f"- The published systems took {hours:.1f} hours of one core together.",
    ]


def size(row: Trained) -> str:
    """Say how large a network is and how long it was trained."""
    info = row.runs[0].info
    name, epochs = row.name if row.name == "crnn" else "", info.get("epochs_trained", info["epochs"])
    return f"{name} width {info['width']:g}, {epochs} epochs".strip()


def page(parts: Iterable[str], corpora: Sequence[Corpus]) -> str:
    """Return the whole page."""
    from remixbench.training.device import processor_name

    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=PAGE.parent, capture_output=True, text=True, check=True
    )
    return "\n".join([
        "# Results on real recordings, at a small size",
        "",
        "**Not the paper's data, size or training length: scores compare systems with one another and nothing else.**"
        " The real sources were not available. These results use recordings in the layout of the two data sets, with"
        f" manifests of their own: {'; '.join(f'**{corpus.title}**: {corpus.text}' for corpus in corpora)}.",
        "",
        f"Version {remixbench.__version__}, scored and written at commit {head.stdout.strip()}, on {processor_name()},"
        f" {os.cpu_count()} cores that other work shared, so minutes (on one core per run) are an upper bound. Fold 4"
        " is tested, in the epoch that is best on the validation clips; ± is the standard deviation over seeds. Drop"
        " when shifted: the greatest relative drop in micro-AP when the test clips are shifted in time, circularly, by"
        " shifts that keep every event whole (- where there is no such shift). Intervals are over recordings and, where"
        " there are several, seeds; ≈: not above chance. PSDS is 0 where classes differ more than their mean"
        " (α_ST = 1); α_ST = 0 leaves that penalty out.",
        "",
        "Results of version 0.1, those of the published systems among them, are in"
        " [what was tried](research.md#results-of-version-01-on-the-plateau).",
        "",
        f"```text\n{shlex.join(['python', 'benchmarks/results.py', *_given()])}\n```",
        "",
        f"![micro-AP against operations per clip, SNR and training clips]({FIGURE})",
        "",
        *parts,
    ])  # fmt: skip


def _given() -> list[str]:
    """Return the arguments as the page shows them: workspaces without their paths."""
    given = [argument for argument in sys.argv[1:] if argument != "--page-only"]
    for option in (f"--{option.replace('_', '-')}" for option in CORPORA):
        if option in given:
            given[given.index(option) + 1] = "WORKSPACE"
    if "--out" in given:
        del given[given.index("--out") : given.index("--out") + 2]
    return given


def _with_interval(row: Trained) -> tuple[str, str]:
    """Return the cells of micro-AP and of its 95 % interval."""
    estimate = row.micro_ap
    interval = "-" if estimate.low is None else f"{estimate.low:.3f} to {estimate.high:.3f}"
    return _spread(row.micro_aps), interval + " ≈" * estimate.at_chance


def _spread(values: Sequence[float], *, percent: bool = False) -> str:
    if not values:
        return "-"
    mean = statistics.fmean(values)
    text = f"{mean:z.1%}" if percent else f"{mean:.3f}"
    if len(values) < 2:
        return text
    std = statistics.stdev(values)
    return f"{text} ± {std:.1%}" if percent else f"{text} ± {std:.3f}"
