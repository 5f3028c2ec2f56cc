"""Nothing altered goes unnoticed: labels, log-mel, audio, dataset.json and sources of a data set."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny
from fake_runs import Said, fake_run, tags_text
from tiny import differing, tree

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.info import read_info, write_info
from remixbench.dataset.make import make
from remixbench.dataset.verify import verify
from remixbench.errors import InputError
from remixbench.leaderboard.score import score
from remixbench.plots.view import view_clip
from remixbench.recipe import Recipe


@pytest.mark.parametrize("name", ["weak.tsv", "strong.tsv", "durations.tsv", "levels.csv"])
def test_an_altered_label_file_is_refused_and_made_again(
    name: str, made: Dataset, copied: Dataset, corpus: Path, tiny_recipe: Recipe
) -> None:
    path = copied.path / "labels" / name
    path.write_text(path.read_text().replace("00003", "00004"))
    message = f"{path}: differs from its digest in dataset.json; restore it, or run the `remixbench make`"
    with pytest.raises(InputError, match=re.escape(message)):
        Dataset.open(copied.path)
    make(recipe=tiny_recipe, sources=corpus, out=copied.path, jobs=1, stems=True)
    assert differing(tree(made.path), tree(copied.path)) == []


def test_altered_log_mel_is_found_by_clip_and_only_its_snr_is_made_again(
    made: Dataset, copied: Dataset, corpus: Path, tiny_recipe: Recipe
) -> None:
    logmel = np.lib.format.open_memmap(copied.path / "snr_10" / "logmel.npy", mode="r+")
    logmel[[4, 5]] = logmel[[5, 4]]
    logmel.flush()
    copied.verify_features(10, rows=[0, 1, 23])
    with pytest.raises(InputError, match=r"snr_10/logmel.npy: the log-mel of clip 00004 was altered.*remixbench make"):
        copied.verify_features(10)
    other = copied.audio_path("00020", 0).stat().st_mtime_ns
    make(recipe=tiny_recipe, sources=corpus, out=copied.path, jobs=1, stems=True)
    assert differing(tree(made.path), tree(copied.path)) == []
    assert copied.audio_path("00020", 0).stat().st_mtime_ns == other


def test_audio_of_two_clips_exchanged_is_refused(copied: Dataset) -> None:
    one, two = copied.audio_path("00001", 0), copied.audio_path("00002", 0)
    whole = copied.audio("00001", 0)
    assert whole.dtype == np.float32
    assert np.array_equal(whole * 32768, soundfile.read(one, dtype="int16")[0])
    held = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(held)
    with pytest.raises(InputError, match=r"00001.wav: its samples differ from digests.csv; delete it"):
        copied.audio("00001", 0)


@pytest.mark.parametrize("kind", ["event", "scene"])
def test_an_snr_is_not_added_from_changed_sources(
    kind: str, made: Dataset, copied: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    sources = tmp_path / "sources"
    shutil.copytree(corpus, sources)
    clip = copied.clips[0]
    scene, event = f"{tiny.TAU}/audio/{clip.scene_file}", f"{tiny.FSD_AUDIO}/{clip.events[0].file}"
    file = sources / (scene if kind == "scene" else event)
    samples, rate = soundfile.read(file, dtype="int32")
    soundfile.write(file, samples[::-1], rate, subtype=soundfile.info(file).subtype)
    with pytest.raises(InputError, match=rf"{file.name}: the {kind} recording changed since the data set was made"):
        make(recipe=tiny_recipe, sources=sources, out=copied.path, jobs=1, stems=True, snr=20)
    assert differing(tree(made.path), {k: v for k, v in tree(copied.path).items() if k in tree(made.path)}) == []
    copied.audio_path("00000", 0).unlink()  # nor is a lost clip made from them
    with pytest.raises(InputError, match=r"recording changed since the data set was made"):
        make(recipe=tiny_recipe, sources=sources, out=copied.path, jobs=1, stems=True)


def test_the_features_digest_depends_on_the_log_mel_of_its_snr(made: Dataset, copied: Dataset) -> None:
    assert made.features_digest(0) == copied.features_digest(0) != made.features_digest(10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"not_comparable": []}, "was edited since it was written"),
        ({"not_comparable": [1]}, "not_comparable.0: found 1; expected a string"),
        ({"classes": ["Bark", "Bark"]}, "classes: found ['Bark', 'Bark']; expected labels"),
        ({"classes": None}, "classes: found None; "),
        ({"classes": []}, "classes: found []; "),
        ({"classes": [1, 2]}, "classes.0: found 1; "),
        ({"features": "all"}, "features: found 'all'; "),
        ({"snrs": [20, 0]}, "snrs: found [20, 0]; expected ascending values"),
        ({"snrs": [1e308]}, "snrs.0: found 1e+308; "),
        ({"name": ""}, "name: found ''; expected the name of a folder"),
        ({"name": "/etc"}, "name: found '/etc'; expected the name of a folder"),
        ({"name": "a\nb"}, "name: found 'a\\nb'; expected the name of a folder"),
        ({"name": "a\0b"}, "name: found 'a\\x00b'; expected the name of a folder"),
        ({"files": {"../x": "0" * 64}}, "files: "),
        ({"clips": 0}, "clips: found 0; "),
        ({"nonsense": 1}, "unknown key 'nonsense'"),
    ],
)  # fmt: skip
def test_a_wrong_dataset_json_is_one_line(copied: Dataset, change: dict[str, Any], message: str) -> None:
    file = copied.path / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InputError, match=re.escape(f"{file}: {message}")) as caught:
        read_info(copied.path)
    assert "\n" not in str(caught.value)


def test_yaml_with_multiplying_aliases_is_refused_quickly(tmp_path: Path) -> None:
    from remixbench.recipe import load_recipe

    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12)]
    (tmp_path / "bomb.yaml").write_text("\n".join([*lines, "name: *a11", "description: d"]))
    with pytest.raises(InputError, match=r"bomb.yaml: unknown key 'a0'"):
        load_recipe(tmp_path / "bomb.yaml")


def test_pipes_in_place_of_files_are_refused_and_not_waited_for(copied: Dataset, tmp_path: Path) -> None:
    from remixbench.leaderboard.record import digests_of
    from remixbench.recipe import load_recipe
    from remixbench.training.run_files import read_checkpoint

    def pipe(path: Path) -> Path:
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        return path

    pipe(copied.path / "snr_10" / "logmel.npy")
    readers: list[tuple[Callable[[], object], str]] = [
        (lambda: copied.features(10), "logmel.npy"),
        (lambda: load_recipe(pipe(tmp_path / "r.yaml")), "r.yaml"),
        (lambda: load_recipe(Path("/dev/zero")), "/dev/zero"),
        (lambda: digests_of([pipe(tmp_path / "tags.csv")]), "tags.csv"),
        (lambda: read_checkpoint(pipe(tmp_path / "checkpoint.pt").parent, "0"), "checkpoint.pt"),
    ]
    pipe(copied.path / "manifest" / "clips.csv")
    readers.append((lambda: Dataset.open(copied.path), "clips.csv"))
    for read, name in readers:
        with pytest.raises(InputError, match=rf"{name}: is a pipe or device, expected a regular file"):
            read()


def test_predictions_of_a_terabyte_are_refused_before_they_are_hashed(tmp_path: Path) -> None:
    from remixbench.leaderboard.record import digests_of

    with (tmp_path / "frames.npz").open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(InputError, match=r"frames.npz: has 1,099,511,627,776 bytes, expected at most 17,179,869,184"):
        digests_of([tmp_path])


def test_a_pipe_in_place_of_log_mel_is_made_again(
    made: Dataset, copied: Dataset, corpus: Path, tiny_recipe: Recipe
) -> None:
    path = copied.path / "snr_10" / "logmel.npy"
    path.unlink()
    os.mkfifo(path)
    make(recipe=tiny_recipe, sources=corpus, out=copied.path, jobs=1, stems=True)
    assert differing(tree(made.path), tree(copied.path)) == []


def test_log_mel_with_a_broken_header_is_made_again(
    made: Dataset, copied: Dataset, corpus: Path, tiny_recipe: Recipe
) -> None:
    path = copied.path / "snr_10" / "logmel.npy"
    path.write_bytes(path.read_bytes().replace(b"'shape': (24", b"'shape': ((4"))
    make(recipe=tiny_recipe, sources=corpus, out=copied.path, jobs=1, stems=True)
    assert differing(tree(made.path), tree(copied.path)) == []


def test_results_on_old_audio_do_not_pass_for_results_on_new_audio(
    corpus: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    def make_from(sources: Path) -> Dataset:
        shutil.rmtree(tmp_path / "datasets", ignore_errors=True)
        dataset = make(workspace=tmp_path, recipe=tiny_recipe, sources=sources, jobs=1)
        assert dataset is not None
        return dataset

    before = make_from(corpus)
    fake_run(tmp_path, before)
    (tmp_path / "mine.csv").write_text(tags_text(before, 4, noise=0.1, seed=0))
    submission = tmp_path / "submission.json"
    score(workspace=tmp_path, bootstrap=0, submission=submission)
    assert len(score(tmp_path / "mine.csv", workspace=tmp_path, name="mine", snr=0, fold=4, bootstrap=0).rows) == 2

    after = make_from(tiny.write_corpus(tmp_path / "other", seed=1))  # the same tables and names, other sounds
    assert after.manifest_digest == before.manifest_digest
    assert after.audio_digest != before.audio_digest
    said = Said()
    with pytest.raises(InputError, match="nothing is scored"):
        score(workspace=tmp_path, bootstrap=0, progress=said)
    assert "trained on other audio than data set 'tiny' has now; train it again" in said.lines[0]
    assert sum("was scored on other audio (recordings or mixing)" in line for line in said.lines) == 2
    with pytest.raises(InputError, match="'gap' was scored on other audio"):
        score(workspace=tmp_path, add=submission)
    assert make_from(corpus).audio_digest == before.audio_digest
    assert len(score(workspace=tmp_path, bootstrap=0).rows) == 2


@pytest.mark.parametrize("damage", ["lost", "altered"])
def test_digests_that_a_make_does_not_write_are_not_taken_over(damage: str, copied: Dataset, corpus: Path) -> None:
    for name, options in (("stems_digests.csv", {}), ("logmel_digests.csv", {"features": False, "stems": True})):
        path = copied.path / name
        content = path.read_bytes()
        if damage == "lost":
            path.unlink()
        else:
            path.write_bytes(content.replace(b"0,", b"1,", 1))
        with pytest.raises(InputError, match=rf"{name}: .*run the `remixbench make` that made the data set, with "):
            make(recipe=copied.recipe, sources=corpus, out=copied.path, jobs=1, **options)
        path.write_bytes(content)
    assert verify(dataset=copied) == []


def test_an_snr_added_with_other_versions_keeps_the_versions_of_the_others(copied: Dataset, corpus: Path) -> None:
    older = copied.info.model_copy(update={"versions": copied.info.versions | {"numpy": "0.1"}})
    write_info(copied.path, older)
    added = make(recipe=copied.recipe, sources=corpus, out=copied.path, jobs=1, stems=True, snr=5)
    assert added is not None
    assert added.info.versions["numpy"] == "0.1"
    assert added.info.versions_added == {"snr_5": copied.info.versions}
    again = make(recipe=copied.recipe, sources=corpus, out=copied.path, jobs=1, stems=True, snr=[0, 5])
    assert again is not None
    assert again.info.versions_added == added.info.versions_added


def test_altered_audio_is_not_shown(copied: Dataset) -> None:
    path = copied.audio_path("00003", 10)
    samples, rate = soundfile.read(path, dtype="int16")
    samples[7] += 1
    soundfile.write(path, samples, rate, subtype="PCM_16")
    with pytest.raises(InputError, match=r"00003.wav: its samples differ from digests.csv"):
        view_clip(copied, 3, 10)
