"""verify: every kind of damage is found, and nothing else is complained of."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny
from fake_runs import Said

from remixbench.cli import run
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.make import make
from remixbench.dataset.verify import verify
from remixbench.recipe import Recipe


def found(dataset: Dataset, **options: object) -> list[str]:
    """Return the differences with the folder's name taken out."""
    lines = verify(dataset=dataset.path, jobs=1, **options)  # type: ignore[arg-type]
    return [line.replace(f"{dataset.path}/", "") for line in lines]


def replaced(path: Path, change: Callable[[np.ndarray], None], **options: object) -> None:
    """Write an audio file again with its samples changed."""
    samples, rate = soundfile.read(path, dtype="int16")
    change(samples)
    soundfile.write(path, samples, rate, subtype="PCM_16", **options)


def test_an_intact_data_set_has_no_differences(made: Dataset, corpus: Path) -> None:
    assert found(made) == []
    assert found(made, deep=7, sources=corpus) == []
    assert found(made, deep=1000, sources=corpus) == []


def test_a_strict_data_set_rendered_again_is_the_same(corpus: Path, strict_recipe: Recipe, tmp_path: Path) -> None:
    dataset = make(recipe=strict_recipe, sources=corpus, out=tmp_path / "strict", jobs=1)
    assert dataset is not None
    assert found(dataset, deep=24, sources=corpus) == []


def test_a_missing_clip(copied: Dataset) -> None:
    (copied.path / "snr_10/audio/00007.wav").unlink()
    assert found(copied) == ["snr_10/audio/00007.wav: missing"]


@pytest.mark.parametrize("sample", [0, 4321, 15999])
def test_a_sample_one_step_off(copied: Dataset, sample: int) -> None:
    def flip(samples: np.ndarray) -> None:
        samples[sample] ^= 1

    replaced(copied.path / "snr_0/audio/00023.wav", flip)
    assert found(copied) == ["snr_0/audio/00023.wav: its samples differ from digests.csv"]


@pytest.mark.parametrize("kept", [0, 1, 20, 43, 44, 1000, -2, -1])
def test_a_truncated_clip(copied: Dataset, kept: int) -> None:
    path = copied.path / "snr_0/audio/00011.wav"
    path.write_bytes(path.read_bytes()[:kept])
    (line,) = found(copied)
    assert line.startswith("snr_0/audio/00011.wav: ")


def test_a_clip_of_another_rate_length_or_kind(copied: Dataset) -> None:
    path = copied.path / "snr_0/audio/00011.wav"
    samples, rate = soundfile.read(path, dtype="int16")
    for other, other_rate, subtype in (
        (samples, rate + 1, "PCM_16"),
        (samples[:-1], rate, "PCM_16"),
        (np.stack([samples, samples], axis=1), rate, "PCM_16"),
        (samples, rate, "PCM_24"),
    ):
        soundfile.write(path, other, other_rate, subtype=subtype)
        (line,) = found(copied)
        assert line.startswith("snr_0/audio/00011.wav: has rate, channels, type and length")
        assert line.endswith("expected (8000, 1, 'PCM_16', 16000)")


def test_a_clip_that_is_not_audio(copied: Dataset) -> None:
    (copied.path / "snr_0/audio/00000.wav").write_text("hello")
    (line,) = found(copied)
    assert line.startswith("snr_0/audio/00000.wav: not readable (")


def test_two_clips_exchanged(copied: Dataset) -> None:
    audio = copied.path / "snr_0" / "audio"
    (audio / "00001.wav").rename(audio / "other.wav")
    (audio / "00002.wav").rename(audio / "00001.wav")
    (audio / "other.wav").rename(audio / "00002.wav")
    assert found(copied) == [f"snr_0/audio/0000{k}.wav: its samples differ from digests.csv" for k in (1, 2)]


def test_stems_of_another_mixture(copied: Dataset) -> None:
    stems = copied.path / "snr_10" / "stems"
    shutil.copy(stems / "00003.wav", stems / "00004.wav")
    assert [line.split(":")[0] for line in found(copied)] == ["snr_10/stems/00004.wav"]


def test_stems_with_their_channels_exchanged(copied: Dataset) -> None:
    def exchange(samples: np.ndarray) -> None:
        samples[:] = samples[:, ::-1].copy()

    replaced(copied.path / "snr_10/stems/00004.wav", exchange)
    assert [line.split(":")[0] for line in found(copied)] == ["snr_10/stems/00004.wav"]


def test_stems_of_two_clips_and_a_missing_one(copied: Dataset) -> None:
    (copied.path / "snr_0/stems/00000.wav").unlink()
    assert found(copied) == ["snr_0/stems/00000.wav: missing"]


@pytest.mark.parametrize(
    "name",
    ["labels/strong.tsv", "labels/weak.tsv", "labels/durations.tsv", "labels/levels.csv", "ATTRIBUTION.csv"],
)
def test_an_altered_table(copied: Dataset, name: str) -> None:
    path = copied.path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert found(copied) == [f"{name}: differs from its digest in dataset.json"]
    path.unlink()
    assert found(copied) == [f"{name}: missing"]


def test_altered_digests(copied: Dataset) -> None:
    path = copied.path / "digests.csv"
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:-1] + ("0" if lines[1][-1] != "0" else "1")
    path.write_text("\n".join([*lines, ""]))
    assert found(copied)[0] == "digests.csv: differs from its digest in dataset.json"
    path.write_bytes(b"\xff\xfe nonsense")
    lines = found(copied)
    assert lines[0] == "digests.csv: differs from its digest in dataset.json"
    assert len(lines) > 24


def test_an_altered_log_mel(copied: Dataset) -> None:
    path = copied.path / "snr_10" / "logmel.npy"
    values = np.load(path)
    values[17, 5, 3] = np.nextafter(values[17, 5, 3], np.float32(1))
    np.save(path, values)
    assert found(copied) == ["snr_10/logmel.npy: the log-mel of clip 00017 differs from logmel_digests.csv"]


@pytest.mark.parametrize("kept", [0, 6, 100, -4])
def test_a_truncated_log_mel(copied: Dataset, kept: int) -> None:
    path = copied.path / "snr_10" / "logmel.npy"
    path.write_bytes(path.read_bytes()[:kept])
    (line,) = found(copied)
    assert line.startswith("snr_10/logmel.npy: ")


def test_a_log_mel_with_a_broken_header(copied: Dataset) -> None:
    path = copied.path / "snr_10" / "logmel.npy"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"'shape': (24", b"'shape': ((4"))  # never closed: read as Python, no expression
    (line,) = found(copied)
    assert line.startswith("snr_10/logmel.npy: ")


def test_a_log_mel_of_another_shape_or_type(copied: Dataset) -> None:
    path = copied.path / "snr_10" / "logmel.npy"
    values = np.load(path)
    for other in (values[:-1], values.astype(np.float64)):
        np.save(path, other)
        (line,) = found(copied)
        assert "expected float32 (24, 124, 12)" in line
    path.unlink()
    (line,) = found(copied)
    assert line.startswith("snr_10/logmel.npy: not there")


@pytest.mark.parametrize(
    "name", ["notes.txt", "snr_0/audio/00024.wav", "snr_0/audio/.00000.wav", "snr_20/audio/00000.wav"]
)
def test_an_extra_file(copied: Dataset, name: str) -> None:
    (copied.path / name).parent.mkdir(parents=True, exist_ok=True)
    (copied.path / name).write_bytes(b"?")
    assert found(copied) == [f"{name}: not a file of this data set"]


def test_unfinished_work_is_one_difference(copied: Dataset) -> None:
    for name in (".work/job.json", ".work/records/snr_20/000000.json", "snr_20/audio/00000.wav"):
        (copied.path / name).parent.mkdir(parents=True, exist_ok=True)
        (copied.path / name).write_bytes(b"?")
    assert found(copied) == [".work: unfinished work; run the `remixbench make` that was interrupted, or delete it"]


@pytest.mark.parametrize("name", ["clips.csv", "events.csv", "SHA256SUMS"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"?")])
def test_a_lost_or_altered_manifest_is_restored_by_make(
    name: str, damage: Callable[[Path], Any], copied: Dataset, corpus: Path, tiny_recipe: Recipe
) -> None:
    before = tiny.tree(copied.path)
    damage(copied.path / "manifest" / name)
    assert len(found(copied)) == 1
    said = Said()
    make(recipe=tiny_recipe, sources=corpus, out=copied.path, stems=True, jobs=1, progress=said)
    assert said.lines[-1].endswith("; manifest restored")
    assert tiny.tree(copied.path) == before


def test_missing_checksums_of_a_manifest(copied: Dataset) -> None:
    (copied.path / "manifest" / "SHA256SUMS").unlink()
    assert found(copied) == ["manifest/SHA256SUMS: missing"]


def test_a_stale_manifest(copied: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    path = copied.path / "manifest" / "events.csv"
    path.write_text(path.read_text().replace("00003,1,", "00003,1,x", 1))
    (line,) = found(copied)
    assert "events.csv: differs from its digest in SHA256SUMS" in line
    (copied.path / "manifest" / "SHA256SUMS").unlink()
    (line,) = found(copied)
    assert "is not the manifest that the data set was made from" in line
    assert run(["-q", "verify", str(copied.path)]) == 1
    assert capsys.readouterr().out.endswith(": 1 difference\n")


def test_a_lost_label_file_is_found_and_made_again(
    copied: Dataset, corpus: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    before = tiny.tree(copied.path)
    (copied.path / "labels" / "strong.tsv").unlink()
    assert found(copied) == ["labels/strong.tsv: missing"]
    make(recipe=tiny_recipe, sources=corpus, out=copied.path, stems=True, snr=copied.snrs[0], jobs=1)
    assert tiny.tree(copied.path) == before


def test_a_source_that_changed_since_is_found_by_rendering_again(copied: Dataset, corpus: Path, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    shutil.copytree(corpus, sources)
    scene = sources / tiny.TAU / "audio" / copied.clips[0].scene_file
    samples, rate = soundfile.read(scene, dtype="int32")
    soundfile.write(scene, samples[::-1], rate, subtype="PCM_24")
    lines = found(copied, deep=1, sources=sources)
    assert [line.split(":")[0] for line in lines] == [
        "snr_0/audio/00000.wav", "snr_0/logmel.npy", "snr_10/audio/00000.wav", "snr_10/logmel.npy"
    ]  # fmt: skip


def test_the_command_prints_each_difference_and_ends_with_1(
    copied: Dataset, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["-q", "verify", str(copied.path), "--deep", "2", "--sources", str(corpus)]) == 0
    assert capsys.readouterr().out == (f"{copied.path}: 24 clips at 2 SNRs, 2 rendered again; no differences\n")
    (copied.path / "snr_0/audio/00000.wav").unlink()
    (copied.path / "labels/weak.tsv").write_text("")
    assert run(["-q", "verify", str(copied.path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{copied.path / 'labels/weak.tsv'}: differs from its digest in dataset.json",
        f"{copied.path / 'snr_0/audio/00000.wav'}: missing",
        f"{copied.path}: 2 differences",
    ]


def test_bad_input_of_verify(copied: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["nowhere"], [str(tmp_path)], [str(copied.path), "--deep", "x"],
                      [str(copied.path), "--deep", "1", "--sources", str(tmp_path)]):  # fmt: skip
        assert run(["-q", "--workspace", str(tmp_path), "verify", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("remixbench: ")
        assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["digests.csv", "stems_digests.csv", "logmel_digests.csv"])
def test_a_lost_table_of_digests_is_one_difference(copied: Dataset, name: str) -> None:
    (copied.path / name).unlink()
    assert found(copied) == [f"{name}: missing"]


@pytest.mark.parametrize("name", [".DS_Store", "snr_0/audio/._00000.wav", "labels/Thumbs.db"])
def test_system_files_are_not_differences(copied: Dataset, name: str) -> None:
    (copied.path / name).write_bytes(b"?")
    assert found(copied) == []
