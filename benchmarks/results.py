"""Write docs/results.md: systems trained and tested on real recordings, at a size that is stated.

    python benchmarks/results.py [--stand-in WORKSPACE] [--fsd10 WORKSPACE] [--part NAME...] [--recipe NAME...]
                                 [--encoder ENCODER...] [--page-only] [--out FILE]

A workspace has the sources of its corpus. Makes what is missing (data sets with a manifest of their own, runs, the
shift probe), as `remixbench make --replan` and `remixbench train` do, and writes the page and its figure from the
files. What is trained for each part of the page stands in `PARTS` of results_runs.py, and in `on_encoder` what is
trained on each ENCODER. `--page-only` makes and trains nothing. A recipe that was not made, or has no runs, is left
out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from results_page import FIGURE, PAGE, draw, not_trained, origins, page, runs_of_part, section
from results_runs import CORPORA, MADE, PARTS, Run, Trained, Training, on_encoder, recipe_of

import remixbench
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.probes import FOLDER, probe_folder
from remixbench.leaderboard.evaluate import read_fold_reference
from remixbench.leaderboard.leaderboard import Leaderboard, runs_of
from remixbench.parallel import prepare_for_torch
from remixbench.scoring import average_precision
from remixbench.scoring.io import read_predictions


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
    parts, by_title, counts = [], {}, []
    for option, workspace in workspaces.items():
        corpus = CORPORA[option]
        for part in () if arguments.page_only else arguments.part:
            for training in (training for training in PARTS[part] if option in training.corpora):
                for recipe in (name for name in training.recipes if name in arguments.recipe):
                    make_and_train(workspace, recipe, training, corpus.clips_per_fold)
        for encoder in () if arguments.page_only else arguments.encoder:
            for training in on_encoder(encoder):
                for recipe in (name for name in training.recipes if name in arguments.recipe):
                    make_and_train(workspace, recipe, training, corpus.clips_per_fold)
        for recipe in arguments.recipe:
            if not all((workspace / folder / recipe).is_dir() for folder in ("datasets", "runs")):
                continue
            dataset = remixbench.load_dataset(recipe, workspace=workspace)
            board = remixbench.score(workspace=workspace, dataset=dataset, jobs=1)
            title = f"{dataset.name}, {corpus.title}"
            if rows := trained(board, dataset, workspace):
                by_title[title] = rows
                parts.append(section(title, dataset, rows, board.chance.metrics([rows[0].runs[0].fold])))
                counts += [
                    (corpus.title, part, recipe, *count)
                    for part in PARTS
                    if (count := runs_of_part(part, recipe, rows))
                ]
    parts += [*origins(by_title), *not_trained(counts)]
    draw(by_title, arguments.out.parent / FIGURE)
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


def trained(board: Leaderboard, dataset: Dataset, workspace: Path) -> list[Trained]:
    """Return what was trained, by SNR and then micro-AP."""
    by_level: dict[float, list[Trained]] = {}
    runs = [
        Run(row, info.snr, info.fold, info.seed, folder, info.model_dump(exclude_none=True))
        for row, _, folder, info in runs_of(board, workspace)
    ]
    for index, row in enumerate(board.rows):
        for snr, condition in row.conditions.items() if row.kind == "run" else ():
            row_runs = tuple(run for run in runs if (run.row, run.snr) == (index, snr))
            values = tuple({k: v for k, v in r.metrics.items() if v is not None} for r in condition.records)
            probed = [run for run in row_runs if not run.info.get("encoder")]  # its weights are not the run's
            losses = tuple(loss for run in probed for loss in shift_loss(run, dataset, workspace))
            estimate = condition.metrics["micro_ap"]
            by_level.setdefault(snr, []).append(Trained(row.name, row_runs, estimate, values, losses))
    return [row for _, rows in sorted(by_level.items()) for row in sorted(rows, key=lambda row: row.mean("micro_ap"))]


def shift_loss(run: Run, dataset: Dataset, workspace: Path) -> list[float]:
    """Return the greatest relative loss of micro-AP over the shifts of the probe; nothing where there is no shift."""
    from remixbench.inference.probes import predict_probes

    reference = read_fold_reference(dataset, run.fold).reference
    shifts = predict_probes(run.folder, workspace=workspace, dataset=dataset, probe="shift").shifts or []
    places = [run.folder / "predictions", *(run.folder / FOLDER / probe_folder("shift", s) for s in shifts)]
    still, *rolled = (_micro_ap(reference.weak, read_predictions(place, reference).clip_scores) for place in places)
    return [max(1 - value / still for value in rolled)] if rolled else []


def _micro_ap(weak: np.ndarray, scores: np.ndarray | None) -> float:
    assert scores is not None
    return float(average_precision(weak, scores, average="micro"))


if __name__ == "__main__":
    main()
