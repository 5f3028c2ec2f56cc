"""A small workspace that was scored: fake runs and a third party's predictions on a fake data set with audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from fake_dataset import CLASSES, fake_dataset
from fake_runs import about_run

from remixbench.dataset.dataset import Dataset, snr_folder
from remixbench.files import file_sha256, write_sealed, write_text
from remixbench.leaderboard.score import score
from remixbench.training.run_files import write_predictions

STRANGER = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>'
FOLD = 4


def scored_workspace(workspace: Path) -> Dataset:
    """Make data set, sounds, runs of three systems at two SNRs, a third party's predictions; score all."""
    dataset = fake_dataset(workspace, clips_per_fold=6)
    write_sounds(dataset)
    for place, (system, fraction) in enumerate(
        (("gap", 1.0), ("gap,fraction=0.5", 0.5), ("gwrp", 1.0), ("2ap-aux", 1.0))
    ):
        for snr in dataset.snrs:
            folder = write_run(workspace, dataset, system, snr, fraction, quality=0.2 + 0.2 * place + snr / 100)
            if system == "gwrp":
                write_maps(folder, dataset)
    score(workspace=workspace, bootstrap=20)
    tags = workspace / "tags.csv"
    tags.write_text(next((workspace / "runs").rglob("tags.csv")).read_text())
    score(tags, workspace=workspace, name=STRANGER, snr=20, fold=FOLD, bootstrap=20)
    return dataset


def write_sounds(dataset: Dataset) -> None:
    """Write noise as mixture and, at 20 dB, as stems."""
    draw = np.random.default_rng(0)
    mix = dataset.recipe.mix
    for snr in dataset.snrs:
        for kind, channels in (("audio", 1), ("stems", 2)) if snr == 20 else (("audio", 1),):
            folder = dataset.path / snr_folder(snr) / kind
            folder.mkdir(exist_ok=True)
            for clip in dataset.clips:
                noise = draw.uniform(-0.3, 0.3, (mix.samples, channels))
                soundfile.write(folder / f"{clip.id}.wav", noise, mix.sample_rate, subtype="PCM_16")


def write_maps(folder: Path, dataset: Dataset) -> None:
    """Add maps to the predictions of a run: the k-th class of a clip has the k-th share of all bands."""
    recipe = dataset.recipe
    clips, labels = np.nonzero(dataset.weak & (dataset.folds == FOLD)[:, None])
    maps = np.zeros((len(clips), recipe.frames, recipe.features.n_mels), np.uint8)
    for place, clip in enumerate(clips):
        k = int((clips[:place] == clip).sum())
        maps[place, :, 4 * k : 4 * (k + 1)] = 255
    names = [dataset.filenames[clip] for clip in clips]
    np.savez(folder / "predictions" / "maps.npz", clip=names, label=np.array(CLASSES)[labels], maps=maps)


def write_run(workspace: Path, dataset: Dataset, name: str, snr: float, fraction: float, quality: float) -> Path:
    """Write a finished run whose scores are noise with `quality` of the truth in it."""
    folder = workspace / "runs" / dataset.name / name / snr_folder(snr) / f"fold_{FOLD}" / "seed_0"
    draw = np.random.default_rng([len(name), int(snr)])
    inside = np.flatnonzero(dataset.folds == FOLD)
    tags = draw.uniform(0, 1 - quality, (len(inside), len(CLASSES))) + quality * dataset.weak[inside]
    frames = np.repeat(tags[:, None], dataset.recipe.frames, axis=1) * draw.uniform(
        0.5, 1, (1, dataset.recipe.frames, 1)
    )
    names = [dataset.filenames[row] for row in inside]
    seconds = dataset.recipe.frame_seconds
    write_predictions(
        folder / "predictions", names, CLASSES, tags.astype(np.float32), frames.astype(np.float32), seconds
    )
    write_text(
        folder / "history.csv",
        "epoch,loss,validation_micro_ap,test_micro_ap,learning_rate,seconds\n"
        "1,0.7,0.2,,0.003,1.5\n2,0.5,0.4,,0.003,1.5\n3,0.4,0.3,,0.003,1.5\n",
    )
    flags = [{"code": "fraction", "text": "trained on 0.5 of the training clips"}] if fraction < 1 else []
    write_sealed(
        folder / "run.json",
        {
            **about_run(dataset),
            "system": name.split(",")[0], "options": {}, "alpha": 0.0, "fraction": fraction, "snr": snr, "fold": FOLD,
            "seed": 0, "epochs": 3, "batch_size": 8, "learning_rate": 0.003, "width": 0.25, "select": "validation",
            "precision": "32", "parameters": 1000 * len(name), "macs": 10**6 * len(name), "seconds": 4.5,
            "flags": flags, "epoch": 2,
            "results": {"history.csv": file_sha256(folder / "history.csv")},
        },
    )  # fmt: skip
    return folder
