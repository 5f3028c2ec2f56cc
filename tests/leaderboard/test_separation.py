"""Separation in `score`: rows of maps, of waveforms and of ideal masks, against stems."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_runs import tags_text

from remixbench.dataset.dataset import Dataset, read_info
from remixbench.dataset.info import write_info
from remixbench.dataset.make import make
from remixbench.dataset.masks import ideal_class_masks
from remixbench.errors import InputError
from remixbench.leaderboard.evaluate import Task, make_record, read_fold_reference
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.record import SystemInfo, digests_of
from remixbench.leaderboard.score import score
from remixbench.leaderboard.separation import ideal_separation, jobs_of, read_sources, why_no_separation
from remixbench.parallel import Workers
from remixbench.recipe import Recipe
from remixbench.scoring import METRICS, si_sdr_improvement
from remixbench.scoring.separation import OF_EVENTS

SNR, FOLD = 0.0, 4
SCORED = ("sdr", "sdr_improvement", "si_sdr_improvement", "ca_sdr_improvement")


@pytest.fixture
def workspace(made: Dataset, tmp_path: Path) -> Path:
    shutil.copytree(made.path, tmp_path / "datasets" / "tiny")
    return tmp_path


def opened(workspace: Path) -> Dataset:
    return Dataset.open(workspace / "datasets" / "tiny")


def scored(workspace: Path, *predictions: Path) -> Leaderboard:
    return score(
        *predictions, workspace=workspace, dataset="tiny", name="Lab X", snr=SNR, fold=FOLD, bootstrap=20, jobs=1
    )


def values(leaderboard: Leaderboard, name: str) -> dict[str, float]:
    condition = leaderboard.find_row(name).conditions[SNR]
    return {metric: each.value for metric, each in condition.metrics.items() if metric in SCORED}


def write_waveforms(
    dataset: Dataset, folder: Path, estimate: Callable[[np.ndarray, np.ndarray], np.ndarray | None]
) -> Path:
    """Write `<clip>/<class>.wav` of what `estimate` makes of each stem and the mixture; None writes nothing."""
    for job in jobs_of(dataset, read_fold_reference(dataset, FOLD).reference):
        (folder / job.clip.id).mkdir(parents=True)
        sources = read_sources(dataset, SNR, job)
        for label, signal in zip(sources.labels, sources.signals, strict=True):
            if (waveform := estimate(signal, sources.mixture)) is not None:
                file = folder / job.clip.id / f"{dataset.classes[label]}.wav"
                soundfile.write(file, waveform, dataset.recipe.mix.sample_rate, subtype="FLOAT")
    return folder


def test_stems_of_the_classes_and_the_scene_are_the_mixture(made: Dataset) -> None:
    for job in jobs_of(made, read_fold_reference(made, FOLD).reference):
        sources = read_sources(made, SNR, job)
        np.testing.assert_allclose(sources.mixture, made.audio(job.clip, SNR), atol=0.6 / 32768)
        scene = made.stems(job.clip, SNR)[-1] / 65536
        np.testing.assert_allclose(sources.signals.sum(axis=0) + scene, sources.mixture, atol=1e-6)


def test_stems_of_single_events_give_the_same_references(
    made: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    apart = make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", snr=[0], jobs=1, stems="events")
    assert apart is not None
    for one, other in zip(jobs_of(made, read_fold_reference(made, FOLD).reference),
                          jobs_of(apart, read_fold_reference(apart, FOLD).reference), strict=True):  # fmt: skip
        np.testing.assert_allclose(
            read_sources(made, SNR, one).signals, read_sources(apart, SNR, other).signals, atol=1e-6
        )


def test_half_the_noise_is_six_decibels(workspace: Path) -> None:
    folder = write_waveforms(opened(workspace), workspace / "x", lambda stem, mixture: (stem + mixture) / 2)
    found = values(scored(workspace, folder), "Lab X")
    for metric in ("sdr_improvement", "si_sdr_improvement", "ca_sdr_improvement"):
        assert found[metric] == pytest.approx(20 * np.log10(2), abs=0.05)  # events are not quite orthogonal to scenes


def test_the_mixture_and_no_waveform_at_all_improve_nothing(workspace: Path) -> None:
    dataset = opened(workspace)
    mixture = write_waveforms(dataset, workspace / "x", lambda _, mixture: mixture)
    assert values(scored(workspace, mixture), "Lab X")["si_sdr_improvement"] == 0
    nothing = write_waveforms(dataset, workspace / "y", lambda *_: None)
    first = next(nothing.iterdir())
    soundfile.write(first / f"{dataset.classes[0]}.wav", np.zeros(16000), 8000)
    found = values(scored(workspace, nothing), "Lab X")
    assert found == {"sdr": 0, "sdr_improvement": 0, "si_sdr_improvement": 0, "ca_sdr_improvement": 0}


def test_ideal_masks_are_rows_above_the_mixture_and_only_where_they_have_values(workspace: Path) -> None:
    folder = write_waveforms(opened(workspace), workspace / "x", lambda _, mixture: mixture)
    leaderboard = scored(workspace, folder)
    binary, ratio, none = (
        values(leaderboard, name) for name in ("ideal binary mask", "ideal ratio mask", "mixture, not separated")
    )
    for metric in ("sdr_improvement", "si_sdr_improvement", "ca_sdr_improvement"):
        assert none[metric] == 0
        assert binary[metric] > 3
        assert ratio[metric] > 3
    text = (workspace / "leaderboard" / "tiny.md").read_text()
    assert "From the stems" in text
    (table,) = text.split("## ")[1:]  # nothing was tagged, so there is no main table
    assert table.startswith(f"Detection at {SNR:g} dB")
    assert "ideal ratio mask" in table


def test_a_new_metric_takes_its_function_and_its_entry_in_the_registry(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def level(reference: np.ndarray, estimate: np.ndarray, mixture: np.ndarray) -> float:
        return 10 * math.log10(np.sum(estimate**2) / np.sum(mixture**2))

    metric = replace(METRICS["sdr"], quantity="level", heading="level (dB)")
    monkeypatch.setitem(OF_EVENTS, "level", level)
    monkeypatch.setitem(METRICS, "level", metric)
    folder = write_waveforms(opened(workspace), workspace / "x", lambda _, mixture: 0.1 * mixture)
    board = scored(workspace, folder)
    assert board.find_row("Lab X").conditions[SNR].metrics["level"].value == pytest.approx(-20)
    assert "level (dB)" in (workspace / "leaderboard" / "tiny.md").read_text()


def test_maps_are_masks(workspace: Path) -> None:
    dataset = opened(workspace)
    reference = read_fold_reference(dataset, FOLD).reference
    clips, labels, maps = [], [], []
    for row, job in enumerate(jobs_of(dataset, reference)):
        sources = read_sources(dataset, SNR, job)
        rest = sources.mixture - sources.signals.sum(axis=0)
        masks = ideal_class_masks(sources.signals, rest, dataset.recipe.features, 8000, "IRM")
        clips += [reference.filenames[row]] * len(masks)
        labels += [dataset.classes[k] for k in sources.labels]
        maps += list(masks)
    maps_file = workspace / "maps.npz"
    np.savez(maps_file, clip=np.array(clips), label=np.array(labels), maps=np.array(maps))
    found = values(scored(workspace, maps_file), "Lab X")
    assert "ca_sdr_improvement" not in found  # nothing says which classes are detected
    header = "filename," + ",".join(dataset.classes)
    rows = [
        ",".join([name, *(str(0.3 + 0.4 * present) for present in weak)])
        for name, weak in zip(reference.filenames, reference.weak, strict=True)
    ]
    (workspace / "tags.csv").write_text("\n".join([header, *rows, ""]))
    leaderboard = scored(workspace, maps_file, workspace / "tags.csv")
    found, ideal = values(leaderboard, "Lab X"), values(leaderboard, "ideal ratio mask")
    for metric in SCORED:
        assert found[metric] == pytest.approx(ideal[metric], abs=0.1)
    np.savez(
        maps_file, clip=np.array(clips), label=np.array(labels), maps=np.array(maps),
        classes=np.array(dataset.classes), thresholds=np.full(len(dataset.classes), 0.8),
    )  # fmt: skip
    assert values(scored(workspace, maps_file, workspace / "tags.csv"), "Lab X")["ca_sdr_improvement"] == 0


@pytest.mark.parametrize(("stored", "within"), [(np.float32, 0.02), (np.uint16, 0.02), (np.uint8, None)])
def test_faint_maps_separate_as_well_as_loud_ones(workspace: Path, stored: type, within: float | None) -> None:
    """SI-SDR does not mind the level, so a four-hundredth of every mask does as well: unless it is rounded away."""
    dataset = opened(workspace)
    reference = read_fold_reference(dataset, FOLD).reference
    improvements = []
    for divisor in (4, 400):
        arrays: dict[str, list[object]] = {"clip": [], "label": [], "maps": []}
        for job in jobs_of(dataset, reference):
            sources = read_sources(dataset, SNR, job)
            rest = sources.mixture - sources.signals.sum(axis=0)
            odds = ideal_class_masks(sources.signals, rest, dataset.recipe.features, 8000, "IRM") / divisor
            steps = 1 if stored is np.float32 else np.iinfo(stored).max
            arrays["clip"] += [f"{job.clip.id}.wav"] * len(odds)
            arrays["label"] += [dataset.classes[k] for k in sources.labels]
            arrays["maps"] += list((steps * odds / (1 + odds)).astype(stored))
        np.savez(workspace / "maps.npz", **{name: np.array(values) for name, values in arrays.items()})
        improvements.append(values(scored(workspace, workspace / "maps.npz"), "Lab X")["si_sdr_improvement"])
    if within is None:
        assert improvements[1] < improvements[0] - 1
    else:
        assert improvements[1] == pytest.approx(improvements[0], abs=within)


def test_events_are_measured_from_onset_to_offset(made: Dataset) -> None:
    reference = read_fold_reference(made, FOLD).reference
    found = ideal_separation(made, reference, SNR, "mixture", Workers(1))
    job = jobs_of(made, reference)[0]
    _, onset, offset = job.events[0]
    first, last = round(onset * 8000), round(offset * 8000)
    sources = read_sources(made, SNR, job)
    stem, mixture = sources.signals[sources.events[0][0], first:last], sources.mixture[first:last]
    assert si_sdr_improvement(stem, mixture, mixture) == 0
    assert found.of_events["sdr"][0] == pytest.approx(
        10 * np.log10(np.sum(stem**2) / np.sum((mixture - stem) ** 2)), abs=1e-3
    )


def test_jobs_change_no_value(made: Dataset) -> None:
    reference = read_fold_reference(made, FOLD).reference
    one, two = (ideal_separation(made, reference, SNR, "IRM", Workers(jobs)) for jobs in (1, 2))
    np.testing.assert_array_equal(one.of_events["si_sdr_improvement"], two.of_events["si_sdr_improvement"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, x: soundfile.write(f, x, 16000), r"\.wav: 16000 samples at 16000 Hz, 1 .*expected 16000 at 8000"),
        (lambda f, x: soundfile.write(f, x[:-1], 8000), r"\.wav: 15999 samples at 8000 Hz"),
        (lambda f, x: soundfile.write(f, np.column_stack([x, x]), 8000), r"\.wav: .* 2 channel"),
        (lambda f, x: soundfile.write(f, x * np.nan, 8000, subtype="FLOAT"), r"\.wav: holds NaN or infinite samples"),
        (lambda f, x: f.write_text("no audio"), r"\.wav: not readable as audio"),
        (lambda f, x: f.rename(f.with_name("Barc.wav")), r"Barc\.wav: unknown class 'Barc' \(did you mean 'Bark'"),
        (lambda f, x: f.rename(f.with_suffix(".mp4")), r"\.mp4: expected <class>\.wav or <class>\.flac"),
        (lambda f, x: shutil.copy(f, f.with_suffix(".flac")), r"a second file of class"),
        (lambda f, x: f.parent.rename(f.parent.with_name("99999")), r"folder 99999: no clip '99999' in this fold"),
        (lambda f, x: shutil.rmtree(f.parent), r"1 of the fold's 6 clips missing, first '\d+\.wav'"),
    ],
)  # fmt: skip
def test_waveforms_that_cannot_be_scored(
    workspace: Path, change: Callable[[Path, np.ndarray], object], message: str
) -> None:
    folder = write_waveforms(opened(workspace), workspace / "x", lambda _, mixture: mixture)
    file = sorted(folder.glob("*/*.wav"))[0]
    change(file, soundfile.read(file)[0])
    with pytest.raises(InputError, match=message) as error:
        scored(workspace, folder)
    assert "\n" not in str(error.value)


def test_without_stems_a_line_says_what_to_run(workspace: Path) -> None:
    folder = write_waveforms(opened(workspace), workspace / "x", lambda _, mixture: mixture)
    path = workspace / "datasets" / "tiny"
    write_info(path, read_info(path).model_copy(update={"stems": ()}))
    with pytest.raises(
        InputError, match=r"maps and waveforms need stems, which .*tiny lacks at 0 dB; `remixbench make --stems`"
    ):
        scored(workspace, folder)


def test_tags_beside_waveforms_are_scored_with_them(workspace: Path) -> None:
    """As `predict --out X` and `separate --out X` leave them."""
    dataset = opened(workspace)
    folder = write_waveforms(dataset, workspace / "x", lambda stem, mixture: (stem + mixture) / 2)
    alone = digests_of([folder])
    (folder / "tags.csv").write_text(tags_text(dataset, FOLD, noise=0.1, seed=0))
    assert digests_of([folder]).keys() != alone.keys()
    found = scored(workspace, folder).find_row("Lab X").conditions[SNR].metrics
    assert {"micro_ap", "si_sdr_improvement"} <= found.keys()
    path = workspace / "datasets" / "tiny"
    write_info(path, read_info(path).model_copy(update={"stems": ()}))
    shutil.rmtree(workspace / "runs")
    found = scored(workspace, folder).find_row("Lab X").conditions[SNR].metrics
    assert "micro_ap" in found
    assert "si_sdr_improvement" not in found


def test_overlapping_events_need_stems_of_single_events(corpus: Path, strict_recipe: Recipe, tmp_path: Path) -> None:
    plan = strict_recipe.plan.model_copy(update={"max_event": 0.6})
    recipe = strict_recipe.model_copy(update={"plan": plan})
    messages = []
    waveforms = tmp_path / "waveforms"
    (waveforms / "00000").mkdir(parents=True)
    (waveforms / "00000" / "Bark.wav").touch()
    for kind in ("sum", "events"):
        dataset = make(recipe=recipe, sources=corpus, out=tmp_path / kind, snr=[0], jobs=1, stems=kind)
        assert dataset is not None
        reference = read_fold_reference(dataset, 1).reference
        messages.append(why_no_separation(dataset, reference, 0.0))
        if kind == "sum":
            task = Task(SystemInfo(name="Lab X", kind="predictions", snr=0.0, fold=1), (waveforms,), tmp_path)
            with pytest.raises(InputError, match=r"one channel for all events; `remixbench make --stems events`"):
                make_record(dataset, read_fold_reference(dataset, 1), task, 0, {})
        if kind == "events":
            found = ideal_separation(dataset, reference, 0.0, "IRM", Workers(1))
            assert np.nanmean(found.of_events["si_sdr_improvement"]) > 3
    assert "events overlap in clip" in messages[0]
    assert "`remixbench make --stems events`" in messages[0]
    assert messages[1] == ""
