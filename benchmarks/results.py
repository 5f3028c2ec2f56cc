"""Write docs/results.md: systems trained and tested on real recordings, at a size that is stated.

    python benchmarks/results.py [--stand-in WORKSPACE] [--fsd10 WORKSPACE] [--part NAME...] [--recipe NAME...]
                                 [--encoder ENCODER...] [--page-only] [--out FILE]

A workspace has the sources of its corpus. Makes what is missing (data sets with a manifest of their own, runs, the
shift probe), as `remixbench make --replan` and `remixbench train` do, and writes the page and its figure from the
files. What is trained for each part of the page stands in `PARTS` below, and in `ON_ENCODERS` what is trained on each
ENCODER. `--page-only` makes and trains nothing. A recipe that was not made, or has no runs, is left out.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import remixbench
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.probes import FOLDER, probe_folder
from remixbench.dataset.splits import split
from remixbench.leaderboard.evaluate import read_fold_reference
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.report.runs import Run, read_history, runs_of
from remixbench.leaderboard.rows import Estimate
from remixbench.parallel import prepare_for_torch
from remixbench.recipe import Recipe, load_recipe
from remixbench.scoring import average_precision
from remixbench.scoring.io import read_predictions
from remixbench.systems.registry import resolve_options, spec
from remixbench.training.config import RELEASED
from remixbench.training.run_files import HISTORY

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results.md"
FIGURE = "figures/results.svg"
"""Of the page, beside it."""
PAPER = ("gap", "gmp", "gwrp", "atrous-ap", "2ap-aux")
"""By micro-AP, the order of the paper's Table 1 at every SNR."""
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
RECIPES = ("remix2019", "remix2019-strict")
COARSE = "-coarse"
"""Ends the name of a recipe whose log-mel is coarse, for systems that cost too much otherwise."""
COARSE_LOGMEL = {"n_fft": 4096, "hop_length": 4096, "n_mels": 32}
"""A frame every 0.128 s and 32 bands, an eighth of the 0.032 s and 64 bands of `RECIPES`."""
COARSE_RECIPES = tuple(recipe + COARSE for recipe in RECIPES)
ORDINARY = "-ordinary"
"""Ends the name of a recipe whose folds share origins, as folds that are drawn at random do."""
ORDINARY_RECIPE = RECIPES[1] + ORDINARY
MADE = (*RECIPES, ORDINARY_RECIPE, *COARSE_RECIPES)
COSTLY = "- The published systems cost too much at this size, and are trained on a coarse log-mel."
"""Said where only `crnn` is trained."""
CURVE = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)
"""Parts of a training after which its validation score is shown."""
SEEDS = (0, 1, 2)
SMALL = {"width": 0.125, "epochs": 24, "batch_size": 4}
"""The size of the published systems, on coarse log-mel, that two cores can train."""
PRIOR = {"options": {"bias": "prior"}}


@dataclass(frozen=True)
class Corpus:
    """Recordings in the layout of the two data sets."""

    title: str
    text: str
    clips_per_fold: int


CORPORA = {
    "stand_in": Corpus(
        "stand-in",
        "280 event recordings in 19 classes, most of them single notes and strokes of instruments from sample"
        " libraries, and 120 scenes of 10 s cut from 32 recordings. It cannot be passed on, because some of its"
        " recordings may not",
        500,
    ),
    "fsd10": Corpus(
        "FSDKaggle2018, 10 classes",
        "real FSDKaggle2018 events (248 recordings of 10 classes), other scenes (115 clips of rain, sea waves,"
        " helicopter and fire from ESC-10)",
        250,
    ),
}
"""By option that names their workspace."""


@dataclass(frozen=True)
class Training:
    """Runs that one call of `remixbench.train` makes, for each recipe."""

    system: Sequence[str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    snr: Sequence[float] = (0.0,)
    seed: Sequence[int] = (0,)
    recipes: Sequence[str] = RECIPES
    corpora: Sequence[str] = tuple(CORPORA)

    def includes(self, info: Mapping[str, Any]) -> bool:
        """Whether the run with this run.json is one of them, whatever its seed and recipe."""
        system = info["system"]
        if system not in self.system:
            return False
        least = {"min_steps": 0} if "epochs" in self.settings else {}
        wanted = PLAIN | spec(system).training_defaults | least | self.settings
        options = [resolve_options(system, each.get("options", {})) for each in (info, self.settings)]
        return (
            info["snr"] in self.snr
            and info["fraction"] in self.settings.get("fraction", [1.0])
            and options[0] == options[1]
            and set(info["augment"]) == set(wanted["augment"])
            and all(info.get(name, 0) == wanted[name] for name in (*PLAIN, "epochs") if name != "augment")
        )


PLAIN = RELEASED | {"batch_size": 24, "min_steps": 0}
"""What is used where neither the system nor a call says otherwise."""
HALF = {"fraction": [0.5]}
"""The size of the ablation."""
ABLATION: dict[str, dict[str, Any]] = {
    "all defaults": {},
    "bias random": {"options": {"bias": "random"}},
    "linear softmax": {"options": {"pooling": "linear"}},
    "no frequency shift": {"augment": ["time-shift"]},
    "no time shift": {"augment": ["frequency-shift"]},
    "with mixup": {"augment": ["frequency-shift", "mixup", "time-shift"]},
    "with SpecAugment": {"augment": ["frequency-shift", "specaugment", "time-shift"]},
    "no moving average of the weights": {"ema": 0.0},
    "constant learning rate": {"schedule": "constant"},
    "Adam, no weight decay": {"optimizer": "adam", "weight_decay": 0.0},
    "batches of 16": {"batch_size": 16},
}
"""By name of the row, what is given instead of a training default of `crnn`."""
PARTS: dict[str, tuple[Training, ...]] = {
    "systems": (
        Training(("crnn",), seed=SEEDS),
        Training(("crnn",), seed=SEEDS, recipes=(ORDINARY_RECIPE,), corpora=("fsd10",)),
        Training(("crnn",), recipes=COARSE_RECIPES),
    ),
    "published": (
        Training((*PAPER[:-1], "2ap", "2ap-aux"), SMALL | PRIOR, seed=SEEDS, recipes=COARSE_RECIPES),
        Training((*PAPER[:-1], "2ap", "2ap-aux"), SMALL, seed=SEEDS, recipes=COARSE_RECIPES),
    ),
    "snr": (Training(("crnn",), snr=(-5.0, 5.0, 10.0, 20.0), recipes=RECIPES[1:]),),
    "size": (Training(("crnn",), {"fraction": [0.125, 0.25, 0.5]}, recipes=RECIPES[1:]),),
    "ablation": tuple(Training(("crnn",), HALF | off, seed=SEEDS, recipes=RECIPES[1:]) for off in ABLATION.values()),
}
"""By part of the page, what is trained."""
ON_ENCODERS = ("emb-mlp", "crnn-emb")
"""What is trained on the embeddings of each encoder, for `RECIPES`, with `SEEDS`."""


@dataclass(frozen=True)
class Trained:
    """The runs of a row at one SNR.

    Attributes
    ----------
    micro_ap : mean with its 95 % interval
    values : metrics of every run
    shift_loss : per run, the greatest relative loss of micro-AP when the test clips are rolled; empty where no roll
        keeps every event whole
    """

    name: str
    runs: tuple[Run, ...]
    micro_ap: Estimate
    values: tuple[dict[str, float], ...]
    shift_loss: tuple[float, ...]

    def mean(self, metric: str) -> float:
        """Over the runs."""
        return statistics.fmean(each[metric] for each in self.values)

    def deviation(self, metric: str) -> float:
        """Over the runs; 0 of one run."""
        return statistics.stdev(each[metric] for each in self.values) if len(self.values) > 1 else 0.0

    @property
    def minutes(self) -> float:
        """Of training, per run."""
        return statistics.fmean(run.info["seconds"] for run in self.runs) / 60

    @property
    def parts(self) -> set[str]:
        """The parts of the page that it belongs to."""
        info = self.runs[0].info
        return {part for part, each in PARTS.items() if any(training.includes(info) for training in each)}

    @property
    def ablation(self) -> str | None:
        """What the row is called in the ablation; None where it is no part of it."""
        info = self.runs[0].info
        return next((name for name, off in ABLATION.items() if Training(("crnn",), HALF | off).includes(info)), None)

    @property
    def pretrained(self) -> bool:
        """Whether it is one of `ON_ENCODERS`, as it comes."""
        info = self.runs[0].info
        return self.name in {f"{system},encoder={info['options'].get('encoder')}" for system in ON_ENCODERS}

    @property
    def published(self) -> bool:
        """Whether it is one of the paper's systems, as it comes."""
        return "," not in self.name and spec(self.name).published is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for option, corpus in CORPORA.items():
        parser.add_argument(f"--{option.replace('_', '-')}", type=Path, metavar="WORKSPACE", help=corpus.title)
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--recipe", nargs="+", choices=MADE, default=list(MADE))
    parser.add_argument("--encoder", nargs="+", default=[], metavar="ENCODER", help="as in remixbench embed")
    parser.add_argument("--page-only", action="store_true")
    parser.add_argument("--out", type=Path, default=PAGE)
    arguments = parser.parse_args()
    workspaces = {option: place for option in CORPORA if (place := getattr(arguments, option)) is not None}
    if not workspaces:
        parser.error("give a workspace, by --stand-in or --fsd10")
    prepare_for_torch()
    parts, rows, counts = [], {}, []
    for option, workspace in workspaces.items():
        corpus = CORPORA[option]
        for part in () if arguments.page_only else arguments.part:
            for training in (each for each in PARTS[part] if option in each.corpora):
                for recipe in (each for each in training.recipes if each in arguments.recipe):
                    make_and_train(workspace, recipe, training, corpus.clips_per_fold)
        for encoder in () if arguments.page_only else arguments.encoder:
            training = Training(ON_ENCODERS, {"options": {"encoder": encoder}}, seed=SEEDS)
            for recipe in (each for each in RECIPES if each in arguments.recipe):
                make_and_train(workspace, recipe, training, corpus.clips_per_fold)
        for recipe in arguments.recipe:
            if not all((workspace / folder / recipe).is_dir() for folder in ("datasets", "runs")):
                continue
            dataset = remixbench.load_dataset(recipe, workspace=workspace)
            board = remixbench.score(workspace=workspace, dataset=dataset, jobs=1)
            title = f"{dataset.name}, {corpus.title}"
            if own := trained(board, dataset, workspace):
                rows[title] = own
                parts.append(section(title, dataset, own, board.chance.metrics([own[0].runs[0].fold])))
                counts += [
                    (corpus.title, part, recipe, *count) for part in PARTS if (count := runs_of_part(part, recipe, own))
                ]
    parts += [*origins(rows), *not_trained(counts)]
    draw(rows, arguments.out.parent / FIGURE)
    arguments.out.write_text(page(parts, [CORPORA[option] for option in workspaces]), encoding="utf-8")


def make_and_train(workspace: Path, recipe: str, training: Training, clips_per_fold: int) -> None:
    """Make the data set and train what is not there yet."""
    from remixbench.training.train import train

    dataset = remixbench.make(
        workspace=workspace,
        recipe=recipe_of(recipe),
        replan=True,
        clips_per_fold=clips_per_fold,
        snr=training.snr,
        jobs=1,
    )
    train(
        workspace=workspace, dataset=dataset, system=training.system, snr=training.snr, fold=4, seed=training.seed,
        progress=True, **training.settings,
    )  # fmt: skip


def recipe_of(name: str) -> Recipe:
    """Return a built-in recipe, or one with a coarse log-mel or ordinary folds, by the ending of its name."""
    recipe = load_recipe(name.removesuffix(COARSE).removesuffix(ORDINARY))
    if name.endswith(COARSE):
        return recipe.model_copy(update={"name": name, "features": recipe.features.model_copy(update=COARSE_LOGMEL)})
    if name.endswith(ORDINARY):
        return recipe.model_copy(update={"name": name, "plan": recipe.plan.model_copy(update={"origin_gap": 0})})
    return recipe


def trained(board: Leaderboard, dataset: Dataset, workspace: Path) -> list[Trained]:
    """Return what was trained, by SNR and then micro-AP."""
    by_level: dict[float, list[Trained]] = {}
    runs = [replace(run, info=run.info.model_dump(exclude_none=True)) for run in runs_of(board, workspace)]
    for index, row in enumerate(board.rows):
        for snr, condition in row.conditions.items() if row.kind == "run" else ():
            own = tuple(run for run in runs if (run.row, run.snr) == (index, snr))
            values = tuple({k: v for k, v in r.metrics.items() if v is not None} for r in condition.records)
            probed = [run for run in own if not run.info.get("encoder")]  # its weights are not the run's
            losses = tuple(loss for run in probed for loss in shift_loss(run, dataset, workspace))
            estimate = condition.metrics["micro_ap"]
            by_level.setdefault(snr, []).append(Trained(row.name, own, estimate, values, losses))
    return [one for _, rows in sorted(by_level.items()) for one in sorted(rows, key=lambda one: one.mean("micro_ap"))]


def shift_loss(run: Run, dataset: Dataset, workspace: Path) -> list[float]:
    """Return the greatest relative loss of micro-AP over the shifts of the probe; nothing where there is no shift."""
    from remixbench.inference.probes import predict_probes

    reference = read_fold_reference(dataset, run.fold).reference
    shifts = predict_probes(run.folder, workspace=workspace, dataset=dataset, probe="shift").shifts or []
    places = [run.folder / "predictions", *(run.folder / FOLDER / probe_folder("shift", s) for s in shifts)]
    still, *rolled = (_micro_ap(reference.weak, read_predictions(place, reference).clip_scores) for place in places)
    return [max(1 - value / still for value in rolled)] if rolled else []


def section(title: str, dataset: Dataset, rows: Sequence[Trained], chance: Mapping[str, float]) -> str:
    """Return the part of the page for one data set; `chance` has the metrics of a system that knows nothing."""
    clips = next(one.runs[0].info["clips"] for one in rows if one.runs[0].info["fraction"] == 1)
    precisions = sorted({run.info["precision"] for one in rows for run in one.runs})
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
    parts = {
        "Systems at 0 dB": [one for one in rows if one.parts & {"systems", "published"}],
        ENCODER_TITLE: [one for one in rows if one.pretrained or (one.name == "crnn" and "systems" in one.parts)],
        "crnn at each SNR": by_snr(rows),
        SIZE_TITLE: by_size(rows),
        ABLATION_TITLE: sorted(
            (one for one in rows if one.ablation), key=lambda one: list(ABLATION).index(one.ablation)
        ),
    }
    for heading, each in parts.items():
        if heading.startswith("Systems") or len(each) > 1:
            names = [one.ablation if heading == ABLATION_TITLE else None for one in each]
            lines += [f"### {heading}, {title}", "", *table(each, names), chance_line(chance), ""]
            lines += not_above_chance(each, mean_label_micro_ap(dataset, rows[0].runs[0].fold))
        if heading.startswith("Systems"):
            lines += [*claims(each), "", *learning_curves(each, chance["micro_ap"])] if coarse else [COSTLY, ""]
        if heading == ENCODER_TITLE and len(each) > 1:
            lines += encoder_claims(each)
        if heading == SIZE_TITLE and len(each) > 1:
            defaults = spec("crnn").training_defaults
            lines += [f"{defaults['epochs']} epochs each, or as many more as {defaults['min_steps']} steps take.", ""]
    return "\n".join(lines)


def by_snr(rows: Iterable[Trained]) -> list[Trained]:
    """Return `crnn` at every SNR."""
    return [one for one in rows if one.name == "crnn" and one.parts & {"systems", "snr"}]


def by_size(rows: Iterable[Trained]) -> list[Trained]:
    """Return `crnn` at 0 dB with a part of the training clips, and with all of them."""
    chosen = [one for one in rows if "size" in one.parts or (one.name == "crnn" and "systems" in one.parts)]
    return sorted(chosen, key=lambda one: float(one.runs[0].info["fraction"]))


def runs_of_part(part: str, recipe: str, rows: Iterable[Trained]) -> tuple[int, int] | None:
    """Return how many runs of a part a recipe has, and how many it should have; None where the part leaves it out."""
    trainings = [training for training in PARTS[part] if recipe in training.recipes]
    infos = [(run.seed, run.info) for one in rows for run in one.runs]
    present = {
        (info["system"], info["snr"], info["fraction"], seed, number)
        for number, training in enumerate(trainings)
        for seed, info in infos
        if seed in training.seed and training.includes(info)
    }
    wanted = sum(len(t.system) * len(t.snr) * len(t.seed) * len(t.settings.get("fraction", [1.0])) for t in trainings)
    return (len(present), wanted) if trainings else None


def not_trained(counts: Sequence[tuple[str, str, str, int, int]]) -> list[str]:
    """Say which parts of the page lack runs: (corpus, part, recipe, runs, wanted) each."""
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
    crnn = next((one for one in rows if one.name == "crnn"), None)
    lines = []
    for one in () if crnn is None else (one for one in rows if one.pretrained):
        gains = [
            f"{SHOWN[metric]} {one.mean(metric) / crnn.mean(metric) - 1:+.0%}" for metric in ("micro_ap", "frame_ap")
        ]
        lines.append(f"- {one.name} against crnn: {', '.join(gains)}.")
    return [*lines, ""] if lines else []


def origins(rows: Mapping[str, Sequence[Trained]]) -> list[str]:
    """Say how much `crnn` gains where training and test may share origins; `rows` are by title of a data set."""
    lines = []
    for corpus in CORPORA.values():
        by_recipe = {
            recipe: next((one for one in rows.get(f"{recipe}, {corpus.title}", ()) if one.name == "crnn"), None)
            for recipe in (RECIPES[1], ORDINARY_RECIPE)
        }
        strict, ordinary = by_recipe.values()
        if strict is not None and ordinary is not None:
            gain = difference(ordinary, strict, "with shared origins")
            lines.append(f"- {corpus.title}: micro-AP of crnn {gain}, on other test clips made by the same rules.")
    return ["## What shared origins are worth", "", *lines, ""] if lines else []


def draw(rows: Mapping[str, list[Trained]], path: Path) -> None:
    """Draw micro-AP against operations per clip, SNR and training clips, for each data set."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    plt.rcParams["svg.hashsalt"] = "remixbench"  # the same bytes each time
    figure, (cost, level, size) = plt.subplots(1, 3, figsize=(9.6, 4.0), sharey=True, layout="constrained")
    labels: dict[float, dict[str, float]] = {}
    drawn = {name: each for name, each in rows.items() if ORDINARY not in name}
    for number, (name, each) in enumerate(drawn.items()):
        color = f"C{number}"
        systems = [one for one in each if one.parts & {"systems", "published"} and "," not in one.name]
        if systems:
            _plot(cost, systems, [one.runs[0].info["macs"] / 1e9 for one in systems], fmt="o", color=color, label=name)
        for one in systems:
            here = labels.setdefault(one.runs[0].info["macs"] / 1e9, {})
            top = one.mean("micro_ap") + one.deviation("micro_ap")
            here[one.name] = max(top, here.get(one.name, 0.0))
        if len(snrs := by_snr(each)) > 1:
            _plot(level, snrs, [one.runs[0].info["snr"] for one in snrs], fmt="o-", color=color)
        if len(sizes := by_size(each)) > 1:
            _plot(size, sizes, [one.runs[0].info["clips"]["train"] for one in sizes], fmt="o-", color=color)
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
    y = [one.mean("micro_ap") for one in chosen]
    axes.errorbar(x, y, [one.deviation("micro_ap") for one in chosen], markersize=4, capsize=2, **look)


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
    low = [one.name for one in rows if one.micro_ap.at_chance]
    begun = [name for name in low if "bias=prior" in name]
    reasons = {
        "After so few steps a class has nearly the same score in every clip: from scores of 0.5 the first epochs only"
        " come down to the mean label.": [name for name in low if name not in begun],
        "They begin at the mean label and hardly leave it: the loss falls too little in so few steps for a network of"
        " this size.": begun,
    }
    lines = [f"**Not above chance at this size: {', '.join(names)}.** {why}" for why, names in reasons.items() if names]
    order = (
        "Their order means nothing. Micro-AP of the mean labels of the training clips, the same for all clips, is"
        f" {mean_label:.3f}: a class that is frequent in training need not be so in the test fold, so that even less"
        " than chance is possible."
    )
    return [*lines, order, ""] if lines else []


def learning_curves(rows: Sequence[Trained], chance: float) -> list[str]:
    """Return a table of validation micro-AP against steps, of one seed per row."""
    curves = [(one.name, *_curve(one.runs[0])) for one in rows]
    if not curves:
        return []
    steps = curves[0][1]
    lines = [
        f"Micro-AP on the validation clips against steps, seed {rows[0].runs[0].seed} (chance {chance:.3f}):",
        "",
        f"| system | {' | '.join(f'{step:,}' for step in steps)} |",
        f"| --- |{' ---: |' * len(steps)}",
    ]
    lines += [
        f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |" for name, own, values in curves if own == steps
    ]
    return [*lines, ""]


def _curve(run: Run) -> tuple[list[int], list[float]]:
    """Return steps and validation micro-AP after some epochs of a run."""
    values = read_history(run.folder / HISTORY, run.info.get("results", {}).get(HISTORY))["validation_micro_ap"]
    per_epoch = -(-run.info["clips"]["train"] // run.info["batch_size"])
    epochs = [round(share * len(values)) for share in CURVE]
    return [epoch * per_epoch for epoch in epochs], [values[epoch - 1] for epoch in epochs]


def table(each: Sequence[Trained], names: Sequence[str | None] = ()) -> list[str]:
    """Return the table of some rows of a data set; it names the SNR of each where there are several.

    Parameters
    ----------
    names : of the rows in place of their own.
    """
    several = len({one.runs[0].info.get("snr") for one in each}) > 1
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
    for one, name in zip(each, names or [None] * len(each), strict=True):
        info = one.runs[0].info
        cells = [
            (name or one.name)
            + (f" (width {info['width']:g})" if info["width"] != 1 else "")
            + (f" at {info['snr']:g} dB" if several else ""),
            *_with_interval(one),
            *(_spread([values[metric] for values in one.values]) for metric in list(SHOWN)[1:]),
            _spread(one.shift_loss, percent=True),
            f"{info['parameters']:,}",
            f"{info['macs'] / 1e9:.3g}",
            str(info.get("epochs_trained", info["epochs"])),
            str(info["batch_size"]),
            f"{one.minutes:.1f}",
            ", ".join(str(run.seed) for run in one.runs),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def claims(each: Sequence[Trained]) -> list[str]:
    """Say what holds of the paper's claims, and of `crnn` against the best of the published systems."""
    published = [one for one in each if one.published]
    crnn = next((one for one in each if one.name == "crnn"), None)
    lines = paper_claims(each, published)
    return lines + (comparison(crnn, published) if crnn is not None and published else [])


def paper_claims(each: Sequence[Trained], published: Sequence[Trained]) -> list[str]:
    """Say what holds of the paper's order and of its auxiliary task.

    Systems whose micro-AP is not above chance have no order.
    """
    order = [one.name for one in published if one.name in PAPER]
    if len(order) < len(PAPER):
        left = [name for name in PAPER if name not in order]
        lines = [f"- Not trained as released, so that the paper's order is not tested: {', '.join(left)}."]
    elif any(one.micro_ap.at_chance for one in published):
        best = max(published, key=lambda one: one.mean("micro_ap")).name
        lines = [
            "- Some are not above chance, so that the paper's order is not tested. The best published system is"
            f" {best}{', as in the paper' if best == PAPER[-1] else f', in the paper {PAPER[-1]}'}."
        ]
    else:
        same = "as in the paper" if tuple(order) == PAPER else "not the paper's order"
        lines = [f"- By micro-AP: {' < '.join(order)}: {same}."]
    for kind, rows in {
        "As released": published,
        "With `bias=prior`": [one for one in each if one.name.endswith(",bias=prior")],
    }.items():
        above = [one.name.removesuffix(",bias=prior") for one in rows if not one.micro_ap.at_chance]
        if rows:
            lines.append(f"- {kind}, {len(above)} of {len(rows)} are above chance: {', '.join(above) or 'none'}.")
    named = {one.name: one for one in each}
    if "2ap" in named and "2ap-aux" in named:
        lines.append(f"- The paper's auxiliary task: micro-AP {difference(named['2ap-aux'], named['2ap'])}.")
    for one in published:
        if (begun := named.get(f"{one.name},bias=prior")) is not None:
            lines.append(f"- Beginning at the mean label, {one.name}: micro-AP {difference(begun, one)}.")
    return lines


def difference(one: Trained, other: Trained, what: str = "with") -> str:
    """Say by how much the micro-AP of two rows differs, and whether that is more than the spread over seeds."""
    values = [[each["micro_ap"] for each in row.values] for row in (one, other)]
    text = f"{_spread(values[0])} {what}, {_spread(values[1])} without"
    if min(map(len, values)) < 2:
        return f"{text}, of one seed"
    apart = abs(one.mean("micro_ap") - other.mean("micro_ap"))
    spread = math.hypot(one.deviation("micro_ap"), other.deviation("micro_ap"))
    return f"{text}, {'more than' if apart > 2 * spread else 'within'} twice the spread over seeds"


def comparison(crnn: Trained, published: Sequence[Trained]) -> list[str]:
    """Compare `crnn` with the best of the published systems by each metric."""
    sizes = ", ".join(sorted({size(one) for one in published}))
    lines = [
        f"- These are not matched trainings: {size(crnn)}, settings chosen on fold 3 of this corpus; the published"
        f" systems have {sizes}, and their own settings but for these."
    ]
    for metric in ("micro_ap", "frame_ap", "psds1"):
        best = max(published, key=lambda one: one.mean(metric))
        if best.mean(metric) > 0:
            gain = crnn.mean(metric) / best.mean(metric) - 1
            lines.append(
                f"- {SHOWN[metric]} of crnn: {gain:+.0%} against the best published system at the size above,"
                f" {best.name}."
            )
    best = max(published, key=lambda one: one.mean("micro_ap"))
    hours = sum(run.info["seconds"] for one in published for run in one.runs) / 3600
    return [
        *lines,
        f"- crnn trained in {crnn.minutes / best.minutes:.0%} of the time of {best.name} at that size.",
        f"- The published systems took {hours:.1f} hours of one core together.",
    ]


def size(one: Trained) -> str:
    """Say how large a network is and how long it was trained."""
    info = one.runs[0].info
    name, epochs = one.name if one.name == "crnn" else "", info.get("epochs_trained", info["epochs"])
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


def _with_interval(one: Trained) -> tuple[str, str]:
    """Return the cells of micro-AP and of its 95 % interval."""
    estimate = one.micro_ap
    interval = "-" if estimate.low is None else f"{estimate.low:.3f} to {estimate.high:.3f}"
    return _spread([values["micro_ap"] for values in one.values]), interval + " ≈" * estimate.at_chance


def _micro_ap(weak: np.ndarray, scores: np.ndarray | None) -> float:
    assert scores is not None
    return float(average_precision(weak, scores, average="micro"))


def _spread(values: Sequence[float], *, percent: bool = False) -> str:
    if not values:
        return "-"
    mean = statistics.fmean(values)
    text = f"{mean:z.1%}" if percent else f"{mean:.3f}"
    if len(values) < 2:
        return text
    std = statistics.stdev(values)
    return f"{text} ± {std:.1%}" if percent else f"{text} ± {std:.3f}"


if __name__ == "__main__":
    main()
