"""make: the released files bit for bit, and the same bytes however the work is cut up."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import released
import soundfile
import tiny
from tiny import differing, tree

from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.dataset.make import make
from remixbench.errors import InputError
from remixbench.recipe import Recipe, parse_recipe


def made_of(dataset: Dataset | None) -> Dataset:
    assert dataset is not None
    return dataset


@pytest.fixture(scope="module")
def real(standin: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("real") / "remix2019"
    return made_of(
        make(
            recipe="remix2019", replan=True, sources=standin, out=out, clips_per_fold=2, snr=[0, 20], jobs=1, stems=True
        )
    )


def test_real_recordings_give_the_released_stems_bit_for_bit_and_features_within_1e4(
    real: Dataset, standin: Path, tmp_path: Path
) -> None:
    for snr in (0, 20):
        features = real.features(snr)
        assert features.shape == (8, 311, 64)
        for row, clip in enumerate(real.clips):
            expected = released.write_clip(
                tmp_path / "clip.wav",
                standin / tiny.TAU / "audio" / clip.scene_file,
                [(standin / tiny.FSD_AUDIO / event.file, event.onset) for event in clip.events],
                snr,
            )
            stems, rate = soundfile.read(real.stems_path(clip, snr), dtype="int16")
            assert rate == 32000
            assert np.array_equal(stems, expected)
            mono, _ = soundfile.read(real.audio_path(clip, snr), dtype="int16")
            assert np.abs(mono - expected.mean(axis=1)).max() <= 0.5
            assert np.abs(features[row] - released.logmel(tmp_path / "clip.wav")).max() < 1e-4


def test_a_tiny_corpus_gives_the_released_stems_too(made: Dataset, corpus: Path, tmp_path: Path) -> None:
    for clip in made.clips[::5]:
        expected = released.write_clip(
            tmp_path / "clip.wav",
            corpus / tiny.TAU / "audio" / clip.scene_file,
            [(corpus / tiny.FSD_AUDIO / event.file, event.onset) for event in clip.events],
            10, rate=8000, longest=0.5,
        )  # fmt: skip
        assert np.array_equal(soundfile.read(made.stems_path(clip, 10), dtype="int16")[0], expected)
        again = released.logmel(tmp_path / "clip.wav", window=256, hop=128, bands=12, fmax=4000)
        assert np.abs(made.features(10)[made.clips.index(clip)] - again).max() < 1e-4


@pytest.mark.parametrize(
    ("jobs", "backend"), [(2, "loky"), (2, "threading"), (1, "threading")], ids=lambda value: str(value)
)
def test_jobs_and_backend_do_not_change_a_byte(
    jobs: int, backend: str, made: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    other = made_of(make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", jobs=jobs, backend=backend,
                         stems=True))  # fmt: skip
    assert differing(tree(made.path), tree(other.path)) == []


def test_ratios_one_at_a_time_in_any_order_give_the_same_bytes(
    made: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    for snr in ([10], 0):
        make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", snr=snr, jobs=1, stems=True)
    assert differing(tree(made.path), tree(tmp_path / "tiny")) == []


def test_order_and_repetition_of_snrs_do_not_change_the_bytes(
    made: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", snr=[10, 0, 10.0], jobs=1, stems=True)
    assert differing(tree(made.path), tree(tmp_path / "tiny")) == []


def test_flac_holds_the_same_samples(made: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path) -> None:
    other = made_of(make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", jobs=1, audio_format="flac",
                         stems=True))  # fmt: skip
    for clip in made.clips:
        for path, as_flac in (
            (made.audio_path(clip, 10), other.audio_path(clip, 10)),
            (made.stems_path(clip, 10), other.stems_path(clip, 10)),
        ):
            assert soundfile.info(as_flac).format == "FLAC"
            assert np.array_equal(soundfile.read(path, dtype="int16")[0], soundfile.read(as_flac, dtype="int16")[0])
    for name in ("digests.csv", "logmel_digests.csv", "snr_0/logmel.npy", "labels/levels.csv"):
        assert (made.path / name).read_bytes() == (other.path / name).read_bytes()
    assert (other.path / "labels/weak.tsv").read_text().splitlines()[1].startswith("00000.flac\t")


def test_without_stems_and_features_the_mixtures_are_the_same(
    made: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    bare = made_of(make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", jobs=1, features=False))
    assert not (bare.path / "snr_0" / "stems").exists()
    assert not (bare.path / "snr_0" / "logmel.npy").exists()
    changed = differing(tree(made.path), tree(bare.path))
    assert not [name for name in changed if "/audio/" in name or name.startswith("labels/")]
    with pytest.raises(InputError, match="without --no-features"):
        bare.features(0)
    # what was left out is made when it is asked for
    full = made_of(make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "tiny", jobs=1, stems=True))
    assert differing(tree(made.path), tree(full.path)) == []


def test_made_again_nothing_is_touched(copied: Dataset, corpus: Path, tiny_recipe: Recipe) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.path.rglob("*")}
    make(recipe=tiny_recipe, sources=corpus, out=copied.path, jobs=1, stems=True)
    assert {path: path.stat().st_mtime_ns for path in copied.path.rglob("*")} == before


def test_a_lost_clip_is_made_again(made: Dataset, copied: Dataset, corpus: Path, tiny_recipe: Recipe) -> None:
    copied.audio_path(copied.clips[11], 10).unlink()
    make(recipe=tiny_recipe, sources=corpus, out=copied.path, jobs=1, stems=True)
    assert differing(tree(made.path), tree(copied.path)) == []


def test_content_of_dataset_json(made: Dataset, tiny_recipe: Recipe) -> None:
    info = json.loads((made.path / "dataset.json").read_text())
    assert info["comparable"] is False
    assert info["not_comparable"] == ["recipe 'tiny' is one of your own"]
    assert info["classes"] == ["Bark", "Cough", "Gong", "Knock"]
    assert (info["snrs"], info["features"], info["stems"]) == ([0, 10], [0, 10], [0, 10])
    assert (info["clips"], info["folds"]) == (24, [1, 2, 3, 4])
    assert parse_recipe(info["recipe"], "dataset.json") == tiny_recipe
    assert made.features(0).shape == (24, 124, 12)  # (16000 - 256) // 128 + 1 frames


def test_every_recording_used_is_attributed(made: Dataset, corpus: Path) -> None:
    with (made.path / "ATTRIBUTION.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (corpus / tiny.FSD_TABLE).open() as file:
        table = {row["fname"]: row for row in csv.DictReader(file)}
    events = [row for row in rows if row["kind"] == "event"]
    scenes = [row for row in rows if row["kind"] == "scene"]
    assert [row["file"] for row in events] == sorted(made.manifest.event_files)
    assert [row["file"] for row in scenes] == sorted({clip.scene_file for clip in made.clips})
    assert all("non-commercial use only" in row["licence"] for row in scenes)
    for row in events:
        source = table[row["file"]]
        assert row["label"] == source["label"]
        assert row["source_url"] == f"https://freesound.org/s/{source['freesound_id']}"
        assert row["licence"] == source["license"]


def test_a_part_is_the_start_of_each_fold_of_the_whole(
    made: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    part = made_of(
        make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "part", fold=[2, 3], clips_per_fold=2, snr=0, jobs=1)
    )
    assert [(clip.id, clip.fold) for clip in part.clips] == [("00006", 2), ("00007", 2), ("00012", 3), ("00013", 3)]
    assert "only fold 2, 3" in part.not_comparable
    assert "only the first 2 clips of each fold" in part.not_comparable
    for clip in part.clips:
        assert part.audio_path(clip, 0).read_bytes() == made.audio_path(clip, 0).read_bytes()


def test_an_unfinished_data_set_with_other_settings_is_not_resumed(
    copied: Dataset, corpus: Path, tiny_recipe: Recipe
) -> None:
    other = parse_recipe(tiny.changed(tiny.RECIPE, mix__sample_rate=8001), "other")
    with pytest.raises(InputError, match=r"another recipe \(mix.sample_rate 8000, now 8001\).*--out"):
        make(recipe=other, sources=corpus, out=copied.path, jobs=1)
    with pytest.raises(InputError, match=r"another audio format.*--out"):
        make(recipe=tiny_recipe, sources=corpus, out=copied.path, jobs=1, audio_format="flac")
    with pytest.raises(InputError, match=r"another manifest.*24 clips, now 8"):
        make(recipe=tiny_recipe, sources=corpus, out=copied.path, jobs=1, clips_per_fold=2)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"jobs": 1.5}, "--jobs 1.5: expected a number of processes, or -1 for one per core"),
        ({"shard": "1/3"}, r"--shard '1/3': expected a pair \(I, N\) of whole numbers, 1 <= I <= N, such as"),
        ({"shard": [1, 2, 3]}, r"--shard \[1, 2, 3\]: expected a pair"),
        ({"clips_per_fold": "2"}, "--clips-per-fold 2: expected a whole number of 1 or more"),
        ({"clips_per_fold": 0.5}, "--clips-per-fold 0.5: expected a whole number of 1 or more"),
    ],
)
def test_arguments_that_mean_nothing_are_one_line(tmp_path: Path, argument: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(recipe="mini", workspace=tmp_path, **argument)
    assert list(tmp_path.iterdir()) == []


def test_the_data_set_made_last_is_found(corpus: Path, tiny_recipe: Recipe, tmp_path: Path) -> None:
    for name in ("second", "first"):
        make(recipe=tiny_recipe, sources=corpus, out=tmp_path / "datasets" / name, clips_per_fold=1, snr=0, jobs=1,
             features=False)  # fmt: skip
    assert find_dataset(tmp_path).name == "first"
    assert find_dataset(tmp_path, "second").name == "second"
    with pytest.raises(InputError, match=r"no data set 'secnd' \(did you mean 'second'\?\)"):
        find_dataset(tmp_path, "secnd")
    with pytest.raises(
        InputError, match=r"has no SNR of 5 dB, only 0; repeat its `remixbench make` with --snr 5 to add it"
    ):
        find_dataset(tmp_path).features(5)
    (tmp_path / "datasets" / "second" / "dataset.json").write_text("")
    remedy = "restore the file, or make the data set again, or name another one with --dataset"
    with pytest.raises(InputError, match=rf"second/dataset.json: not readable as JSON \(.*\); {remedy}"):
        find_dataset(tmp_path)
    assert find_dataset(tmp_path, "first").name == "first"


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
def test_a_manifest_without_the_validation_part_of_its_recipe_is_refused(
    corpus: Path, tmp_path: Path, listed: bool
) -> None:
    """roles.csv is lost, perhaps with its line in SHA256SUMS: what is left is a complete manifest of another plan."""
    recipe = parse_recipe(tiny.STRICT, "strict")
    dataset = made_of(make(recipe=recipe, sources=corpus, out=tmp_path / "strict", jobs=1, snr=0, features=False))
    folder = dataset.path / "manifest"
    (folder / "roles.csv").unlink()
    if not listed:
        lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
        (folder / "SHA256SUMS").write_text("".join(line for line in lines if "roles" not in line))
    without = r"has no roles.csv, and the recipe keeps a validation part \(plan.validation 0.34\)"
    with pytest.raises(InputError, match="has it" if listed else without):
        make(recipe=recipe, manifest=folder, sources=corpus, out=tmp_path / "other", jobs=1)
    with pytest.raises(InputError, match="has it" if listed else "is not the manifest that the data set was made from"):
        Dataset.open(dataset.path)
