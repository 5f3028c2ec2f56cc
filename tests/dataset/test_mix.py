"""Mixing: 16-bit rules against libsndfile, levels measured independently from the files, excerpts, overlaps."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pyloudnorm
import pytest
import scipy.signal
import soundfile
import tiny
from hypothesis import given
from hypothesis import strategies as st

from remixbench.dataset import mix as mixing
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.make import make
from remixbench.dataset.manifest import Clip, Event
from remixbench.dataset.mix import Stems, exact_mixture, mixture, to_int16
from remixbench.errors import InputError
from remixbench.recipe import parse_recipe

RATE = 8000


# --- 16 bits


def by_libsndfile(values: np.ndarray, folder: Path) -> np.ndarray:
    soundfile.write(folder / "x.wav", values, RATE, subtype="PCM_16")
    return soundfile.read(folder / "x.wav", dtype="int16")[0]


def test_floor_is_what_libsndfile_makes_of_floats(tmp_path: Path) -> None:
    steps = np.arange(-32768, 32769) / 32768
    below, above = np.nextafter(steps, -2), np.nextafter(steps, 2)
    near = [steps + sign * 2.0**-power for power in (16, 31, 32, 33, 34) for sign in (1, -1)]
    values = np.clip(np.concatenate([steps, below, above, *near]), -1, 1)
    assert np.array_equal(to_int16(values, 1.0, "floor"), by_libsndfile(values, tmp_path))


def test_floor_at_the_ends() -> None:
    values = np.array([1.0, 1 - 2.0**-15, 0.0, -(2.0**-16), -(2.0**-33), -1.0])
    assert to_int16(values, 1.0, "floor").tolist() == [32767, 32767, 0, -1, 0, -32768]


def test_round_is_symmetric_and_reaches_both_ends() -> None:
    values = np.array([1.0, -1.0, 0.0, 1 / 32767, -1 / 32767, 0.4 / 32767])
    assert to_int16(values, 1.0, "round").tolist() == [32767, -32767, 0, 1, -1, 0]
    noise = np.random.default_rng(0).uniform(-3, 3, 5000)
    assert np.array_equal(to_int16(noise, 3.0, "round"), -to_int16(-noise, 3.0, "round"))


SHORT = st.integers(-32768, 32767)


@given(st.lists(st.tuples(SHORT, SHORT), min_size=1, max_size=50))
def test_the_mono_file_is_the_mean_rounded_half_to_even(pairs: list[tuple[int, int]]) -> None:
    both = np.array([*pairs, (32767, 32767), (-32768, -32768), (32767, -32768), (-32768, -32767)], dtype=np.int16)
    stems = Stems(np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1]))
    mean = both.astype(np.float64).mean(axis=1)
    assert np.array_equal(mixture(stems), np.rint(mean))  # numpy's rint rounds halves to even
    assert np.array_equal(exact_mixture(stems), mean / 32768)  # no rounding at all
    assert exact_mixture(stems).dtype == np.float32


# --- levels


def made_with(corpus: Path, folder: Path, **changes: Any) -> Dataset:
    recipe = parse_recipe(tiny.changed(tiny.STRICT, **changes), "changed")
    dataset = make(recipe=recipe, sources=corpus, out=folder / "changed", jobs=1, stems=True, features=False)
    assert dataset is not None
    return dataset


@pytest.fixture(scope="module")
def strict(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return made_with(corpus, tmp_path_factory.mktemp("strict"))


def levels(dataset: Dataset) -> dict[tuple[str, float, int], tuple[float, float]]:
    """Return (target, achieved) of each (clip, ratio, event)."""
    with (dataset.path / "labels" / "levels.csv").open() as file:
        return {
            (row["clip_id"], float(row["snr"]), int(row["event_index"])): (
                float(row["target_db"]), float(row["achieved_db"])
            )
            for row in csv.DictReader(file)
        }  # fmt: skip


def spans(dataset: Dataset) -> dict[str, list[tuple[int, int]]]:
    """Return the first sample and the end of each event of each clip, from strong.tsv."""
    out: dict[str, list[tuple[int, int]]] = {}
    for name, onset, offset, _ in dataset.strong():
        out.setdefault(name, []).append((int(onset * RATE), int(offset * RATE)))
    return out


def alone(dataset: Dataset, snr: float) -> list[tuple[Clip, Event, np.ndarray, np.ndarray]]:
    """Return each event that no other meets: clip, event, its samples and the scene's under it."""
    found = []
    where = spans(dataset)
    for clip, name in zip(dataset.clips, dataset.filenames, strict=True):
        both = soundfile.read(dataset.stems_path(clip, snr))[0]
        for event, (first, end) in zip(clip.events, where[name], strict=True):
            others = [span for span in where[name] if span != (first, end)]
            if len(others) == len(clip.events) - 1 and all(end < a or b < first for a, b in others):
                found.append((clip, event, both[first:end, 0], both[first:end, 1]))
    assert len(found) > 10
    return found


def decibels(above: np.ndarray, below: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(above**2) / np.mean(below**2)))


@pytest.mark.parametrize("snr", [0.0, 10.0])
def test_strict_levels_are_exact_for_the_audible_excerpt(strict: Dataset, snr: float) -> None:
    said = levels(strict)
    for clip, event, excerpt, scene in alone(strict, snr):
        measured = decibels(excerpt, scene)
        target, achieved = said[clip.id, snr, event.index]
        assert target == snr
        assert measured == pytest.approx(snr, abs=0.05)
        assert achieved == pytest.approx(measured, abs=0.02)


def test_strict_levels_are_exact_even_if_events_overlap(strict: Dataset) -> None:
    said = levels(strict)
    assert len(said) == 24 * 3 * 2
    assert max(abs(achieved - target) for target, achieved in said.values()) < 0.05


def test_the_excerpt_is_the_loudest_window_of_its_recording(strict: Dataset, corpus: Path) -> None:
    long = 0
    for _, event, excerpt, _ in alone(strict, 10)[:12]:
        recording, rate = soundfile.read(corpus / tiny.FSD_AUDIO / event.file)
        whole = librosa.resample(recording, orig_sr=rate, target_sr=RATE, res_type="soxr_hq")
        starts = range(max(1, len(whole) - len(excerpt)))
        energies = [float(np.sum(whole[k : k + len(excerpt)] ** 2)) for k in starts]
        loudest = whole[int(np.argmax(energies)) :][: len(excerpt)]
        # one sample of the window may differ: it is chosen with room for a rounded end
        shifts = [np.corrcoef(excerpt[1:-1], np.roll(loudest, k)[1:-1])[0, 1] for k in (-1, 0, 1)]
        assert max(shifts) > 0.999
        long += len(whole) > 0.5 * RATE + 2
    assert long


def test_levels_by_loudness_are_exact_also_under_400_ms(corpus: Path, tmp_path: Path) -> None:
    dataset = made_with(corpus, tmp_path, mix__level="lufs")
    said = levels(dataset)
    assert max(abs(achieved - target) for target, achieved in said.values()) < 0.05
    short = 0
    for clip, event, excerpt, scene in alone(dataset, 10):
        gap = loudness(excerpt) - loudness(scene)
        assert gap == pytest.approx(10, abs=0.05)
        assert said[clip.id, 10, event.index][1] == pytest.approx(gap, abs=0.02)
        short += len(excerpt) < 0.4 * RATE
    assert short


def loudness(samples: np.ndarray) -> float:
    """BS.1770 in LUFS, gated at peak 1, in blocks of about 400 ms that cover the whole signal."""
    peak = np.abs(samples).max()
    samples = samples / peak
    for stage in pyloudnorm.Meter(RATE)._filters.values():
        samples = scipy.signal.lfilter(stage.b, stage.a, samples)
    steps = max(0, round((len(samples) / RATE - 0.4) / 0.1))
    edges = np.linspace(0, len(samples), steps + 5).astype(int)
    power = np.array([np.mean(samples[a:b] ** 2) for a, b in zip(edges[:-4], edges[4:], strict=True)])
    power = power[power >= 10 ** ((-70 + 0.691) / 10)]
    power = power[power > power.mean() / 10]
    return float(-0.691 + 10 * np.log10(power.mean()) + 20 * np.log10(peak))


@pytest.mark.parametrize(
    "seconds", [1 / RATE, 2 / RATE, 0.01, 0.399, 0.4, 0.41, 0.44, 0.451, 0.5, 0.77, 1.234, 2.0, 10.0]
)
def test_loudness_covers_the_whole_signal(seconds: float) -> None:
    samples = np.random.default_rng(3).normal(0, 1e-3, round(seconds * RATE))
    samples[-max(1, min(len(samples), RATE // 33)) :] *= 300  # a click in the last 30 ms
    assert 20 * np.log10(mixing.loudness(samples, RATE)) == pytest.approx(loudness(samples), abs=0.05)


def test_loudness_of_complete_blocks_equals_the_standard() -> None:
    samples = np.random.default_rng(3).normal(0, 0.1, 2 * RATE) * np.linspace(0, 1, 2 * RATE)
    standard = pyloudnorm.Meter(RATE).integrated_loudness(samples / np.abs(samples).max())
    found = 20 * np.log10(mixing.loudness(samples, RATE) / np.abs(samples).max())
    assert found == pytest.approx(standard, abs=1e-3)


def test_levels_of_the_released_definition_are_reported_as_measured(made: Dataset, corpus: Path) -> None:
    said = levels(made)
    spread = []
    for clip, event, excerpt, scene in alone(made, 10):
        measured = decibels(excerpt, scene)
        target, achieved = said[clip.id, 10, event.index]
        assert target == 10
        assert achieved == pytest.approx(measured, abs=0.01)
        # cut to half a second, a recording that is longer has another level than as a whole
        whole = soundfile.read(corpus / tiny.FSD_AUDIO / event.file)[0]
        if len(whole) <= 0.5 * tiny.EVENT_RATE:
            stereo, rate = soundfile.read(corpus / tiny.TAU / "audio" / clip.scene_file)
            background = librosa.resample(stereo.mean(axis=1), orig_sr=rate, target_sr=RATE, res_type="soxr_hq")
            expected = 10 + 10 * np.log10(np.mean(background**2) / np.mean(part(background, event, len(excerpt)) ** 2))
            assert measured == pytest.approx(expected, abs=0.15)
        spread.append(measured)
    assert max(spread) - min(spread) > 1


def test_drawn_events_that_overlap_add_by_either_definition(corpus: Path, tmp_path: Path) -> None:
    dataset = made_with(corpus, tmp_path, mix__snr_reference="recording", mix__excerpt="start", plan__polyphony=3)
    met = 0
    for clip in dataset.clips:
        expected = np.zeros(2 * RATE)
        times = np.zeros(2 * RATE, dtype=int)
        for event in clip.events:
            recording, rate = soundfile.read(corpus / tiny.FSD_AUDIO / event.file)
            whole = librosa.resample(recording, orig_sr=rate, target_sr=RATE, res_type="soxr_hq")
            first = int(event.onset * RATE)
            end = int((event.onset + min(len(recording) / rate, 0.5)) * RATE)
            expected[first:end] += whole[: end - first] / np.sqrt(np.mean(whole**2)) * 10 ** (10 / 20)
            times[first:end] += 1
        stereo, rate = soundfile.read(corpus / tiny.TAU / "audio" / clip.scene_file)
        scene = librosa.resample(stereo.mean(axis=1), orig_sr=rate, target_sr=RATE, res_type="soxr_hq")
        scene /= np.sqrt(np.mean(scene**2))
        peak = max(np.abs(expected).max(), np.abs(scene).max())
        both = soundfile.read(dataset.stems_path(clip, 10), dtype="int16")[0]
        assert np.abs(both[:, 0] - expected / peak * 32767).max() < 0.51
        assert np.abs(both[:, 1] - scene / peak * 32767).max() < 0.51
        met += int((times > 1).any())
    assert met > 3


def part(background: np.ndarray, event: Event, count: int) -> np.ndarray:
    first = int(event.onset * RATE)
    return background[first : first + count]


def test_nothing_clips(strict: Dataset, made: Dataset) -> None:
    for dataset, top in ((strict, 32767), (made, 32768)):
        for clip in dataset.clips:
            both = soundfile.read(dataset.stems_path(clip, 10), dtype="int16")[0].astype(int)
            # the largest sample is full scale exactly, and it is there once: no run of clipped ones
            assert np.abs(both).max() in (top, 32767)
            assert np.sum(np.abs(both) >= 32767) <= 2


def test_a_drawn_spread_of_ratios_is_added_to_the_nominal_one(corpus: Path, tmp_path: Path) -> None:
    dataset = made_with(corpus, tmp_path, plan__snr_spread=[-6, 3], plan__polyphony=1)
    said = levels(dataset)
    offsets = {clip.id: clip.events[0].snr_offset for clip in dataset.clips}
    assert min(offsets.values()) < -2
    assert all(-6 <= offset <= 3 for offset in offsets.values())
    for (clip, snr, _), (target, achieved) in said.items():
        assert target == pytest.approx(snr + offsets[clip])
        assert achieved == pytest.approx(target, abs=0.05)
    for clip, event, excerpt, scene in alone(dataset, 0):
        assert decibels(excerpt, scene) == pytest.approx(event.snr_offset, abs=0.05), clip


def test_an_snr_at_which_the_scene_vanishes_is_nan(corpus: Path, tmp_path: Path) -> None:
    recipe = parse_recipe(tiny.STRICT, "strict")
    dataset = make(recipe=recipe, sources=corpus, out=tmp_path / "loud", jobs=1, snr=[100, -100], clips_per_fold=1)
    assert dataset is not None
    with (dataset.path / "labels" / "levels.csv").open() as file:
        achieved = [row["achieved_db"] for row in csv.DictReader(file)]
    assert "" in achieved
    assert "nan" not in achieved
    assert np.isfinite(dataset.features(100)).all()


def corpus_with_scenes(
    corpus: Path, folder: Path, change: Callable[[np.ndarray], np.ndarray], subtype: str = "PCM_24"
) -> Path:
    """Copy a corpus, with every scene changed."""
    shutil.copytree(corpus, folder)
    for path in (folder / tiny.TAU / "audio").iterdir():
        samples, rate = soundfile.read(path)
        soundfile.write(path, change(samples), rate, subtype=subtype)
    return folder


def middle_times(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return a change of a scene: half a second in its middle, scaled."""

    def change(samples: np.ndarray) -> np.ndarray:
        middle = len(samples) // 2
        samples[middle - tiny.SCENE_RATE // 4 : middle + tiny.SCENE_RATE // 4] *= factor
        return samples

    return change


@pytest.mark.parametrize(("factor", "words"), [(0.0, "the scene is silent under it"), (4e-6, "the scene is so faint")])
def test_an_event_over_a_silent_stretch_of_a_scene_is_refused_by_name(
    factor: float, words: str, corpus: Path, tmp_path: Path
) -> None:
    sources = corpus_with_scenes(corpus, tmp_path / "sources", middle_times(factor))
    # events of at most 0.2 s with onsets in the middle: all of each lies over the stretch
    recipe = parse_recipe(
        tiny.changed(tiny.STRICT, plan__onsets=[0.9], plan__polyphony=1, plan__max_event=0.2, mix__snrs=[0]), "faint"
    )
    with pytest.raises(InputError, match=rf"clip 000\d\d, event \w+\.wav over scene \S+\.wav: {words}.* from 0\.90 to"):
        make(recipe=recipe, sources=sources, out=tmp_path / "d", jobs=1)
    assert not (tmp_path / "d" / "dataset.json").exists()


@pytest.mark.parametrize("factor", [1e-300, 1e-200, 0.0])
@pytest.mark.parametrize("recipe", [tiny.RECIPE, tiny.STRICT])
def test_a_scene_whose_power_is_zero_is_refused_by_name(
    factor: float, recipe: str, corpus: Path, tmp_path: Path
) -> None:
    """Samples of 1e-200 are not zero, but their squares are: a level to divide by does not exist."""
    sources = corpus_with_scenes(corpus, tmp_path / "sources", lambda scene: scene * factor, subtype="DOUBLE")
    with pytest.raises(InputError, match=r"\S+\.wav: .*(silen|so faint that it has no level to mix at)"):
        make(recipe=parse_recipe(recipe, "faint"), sources=sources, out=tmp_path / "d", jobs=1)
    assert not (tmp_path / "d" / "dataset.json").exists()


def test_a_recording_with_a_silent_start_is_mixed_as_released_and_reported(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(corpus, tmp_path / "sources")
    for path in (tmp_path / "sources" / tiny.FSD_AUDIO).iterdir():
        samples, rate = soundfile.read(path)
        soundfile.write(path, np.concatenate([np.zeros(rate), samples]), rate, subtype="PCM_16")
    dataset = make(
        recipe=parse_recipe(tiny.RECIPE, "tiny"), sources=tmp_path / "sources", out=tmp_path / "d", jobs=1, stems=True,
        progress=True,
    )  # fmt: skip
    assert dataset is not None
    assert not dataset.stems("00000", 0)[0].any()
    assert "72 of 72 events have no measured SNR at 0 dB" in capsys.readouterr().err
    with (dataset.path / "labels" / "levels.csv").open() as file:
        assert {row["achieved_db"] for row in csv.DictReader(file)} == {""}
