"""Recipes for one's own folders: what is the default there, and what may be drawn."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from sklearn.metrics import average_precision_score
from tiny_encoders import write_encoder

from remixbench.cli import run
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.export import export
from remixbench.dataset.leakage import leakage_lines
from remixbench.dataset.make import make
from remixbench.dataset.manifest import read_manifest
from remixbench.dataset.plan import plan
from remixbench.errors import InputError, RemixbenchError
from remixbench.leaderboard.score import score
from remixbench.recipe import format_snr, format_snrs, load_recipe, parse_recipe
from remixbench.tables import format_table
from remixbench.training.embeddings import embed
from remixbench.training.train import train

RATE = 8000


def write_noise(path: Path, seconds: float, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.1, round(RATE * seconds))
    soundfile.write(path, noise, RATE, subtype="PCM_16")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Scenes of 5 s in one flat folder, events in a sub-folder per class."""
    for k in range(8):
        write_noise(tmp_path / "sources" / "street" / f"scene{k}.wav", 5.0, k)
        for label, seed in (("Bark", 100), ("Bell", 200)):
            write_noise(tmp_path / "sources" / "animals" / label / f"{k}.wav", 0.3, seed + k)
    return tmp_path / "sources"


def recipe(**sections: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": "own",
        "description": "my recordings",
        "scenes": {"source": "folder", "folder": "street"},
        "events": {"source": "folder", "folder": "animals"},
        "plan": {"folds": 2, "clips_per_fold": 6, "onsets": "drawn", "max_event": 0.5, "polyphony": 1},
        "mix": {"sample_rate": RATE, "duration": 2.0, "snrs": [0]},
        "features": {"n_fft": 256, "hop_length": 128, "n_mels": 12},
    }
    return {key: content.get(key, {}) | sections[key] if key in sections else content[key] for key in content}


def made(sources: Path, content: dict[str, Any], **options: Any) -> Dataset:
    dataset = make(recipe=parse_recipe(content, "own"), sources=sources, out=sources.parent / "d", jobs=1, **options)
    assert dataset is not None
    return dataset


def test_folders_are_planned_by_groups_and_fmax_is_half_the_sample_rate() -> None:
    own = parse_recipe(recipe(), "own")
    assert (own.plan.method, own.plan.scene_start, own.features.fmax) == ("grouped", "drawn", 4000)
    assert parse_recipe(recipe(plan={"method": "released", "onsets": 0.5}), "own").plan.onsets == (0.5,)


def test_clips_are_cut_from_anywhere_in_longer_scenes(sources: Path) -> None:
    dataset = made(sources, recipe())
    starts = [clip.scene_start for clip in dataset.clips]
    assert len(set(starts)) > 6
    assert 0 <= min(starts) < 1 < 2 < max(starts) <= 3
    assert (dataset.path / "manifest/clips.csv").read_text().startswith("clip_id,fold,scene_file,scene_label,scene_loc")
    assert {clip.scene_label for clip in dataset.clips} == {"street"}


def test_all_unusable_scenes_are_named_where_starts_are_drawn(sources: Path) -> None:
    (sources / "street" / "scene1.wav").write_bytes(b"")
    (sources / "street" / "scene3.wav").write_text("no audio")
    cut = sources / "street" / "scene5.wav"
    cut.write_bytes(cut.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"^3 problems with scene recordings: ") as caught:
        made(sources, recipe())
    assert all(f"scene{k}.wav: " in str(caught.value) for k in (1, 3, 5))


def test_a_scene_that_is_too_short_is_refused_or_looped(sources: Path) -> None:
    long = {"sample_rate": RATE, "duration": 12.0, "snrs": 0}
    with pytest.raises(InputError, match=r"the scene lasts 5\.00 s, a clip of this recipe 12 s.*short_scenes to loop"):
        made(sources, recipe(mix=long))
    looped = parse_recipe(recipe(mix=long | {"short_scenes": "loop"}), "own")
    dataset = make(recipe=looped, sources=sources, out=sources.parent / "looped", jobs=1, clips_per_fold=1, stems=True)
    assert dataset is not None
    scene = dataset.stems("00000", 0)[1].astype(int)
    assert np.array_equal(scene[: 5 * RATE], scene[5 * RATE : 10 * RATE])


def test_clips_without_events(sources: Path) -> None:
    dataset = made(sources, recipe(plan={"polyphony": {"range": [0, 2]}}))
    counts = {len(clip.events) for clip in dataset.clips}
    assert counts == {0, 1, 2}
    assert [bool(row.any()) for row in dataset.weak] == [bool(clip.events) for clip in dataset.clips]
    with pytest.raises(InputError, match=r"polyphony 0 makes a data set without events; expected a range such as"):
        parse_recipe(recipe(plan={"polyphony": 0}), "own")


def test_the_snr_is_drawn_from_a_range_for_each_clip(sources: Path) -> None:
    dataset = made(sources, recipe(mix={"snrs": {"range": [-5, 20]}}))
    assert dataset.snrs == (7.5,)  # the nominal one: the middle of the range
    snrs = [7.5 + clip.events[0].snr_offset for clip in dataset.clips]
    assert len(set(snrs)) == len(snrs)
    assert -5 <= min(snrs) < 2 < 13 < max(snrs) <= 20
    for bad in ({"range": [20, -5]}, {"range": [0]}, {"rnge": [0, 1]}, "loud"):
        with pytest.raises(InputError, match=r"^own: .*mix\.snrs"):
            parse_recipe(recipe(mix={"snrs": bad}), "own")


def test_a_range_of_snrs_is_shown_as_a_range(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = made(sources, recipe(mix={"snrs": {"range": [-5, 20]}}), progress=True)
    assert "12 clips ready at −5 to 20 dB" in capsys.readouterr().err
    assert "at −5 to 20 dB, 2 classes" in repr(dataset)
    folder = export(dataset, format="croissant", out=sources.parent / "out")
    assert "at −5 to 20 dB SNR" in (folder / "README.md").read_text()
    offsets = dataset.recipe.mix.snr_offsets
    assert format_snr(10.0, offsets) == "−2.5 to 22.5 dB"  # made with --snr 10
    assert (format_snr(-5.0), format_snrs([0, 10])) == ("-5 dB", "0, 10 dB")


def test_runs_and_embeddings_name_the_range(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = sources.parent
    dataset = made(sources, recipe(mix={"snrs": {"range": [-5, 20]}}))
    encoder = write_encoder(workspace)
    embed(encoder, workspace=workspace, dataset=dataset, progress=True)
    for system, options in (("gap", {}), ("emb-linear", {"encoder": encoder})):
        train(
            workspace=workspace, dataset=dataset, system=system, options=options, fold=1, epochs=1, min_steps=0,
            width=0.1, batch_size=2, jobs=1, progress=True,
        )  # fmt: skip
    with pytest.raises(RemixbenchError, match=r"^gap −5 to 20 dB fold 1 seed 0: the loss is"):
        train(
            workspace=workspace, dataset=dataset, system="gap", fold=1, epochs=3, width=0.1, batch_size=2, jobs=1,
            learning_rate=1e30,
        )  # fmt: skip
    score(workspace=workspace, dataset=dataset, probe="shift", bootstrap=0, progress=True)
    said = capsys.readouterr().err
    for part in ("Embedding with TinyEncoder at", "\ngap", "Probing gap"):
        assert f"{part} −5 to 20 dB" in said
    assert "7.5 dB" not in said


def test_scores_by_snr_use_the_clips_of_each_bin(sources: Path, tmp_path: Path) -> None:
    plan_of_range = {
        "clips_per_fold": 40,
        "folds": 2,
        "polyphony": {"range": [0, 1]},
        "onsets": "drawn",
        "max_event": 0.5,
    }
    content = recipe(plan=plan_of_range, mix={"sample_rate": RATE, "duration": 2.0, "snrs": {"range": [-5, 20]}})
    workspace = sources.parent
    dataset = make(recipe=parse_recipe(content, "own"), workspace=workspace, jobs=1, features=False)
    assert dataset is not None
    rows = dataset.test_rows(2)
    bins = dataset.snr_bins(rows, 7.5)
    assert list(bins) == ["−5 to 0 dB", "0 to 5 dB", "5 to 10 dB", "10 to 15 dB", "15 to 20 dB"]
    snrs = np.array(
        [7.5 + dataset.clips[row].events[0].snr_offset if dataset.weak[row].any() else np.nan for row in rows]
    )
    for low, inside in zip((-5, 0, 5, 10, 15), bins.values(), strict=True):
        assert np.array_equal(inside, (low <= snrs) & (snrs < low + 5))
    scores = (np.random.default_rng(0).random((len(rows), 2)) + 0.5 * dataset.weak[rows]) / 1.5
    names = [dataset.filenames[row] for row in rows]
    table = [(name, *map(repr, map(float, values))) for name, values in zip(names, scores, strict=True)]
    (tmp_path / "tags.csv").write_bytes(format_table(("filename", *dataset.classes), table))
    board = score(
        tmp_path / "tags.csv", name="theirs", snr=7.5, fold=2, workspace=workspace, bootstrap=0, progress=False
    )
    values = board.rows[0].conditions[7.5].by_snr["micro_ap"]
    for name, inside in bins.items():
        truth = dataset.weak[rows][inside].reshape(-1)
        assert values[name] == pytest.approx(average_precision_score(truth, scores[inside].reshape(-1)), abs=1e-12)
    text = (workspace / "leaderboard" / "own.md").read_text()
    assert "micro-AP by the SNR of the clips, drawn from −5 to 20 dB" in text
    with (workspace / "leaderboard" / "own.csv").open(encoding="utf-8") as file:
        tidy = {row["metric"]: row["value"] for row in csv.DictReader(file) if row["name"] == "theirs"}
    assert float(tidy["micro_ap[15 to 20 dB]"]) == pytest.approx(values["15 to 20 dB"])


def test_ranges_read_alike_and_are_written_as_they_are_read(tmp_path: Path) -> None:
    ranges = {"polyphony": {"range": [1, 3]}, "snr_spread": {"range": [-6, 6]}}
    own = parse_recipe(recipe(plan=ranges, mix={"snrs": {"range": [-5, 20]}}), "own")
    assert (own.plan.fewest_events, own.plan.most_events) == (1, 3)
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(own.model_dump(mode="json")))
    assert load_recipe(tmp_path / "again.yaml") == own
    # nothing else can be meant by two bounds of a spread
    assert parse_recipe(recipe(plan=ranges | {"snr_spread": [-6, 6]}, mix={"snrs": {"range": [-5, 20]}}), "own") == own


def test_unknown_origins_are_reported(sources: Path, tmp_path: Path) -> None:
    _, report = plan(recipe=parse_recipe(recipe(), "own"), out=tmp_path / "m", sources=sources, report=True)
    assert report is not None
    assert report["folds"][0]["shared by test and train"] == {
        "locations": None, "scene files": 0, "event files": 0, "event origins": None
    }  # fmt: skip
    assert "event origins: unknown" in "\n".join(leakage_lines(report))


def test_identical_recordings_are_in_one_fold_and_reported(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, rate = soundfile.read(sources / "animals" / "Bark" / "3.wav", dtype="int16")
    for copy in ("copy.flac", "stereo.wav"):
        channels = samples if copy.endswith("flac") else np.stack((samples, samples), axis=1)
        soundfile.write(sources / "animals" / "Bark" / copy, channels, rate, subtype="PCM_16")
    soundfile.write(sources / "street" / "again.flac", *soundfile.read(sources / "street" / "scene2.wav"))
    own = tmp_path / "own.yaml"
    for seed in range(4):
        content = recipe(plan={"seed": seed, "folds": 2, "clips_per_fold": 12, "onsets": "drawn", "max_event": 0.5})
        own.write_text(yaml.safe_dump(content))
        assert run(["plan", "--recipe", str(own), "--sources", str(sources), "--out", str(tmp_path / "m")]) == 0
        manifest = read_manifest(tmp_path / "m")
        for names in ({"Bark/3.wav", "Bark/copy.flac", "Bark/stereo.wav"}, {"scene2.wav", "again.flac"}):
            folds = {
                clip.fold
                for clip in manifest.clips
                if clip.scene_file in names or any(event.file in names for event in clip.events)
            }
            assert len(folds) == 1
    said = capsys.readouterr().err
    assert "events: Bark/3.wav, Bark/copy.flac, Bark/stereo.wav have the same samples and count as one origin" in said
    assert "scenes: again.flac, scene2.wav have the same samples and count as one location" in said


def test_a_class_with_one_recording_under_many_names_is_in_every_fold_and_reported(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for k in range(1, 8):
        shutil.copy(sources / "animals" / "Bark" / "0.wav", sources / "animals" / "Bark" / f"{k}.wav")
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(recipe()))
    assert run(["plan", "--recipe", str(own), "--sources", str(sources), "--out", str(tmp_path / "m")]) == 0
    said = capsys.readouterr().err
    assert (
        "Bark/7.wav have the same samples and are the only ones of 'Bark': they may be in both training and test"
        in said
    )
    barking = [clip.fold for clip in read_manifest(tmp_path / "m").clips if clip.events[0].label == "Bark"]
    assert set(barking) == {1, 2}


def test_identical_recordings_in_two_roles_are_reported(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in range(8):  # every recording twice, so that the released draws must put some in both folds
        shutil.copy(sources / "animals" / "Bark" / f"{k}.wav", sources / "animals" / "Bark" / f"again{k}.wav")
    released = {"method": "released", "onsets": 0.5, "max_event": 0.5, "polyphony": 1, "folds": 2, "clips_per_fold": 24}
    made(sources, recipe(plan=released), progress=True)
    said = capsys.readouterr().err
    assert "event recordings with the same samples are in clips of two roles (fold 1, 2 tested): Bark/" in said


def test_a_data_set_of_another_recipe_in_the_way_is_refused_with_what_differs(sources: Path) -> None:
    made(sources, recipe())
    with pytest.raises(InputError, match=r"another recipe \(mix\.level rms, now lufs\); choose another folder"):
        made(sources, recipe(mix={"level": "lufs"}))


def test_stems_of_single_events_add_up_to_the_events(sources: Path) -> None:
    content = recipe(plan={"polyphony": 2, "overlap": False})
    single = made(sources, content, stems="events")
    clip = single.clips[3]
    stems = single.stems(clip, 0)
    assert stems.shape == (3, 16000)
    assert all(channel.any() for channel in stems)
    both = make(recipe=parse_recipe(content, "own"), sources=sources, out=sources.parent / "e", jobs=1, stems=True)
    assert both is not None
    events, scene = both.stems(clip, 0)
    assert np.array_equal(stems[:-1].sum(axis=0), events)
    assert np.array_equal(stems[-1], scene)
    with pytest.raises(InputError, match=r"other stems \(--stems events\)"):
        made(sources, content, stems="sum")


def test_mini_is_not_the_default_if_there_are_other_data_sets(sources: Path) -> None:
    workspace = sources.parent
    made_here = make(recipe=parse_recipe(recipe(), "own"), workspace=workspace, jobs=1, clips_per_fold=1)
    assert made_here is not None
    with pytest.raises(InputError, match=r"datasets: has the data sets own; choose with --recipe which one to make"):
        make(workspace=workspace, jobs=1)
    make(recipe="mini", workspace=workspace, jobs=1, clips_per_fold=1, snr=[0])  # asked for
    with pytest.raises(InputError, match=r"datasets: has the data sets mini, own; choose with --recipe"):
        make(workspace=workspace, jobs=1)
