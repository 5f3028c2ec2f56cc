"""Pictures: real axes, what is drawn from which file, and one-line errors. How they look was judged by eye."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

import soundfile
from fake_dataset import CLASSES, LENGTH, ONSETS, fake_dataset
from fake_runs import about_run

from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError
from remixbench.files import write_sealed
from remixbench.plots.axes import Scales, envelope, short_levels
from remixbench.plots.figures import KEPT_CLASSES, draw_activations, shown_classes
from remixbench.plots.show import show
from remixbench.plots.view import Activations, find_clip, view_clip
from remixbench.recipe import load_recipe

RATE = 8000


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made = fake_dataset(tmp_path_factory.mktemp("workspace"), clips_per_fold=4)
    draw = np.random.default_rng(0)
    for kind, shape in (("audio", (2 * RATE,)), ("stems", (2 * RATE, 2))):
        folder = made.path / "snr_20" / kind
        folder.mkdir()
        soundfile.write(folder / "00003.wav", draw.uniform(-0.5, 0.5, shape), RATE, subtype="PCM_16")
    (made.path / "labels" / "levels.csv").write_text(
        "clip_id,snr,event_index,event_label,target_db,achieved_db,target_is_on\n"
        "00003,0,0,Bark,0,7.25,rms of recording\n"
        "00003,20,0,Bark,20,18.5,rms of recording\n"
        "00003,20,1,Bark,20,,rms of recording\n"
    )
    return made


def workspace_of(dataset: Dataset) -> Path:
    return dataset.path.parents[1]


def text_of(svg: Path) -> str:
    return " ".join(re.findall(r">([^<>]+)</(?:text|tspan)>", svg.read_text(encoding="utf-8")))


def test_a_frame_is_drawn_around_the_middle_of_its_window() -> None:
    scales = Scales.of(load_recipe("remix2019"))
    # 2048 samples every 1024 at 32 kHz: the first window's middle is at 32 ms, frames are 32 ms apart
    assert scales.span == pytest.approx((0.016, 0.016 + 311 * 0.032))


def test_bands_stand_at_the_peaks_of_the_mel_bank() -> None:
    from librosa.filters import mel

    scales = Scales.of(load_recipe("remix2019"))
    bank = mel(sr=32000, n_fft=2**16, n_mels=64, fmin=50, fmax=16000)
    peaks = bank.argmax(axis=1) * 32000 / 2**16
    assert scales.band_of(peaks) == pytest.approx(np.arange(64), abs=0.02)
    places, names = scales.ticks()
    assert names == ["100", "500", "1k", "2k", "4k", "8k"]
    assert scales.band_of([100, 8000]) == pytest.approx([places[0], places[-1]])


def test_an_envelope_keeps_the_extremes() -> None:
    low, high = envelope(np.array([0, 3, -1, 0, 2, 2, -5, 1], np.float32), 2)
    assert (low.tolist(), high.tolist()) == ([-1, -5], [3, 2])


def test_levels_are_decibels_below_full_scale_and_silence_is_a_gap() -> None:
    signal = np.concatenate([np.full(10, 1.0), np.full(10, -0.1), np.zeros(10)]).astype(np.float32)
    assert short_levels(signal, 10) == pytest.approx([0, -20, np.nan], nan_ok=True, abs=1e-5)


def test_a_view_holds_events_with_the_levels_of_its_ratio(dataset: Dataset) -> None:
    view = view_clip(dataset, find_clip(dataset, "00003.wav"), 20.0)
    assert [bar.onset for bar in view.bars] == list(ONSETS)
    assert [bar.offset - bar.onset for bar in view.bars] == pytest.approx([LENGTH, LENGTH])
    assert [(bar.target, bar.achieved) for bar in view.bars] == [(20, 18.5), (20, None)]
    assert view.stems is not None
    assert view.stems.shape == (2, 2 * RATE)


@pytest.mark.parametrize(
    ("column", "row"),
    [("snr", "00000,loud,0,0,0"), ("event_index", "00000,20,first,0,0"), ("achieved_db", "00000,20,0,0,high")],
)
def test_levels_that_are_no_numbers_are_refused_by_name(tmp_path: Path, column: str, row: str) -> None:
    made = fake_dataset(tmp_path, clips_per_fold=4)
    file = made.path / "labels" / "levels.csv"
    file.write_text(f"clip_id,snr,event_index,target_db,achieved_db\n{row}\n")
    (made.path / "snr_20" / "audio").mkdir()
    soundfile.write(made.audio_path("00000", 20), np.zeros(2 * RATE), RATE, subtype="PCM_16")
    with pytest.raises(InputError, match=rf"levels\.csv, line 2, column '{column}': '\w+' is not a number"):
        view_clip(made, 0, 20.0)


def test_audio_and_stems_of_a_clip_are_read_once(made: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    snr = max(made.snrs)
    samples, rate = soundfile.read(made.audio_path("00003", snr), dtype="float32")
    stems, _ = soundfile.read(made.stems_path("00003", snr), dtype="float32")
    read, calls = soundfile.read, []
    monkeypatch.setattr(soundfile, "read", lambda *args, **options: calls.append(args) or read(*args, **options))
    view = view_clip(made, 3, snr)
    assert len(calls) == 2
    assert view.rate == rate
    assert np.array_equal(view.samples, samples)
    assert view.stems is not None
    assert np.array_equal(view.stems, [stems[:, :-1].sum(axis=1), stems[:, -1]])


@pytest.mark.parametrize("name", ["00003", "00003.wav", "some/folder/00003.flac"])
def test_a_clip_is_found_by_id_or_file_name(dataset: Dataset, name: str) -> None:
    assert find_clip(dataset, name) == 3


def test_an_unknown_clip_is_refused_with_the_nearest(dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"no clip '3.wav' \(did you mean '00003'\?\); it has 00000 to 00015"):
        find_clip(dataset, "3.wav")


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_the_suffix_chooses_the_format(dataset: Dataset, tmp_path: Path, suffix: str, start: bytes) -> None:
    file = show(clip="00003", workspace=workspace_of(dataset), out=tmp_path / f"clip.{suffix}")
    assert file.read_bytes().startswith(start)


def test_the_overview_names_events_levels_and_units_and_is_the_same_again(dataset: Dataset, tmp_path: Path) -> None:
    first, second = (
        show(clip="00003", workspace=workspace_of(dataset), out=tmp_path / f"{name}.svg") for name in ("a", "b")
    )
    assert first.read_bytes() == second.read_bytes()
    text = text_of(first)
    assert first.read_bytes().startswith(b"<?xml")
    view = view_clip(dataset, 3, 20.0)
    for expected in (*view.labels, "SNR +18.5 dB (target 20)", "Time (s)", "Frequency (Hz)", "Magnitude (dB)", "scene"):
        assert expected in text


def test_another_suffix_is_refused_before_anything_is_drawn(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"clip\.jpg: cannot write '\.jpg'; expected a name ending in \.png"):
        show(clip="00003", workspace=workspace_of(dataset), out=tmp_path / "clip.jpg")


def test_missing_audio_is_named(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"snr_20.audio.00001\.wav: not there"):
        show(clip="00001", workspace=workspace_of(dataset), out=tmp_path / "clip.png")


def test_without_matplotlib_the_remedy_is_given(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install 'remixbench\[report\]'"):
        show(clip="00003", workspace=workspace_of(dataset), out=tmp_path / "clip.png")


def activations(dataset: Dataset, **more: Any) -> Activations:
    frames = dataset.recipe.frames
    scores = np.linspace(0.1, 0.9, len(CLASSES), dtype=np.float32)
    return Activations(scores, np.tile(scores, (frames, 1)), **more)


def picture_text(dataset: Dataset, tmp_path: Path, what: Activations, classes: tuple[str, ...] = CLASSES) -> str:
    out = tmp_path / "figure2.svg"
    draw_activations(view_clip(dataset, 3, 20.0), what, classes, "title", out)
    return text_of(out)


def test_panels_that_a_system_cannot_fill_are_left_out(dataset: Dataset, tmp_path: Path) -> None:
    plain = activations(dataset)
    text = picture_text(dataset, tmp_path, plain)
    assert sorted(re.findall(r"\(([a-i])\) ([A-Z]\w+)", text)) == [("a", "Log"), ("b", "Frame"), ("c", "Clip")]
    shape = (len(CLASSES), dataset.recipe.frames, 16)
    maps = activations(dataset, tf_maps=np.ones(shape, np.float32))
    text = picture_text(dataset, tmp_path, maps)
    assert sorted(re.findall(r"\(([a-i])\) ([A-Z]\w+)", text)) == [
        ("a", "Log"), ("b", "Class"), ("c", "Class"), ("d", "Class"), ("e", "Frame"), ("f", "Clip"),
    ]  # fmt: skip


def test_nine_panels_for_a_two_step_system(dataset: Dataset, tmp_path: Path) -> None:
    shape = (len(CLASSES), dataset.recipe.frames, 16)
    text = picture_text(
        dataset,
        tmp_path,
        activations(
            dataset,
            tf_maps=np.ones(shape, np.float32),
            frequency_attention=np.full(shape, 1 / 16, np.float32),
            time_attention=np.full(shape[:2], 1 / shape[1], np.float32),
            reconstruction=np.zeros(shape[1:], np.float32),
            raw_frame_scores=np.zeros((shape[1], shape[0]), np.float32),
        ),
    )
    assert sorted(re.findall(r"\(([a-i])\) [A-Z]", text)) == list("abcdefghi")
    # the three most probable classes, with their scores
    for expected in ("Knock 0.90", "Flute 0.70", "Cough 0.50", "(f) Frame scores, oriented", "(h) First step, raw"):
        assert expected in text


def test_of_many_classes_the_highest_and_the_references_are_shown() -> None:
    labels = [f"class {k}" for k in range(100)]
    scores = np.linspace(0, 1, 100, dtype=np.float32)
    kept = shown_classes(scores, labels, ["class 2"])
    assert kept == [2, *range(100 - KEPT_CLASSES + 1, 100)]


def test_a_label_is_never_read_as_a_formula(dataset: Dataset, tmp_path: Path) -> None:
    odd = ("$\\frac{", "a_b^c", "<script>", "&amp;", "Knock")
    text = picture_text(dataset, tmp_path, activations(dataset), odd)
    assert "$\\frac{" in text
    assert "&lt;script&gt;" in text


def run_json(dataset: Dataset, system: str) -> dict[str, Any]:
    from remixbench.training.config import list_configs

    return {**about_run(dataset), **list_configs(dataset, system=system, snr=20)[0].to_json(), "flags": []}


def untrained_run(dataset: Dataset, system: str) -> Path:
    """Write a run as `train` leaves it, with the network's first weights."""
    from remixbench.systems import build_system, resolve_options
    from remixbench.training.data import Standardisation
    from remixbench.training.model_file import ModelConfig, write_model

    recipe = dataset.recipe
    sizes = {"frames": recipe.frames, "bands": recipe.features.n_mels}
    network = build_system(
        system, classes=len(CLASSES), frames=recipe.frames, n_mels=recipe.features.n_mels, width=0.25
    )
    folder = workspace_of(dataset) / "runs" / "fake" / system / "snr_20" / "fold_4" / "seed_0"
    level, even = np.full(sizes["bands"], -8, np.float32), np.full(len(CLASSES), 0.5, np.float32)
    write_model(
        folder / "model.safetensors",
        ModelConfig(
            system=system,
            options=resolve_options(system),
            width=0.25,
            classes=CLASSES,
            frames=recipe.frames,
            n_mels=recipe.features.n_mels,
            recipe=recipe.model_dump(mode="json", include={"mix", "features"}),
            digest="0" * 64,
        ),
        network.state_dict(),
        Standardisation(level, np.ones_like(level)),
        even,
        even.copy(),
    )
    write_sealed(folder / "run.json", run_json(dataset, system))
    return folder


def test_a_run_shows_what_its_network_hears(dataset: Dataset, tmp_path: Path) -> None:
    workspace = workspace_of(dataset)
    folder = untrained_run(dataset, "2ap-aux")
    out = show(clip="00003", workspace=workspace, run=folder.relative_to(workspace), out=tmp_path / "run.svg")
    text = text_of(out)
    assert "2ap-aux, fake, clip 00003, park, 20 dB, training clip" in text
    assert "Weight (1 = even)" in text
    assert "(f) Frame scores, oriented" in text
    assert "First step, raw" in text


def test_a_folder_that_is_no_run_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"nowhere: not a run \(no run\.json in it\)"):
        show(clip="00003", workspace=workspace_of(dataset), run="nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "training"}, "the run is not finished; `remixbench train` resumes it"),
        ({"snr": "loud"}, r"run\.json: snr: found 'loud'; expected a number; delete it and train again"),
        (
            {"flags": [{"code": "fraction", "text": "half", "why": 1}]},
            r"unknown key 'flags\.0\.why'; the keys are code, text",
        ),
        ({"format": 9}, "format 9, this version reads format 3"),
    ],
)
def test_a_run_that_cannot_be_used_is_refused(
    dataset: Dataset, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    write_sealed(tmp_path / "run.json", run_json(dataset, "gap") | change)
    with pytest.raises(InputError, match=message):
        show(clip="00003", workspace=workspace_of(dataset), run=tmp_path)


def test_a_run_on_other_log_mel_is_refused(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    run = untrained_run(dataset, "gap")
    half = dataset.features(20.0)[:, :, :8]
    monkeypatch.setattr(Dataset, "features", lambda _self, _snr: half)
    with pytest.raises(InputError, match=r"clip 00003: log-mel of \d+ × 8 \(frames × bands\), .* trained on \d+ × 16"):
        show(clip="00003", workspace=workspace_of(dataset), run=run)


def test_the_command_prints_the_file(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from remixbench.cli import run

    monkeypatch.chdir(tmp_path)
    workspace = str(workspace_of(dataset))
    assert run(["--workspace", workspace, "show", "00003"]) == 0
    assert capsys.readouterr().out == "00003.png\n"
    assert (tmp_path / "00003.png").is_file()
    assert run(["--workspace", workspace, "show", "00003", "--snr", "5"]) == 2
    assert "has no SNR of 5 dB" in capsys.readouterr().err
