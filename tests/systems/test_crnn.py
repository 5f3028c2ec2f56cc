"""`crnn`: shapes, cost, frame rate, poolings from first principles, and its own training defaults."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_dataset import CLASSES, fake_dataset
from safetensors.torch import load_file
from watcher import run_json, stop_after

import remixbench
from remixbench.dataset.dataset import Dataset, find_dataset
from remixbench.errors import InputError
from remixbench.inference.system import load_system, window_starts
from remixbench.leaderboard.report.clips import read_run_frames
from remixbench.plots.axes import Scales
from remixbench.plots.figures import draw_recording
from remixbench.systems import Output, build_system, count_cost, spec
from remixbench.systems.crnn import Encoder, TimePooling, time_strides
from remixbench.training.config import flags, list_configs, training_defaults
from remixbench.training.train import train

POOLINGS = spec("crnn").options["pooling"].choices
pytestmark = pytest.mark.usefixtures("one_thread")


def crnn(classes: int = 41, frames: int = 311, n_mels: int = 64, width: float = 1.0, **rest) -> torch.nn.Module:
    return build_system("crnn", classes=classes, frames=frames, n_mels=n_mels, width=width, **rest).eval()


def logmel(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def forward(network: torch.nn.Module, x: torch.Tensor) -> Output:
    with torch.no_grad():
        return network(x)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_cost_at_full_size(pooling: str) -> None:
    cost = count_cost(crnn(options={"pooling": pooling}), 311, 64)
    assert cost.parameters < 1_500_000
    assert cost.macs < 300_000_000


def test_macs_are_those_of_the_layers() -> None:
    """By hand: output positions × input channels × kernel × output channels; an LSTM has four gates per direction."""
    cost = count_cost(crnn(), 311, 64)
    convolutions = (
        156 * 32 * 25 * 16  # stem, both axes halved; then 16 bands
        + 156 * 16 * 9 * 16 * 32  # block 1, then 78 frames, 8 bands
        + 78 * 8 * 9 * 32 * 64
        + 78 * 4 * 9 * 64 * 128
        + 78 * 2 * 9 * 128 * 128
    )
    recurrent = 2 * 78 * 4 * (128 * 128 + 128 * 128)
    beside = 78 * 128 * 256
    assert cost.macs == convolutions + recurrent + beside + 78 * 256 * 41


def test_macs_of_recurrent_layers() -> None:
    """Two layers in both directions of 3 units, over 10 frames of 8 values: gates × (inputs + units) × units each."""
    for kind, gates in ((torch.nn.LSTM, 4), (torch.nn.GRU, 3)):
        network = kind(8, 3, num_layers=2, batch_first=True, bidirectional=True)
        assert count_cost(network, 10, 8).macs == 10 * 2 * gates * ((8 + 3) * 3 + (6 + 3) * 3), kind
        assert count_cost(kind(8, 3), 10, 8).macs == 10 * gates * (8 + 3) * 3, "time first"


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(("frames", "n_mels"), [(311, 64), (39, 24), (5, 3), (1, 1), (80, 128)])
def test_shapes_and_ranges_for_any_size(pooling: str, frames: int, n_mels: int) -> None:
    output = forward(crnn(5, frames, n_mels, 0.25, options={"pooling": pooling}), 5 * logmel(2, frames, n_mels))
    assert output.clip_scores.shape == (2, 5)
    assert output.frame_scores.shape == (2, math.ceil(frames / 2), 5)
    for scores in (output.clip_scores, output.frame_scores):
        assert scores.dtype == torch.float32
        assert scores.min() >= 0
        assert scores.max() <= 1
    assert [name for name, field in output._asdict().items() if field is not None] == ["clip_scores", "frame_scores"]


def test_a_clip_is_scored_alike_alone_and_in_company() -> None:
    network, x = crnn(5), logmel(3, 311, 64)
    torch.testing.assert_close(forward(network, x)[0][1:2], forward(network, x[1:2])[0], atol=1e-6, rtol=0)


def test_frame_scores_are_the_steps_widened_and_those_of_the_clip() -> None:
    """Mean over 0.64 s, five steps, of the maximum over as many; at the edges of those that there are."""
    network, x = crnn(5), logmel(2, 311, 64)
    with torch.no_grad():
        *_, steps, clips = network.classify(x)
    near = [slice(max(0, k - 2), k + 3) for k in range(steps.shape[1])]
    highest = torch.stack([steps[:, part].amax(dim=1) for part in near], dim=1)
    wide = torch.stack([highest[:, part].mean(dim=1) for part in near], dim=1)
    frames = forward(network, x).frame_scores
    for place, weights in ((0, (1.0, 0.0)), (1, (0.75, 0.25)), (2, (0.25, 0.75))):
        expected = (weights[0] * wide[:, 0] + weights[1] * wide[:, 1]) * clips
        torch.testing.assert_close(frames[:, place] ** 2, expected)


def test_clip_scores_begin_near_the_mean_labels() -> None:
    network, prior = crnn(3), torch.tensor([0.02, 0.1, 0.3])
    network.set_prior(prior)
    torch.testing.assert_close(forward(network, logmel(16, 311, 64)).clip_scores.mean(0), prior, atol=0, rtol=0.3)


def test_what_is_stationary_leaves_no_trace() -> None:
    """The level and colour of a scene: one constant per band over the clip."""
    network, x = crnn(5), logmel(2, 311, 64)
    coloured = x + 3 * logmel(2, 1, 64, seed=1)
    torch.testing.assert_close(forward(network, coloured).frame_scores, forward(network, x).frame_scores)


def test_every_weight_learns() -> None:
    for pooling in POOLINGS:
        network = crnn(5, options={"pooling": pooling}).train()
        network(logmel(2, 311, 64)).clip_scores.square().sum().backward()
        assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_the_encoder_keeps_frequency_for_others() -> None:
    """A decoder for maps, say, may read any of the stages."""
    encoder = Encoder().eval()
    with torch.no_grad():
        stages = encoder.stages(logmel(2, 311, 64))
        torch.testing.assert_close(stages[-1], encoder(logmel(2, 311, 64)))
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (16, 156, 16), (32, 78, 8), (64, 78, 4), (128, 78, 2), (128, 78, 1)
    ]  # fmt: skip
    assert [stage.shape[1] for stage in stages] == encoder.channels


# Frame rate


@pytest.mark.parametrize(
    ("logmel_seconds", "strides", "seconds"),
    [(0.032, (2, 2), 0.064), (0.064, (2, 1), 0.064), (0.128, (1, 1), 0.128), (0.01, (2, 2), 0.02), (1, (1, 1), 1)],
)
def test_steps_last_up_to_150_ms_and_frames_half_of_that(
    logmel_seconds: float, strides: tuple[int, int], seconds: float
) -> None:
    assert time_strides(logmel_seconds) == strides
    assert crnn(2, frame_seconds=logmel_seconds).frame_seconds == pytest.approx(seconds)


def test_frame_scores_are_where_the_sound_is() -> None:
    """What changes in frames 160 to 167 of the log-mel changes the features round frame scores 40 and 41."""
    x = logmel(1, 311, 64)
    louder = x.clone()
    louder[:, 160:168] += 3
    centres = []
    for seed in range(8):
        torch.manual_seed(seed)
        encoder = Encoder().eval()
        with torch.no_grad():
            change = (encoder(louder) - encoder(x)).abs().sum((0, 1, 3))
        change = (change - change.median()).clamp_min(0)  # the clip's mean changes everywhere
        centres.append(float((change * torch.arange(78)).sum() / change.sum()))
    assert np.mean(centres) == pytest.approx(40.5, abs=0.25)


# Poolings, on frame scores (1, 2, 1): 0.2 and 0.8


def pooled(pooling: str, exponent: float | None = None) -> float:
    layer = TimePooling(pooling, classes=1, features=3)  # type: ignore[arg-type]
    with torch.no_grad():
        if exponent is not None:
            layer.exponent.fill_(exponent)
        return float(layer(torch.tensor([[[0.2], [0.8]]]), torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])))


def test_poolings_are_their_formulas() -> None:
    assert pooled("mean") == pytest.approx(0.5)
    assert pooled("max") == pytest.approx(0.8)
    assert pooled("linear") == pytest.approx((0.04 + 0.64) / (0.2 + 0.8))
    assert pooled("quadratic") == pytest.approx((0.008 + 0.512) / (0.04 + 0.64))
    e = np.exp
    assert pooled("auto", 1) == pytest.approx((0.2 * e(0.2) + 0.8 * e(0.8)) / (e(0.2) + e(0.8)))
    assert pooled("power", 2) == pytest.approx((0.2**3 + 0.8**3) / (0.2**2 + 0.8**2))


@pytest.mark.parametrize(
    ("pooling", "exponent", "same"),
    [
        ("auto", 0, "mean"),
        ("auto", 1000, "max"),
        ("power", 0, "mean"),
        ("power", 1, "linear"),
        ("power", 2, "quadratic"),
        ("power", 40, "max"),
    ],
)
def test_learned_poolings_hold_the_fixed_ones(pooling: str, exponent: float, same: str) -> None:
    assert pooled(pooling, exponent) == pytest.approx(pooled(same), abs=1e-6)


def test_power_pooling_never_prefers_low_scores() -> None:
    assert pooled("power", -3) == pytest.approx(pooled("mean"))


def test_attention_weighs_frames_by_their_features() -> None:
    layer = TimePooling("attention", classes=1, features=3)
    with torch.no_grad():
        layer.attention.weight.copy_(torch.tensor([[0.0, np.log(3.0), 0.0]]))
        found = float(layer(torch.tensor([[[0.2], [0.8]]]), torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])))
    assert found == pytest.approx((0.2 + 3 * 0.8) / 4)


@pytest.mark.parametrize("pooling", ["quadratic", "linear", "mean", "max", "power"])
def test_small_scores_are_pooled_as_large_ones(pooling: str) -> None:
    """Classes that hardly occur have scores of 1e-5, and are ranked by them."""
    layer = TimePooling(pooling, classes=1, features=3)  # type: ignore[arg-type]
    y, features = torch.tensor([[[0.2], [0.8]]]), torch.zeros(1, 2, 3)
    torch.testing.assert_close(layer(1e-5 * y, features), 1e-5 * layer(y, features))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_of_silence_are_finite(pooling: str) -> None:
    layer = TimePooling(pooling, classes=2, features=3)  # type: ignore[arg-type]
    y = torch.zeros(1, 4, 2, requires_grad=True)
    layer(y, torch.zeros(1, 4, 3)).sum().backward()
    assert torch.isfinite(y.grad).all()


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(InputError, match="option pooling is 'median', expected quadratic or linear or mean or max or"):
        build_system("crnn", classes=5, frames=311, n_mels=64, options={"pooling": "median"})


# Training


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a data set and one run of two epochs."""
    workspace = tmp_path_factory.mktemp("crnn")
    fake_dataset(workspace, hop_length=256)
    train(workspace=workspace, system="crnn", snr=20, epochs=2, precision="32")
    return workspace


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return fake_dataset(tmp_path, hop_length=256)


@pytest.fixture
def run(made: Path) -> Path:
    return made / "runs" / "fake" / "crnn" / "snr_20" / "fold_4" / "seed_0"


def test_it_is_trained_by_its_own_defaults(run: Path, dataset: Dataset) -> None:
    info = run_json(run)
    own = dict(spec("crnn").training_defaults)
    assert own.pop("epochs") > 2
    assert own.pop("min_steps") > 0
    assert "min_steps" not in info  # epochs were given
    assert {name: info[name] for name in own} == own | {"augment": sorted(own["augment"])}
    assert (own["optimizer"], own["schedule"]) == ("adamw", "cosine")
    assert set(own["augment"]) == {"frequency-shift", "time-shift"}
    assert own["ema"] > 0
    assert [flag["code"] for flag in info["flags"]] == ["setting", "setting"]  # epochs, and no least number of steps


def test_each_of_its_defaults_can_be_turned_off_and_is_flagged(dataset: Dataset) -> None:
    for given, text in (
        ({"optimizer": "adam"}, "optimizer adam, default adamw"),
        ({"schedule": "constant"}, "schedule constant, default cosine"),
        ({"augment": "none"}, "augment none, default "),
        ({"ema": 0.0}, "ema 0, default "),
        ({"weight_decay": 0.0}, "weight decay 0, default "),
    ):
        (config,) = list_configs(dataset, system="crnn", snr=20, **given)
        (flag,) = flags(config, dataset.recipe)
        assert flag["text"].startswith(text)
        assert config.folder.startswith("crnn,")
    (plain,) = list_configs(dataset, system="crnn", snr=20)
    assert (flags(plain, dataset.recipe), plain.folder) == ([], "crnn")


def test_others_keep_theirs(dataset: Dataset) -> None:
    assert training_defaults("gap", dataset.recipe)["optimizer"] == "adam"
    assert training_defaults("gap", dataset.recipe)["width"] == 0.25
    assert training_defaults("crnn", dataset.recipe)["width"] == 1.0


def test_published_systems_take_the_same_training(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    folder = train(
        workspace=tmp_path, system="gap", snr=20, epochs=1, precision="32", augment=["mixup", "time-shift"],
        optimizer="adamw", schedule="cosine", ema=0.9,
    )[0]  # fmt: skip
    assert {flag["code"] for flag in run_json(folder)["flags"]} == {"setting", "training"}


def test_an_interrupted_run_ends_with_the_same_weights(made: Path, tmp_path: Path) -> None:
    fake_dataset(tmp_path, hop_length=256)
    settings = {"workspace": tmp_path, "system": "crnn", "snr": 20, "epochs": 2, "precision": "32"}
    with pytest.raises(KeyboardInterrupt):
        train(**settings, progress=stop_after(40))
    torch.manual_seed(99)
    (folder,) = train(**settings)
    whole = load_file(made / "runs/fake/crnn/snr_20/fold_4/seed_0/model.safetensors")
    for name, tensor in load_file(folder / "model.safetensors").items():
        assert torch.equal(tensor, whole[name]), name


def test_it_learns(tmp_path: Path) -> None:
    fake_dataset(tmp_path)
    settings = {"width": 0.25, "epochs": 20, "learning_rate": 0.005, "batch_size": 4, "precision": "32"}
    folder = train(workspace=tmp_path, system="crnn", snr=20, **settings)[0]
    assert float(run_json(folder)["validation_micro_ap"]) > 0.7


# Its frame rate in all that follows training: 61 frames of 32 ms here, so 31 frame scores of 64 ms


def test_frame_scores_are_written_at_its_own_rate(run: Path) -> None:
    with np.load(run / "predictions" / "frames.npz") as saved:
        assert saved["scores"].shape == (12, 31, len(CLASSES))
        assert saved["frame_seconds"] == pytest.approx(0.064)
    assert run_json(run)["frame_seconds"] == pytest.approx(0.032)  # of the log-mel


def test_frame_scores_are_scored_in_seconds(made: Path) -> None:
    remixbench.score(workspace=made)
    found = json.loads((made / "runs/fake/crnn/snr_20/fold_4/seed_0/metrics.json").read_text())
    assert 0 < found["metrics"]["frame_ap"] <= 1


def test_predict_gives_its_frames(run: Path) -> None:
    system = load_system(run)
    assert (system.frame_seconds, system.logmel_frame_seconds) == (pytest.approx(0.064), pytest.approx(0.032))
    draw = np.random.default_rng(0)
    for seconds, frames in ((2.0, 31), (0.5, 7), (5.3, 82)):
        prediction = system.predict(draw.normal(0, 0.1, round(8000 * seconds)), 8000)
        assert prediction.frame_seconds == pytest.approx(0.064)
        assert prediction.frames.shape == (frames, len(CLASSES))
        assert np.isfinite(prediction.frames).all()


def test_windows_of_a_long_recording_are_in_place(run: Path) -> None:
    """121 frames in windows of 61 that begin at 0, 30 and 60, so with frame scores 0, 15 and 30: where only one window
    has a frame score, it is that window's.
    """
    system = load_system(run)
    recording = system.extract_features(np.random.default_rng(1).normal(0, 0.1, 512 + 120 * 256), 8000)
    assert window_starts(len(recording.logmel), 61, 2.0) == [0, 15, 30]
    whole = system.predict_features(recording).frames
    x = torch.from_numpy(system.model.standardisation.apply(recording.logmel))
    first, second, third = (forward(system.network, x[None, start : start + 61])[1][0] for start in (0, 30, 60))
    np.testing.assert_allclose(whole[:15], first[:15], atol=1e-6)
    np.testing.assert_allclose(whole[15:30], (first[15:30] + second[:15]) / 2, atol=1e-6)
    np.testing.assert_allclose(whole[46:], third[16:], atol=1e-6)


def test_pictures_hold_frame_scores_over_the_log_mels_frames(dataset: Dataset) -> None:
    scales = Scales.of(dataset.recipe)
    scores = np.arange(31, dtype=np.float32)[:, None]
    held = scales.hold(scores, 0.064)
    assert held[:, 0].tolist() == [frame // 2 for frame in range(61)]
    np.testing.assert_array_equal(scales.hold(held, 0.032), held)


def test_a_picture_is_drawn(run: Path, made: Path, tmp_path: Path) -> None:
    system = load_system(run)
    recording = system.extract_features(np.random.default_rng(1).normal(0, 0.1, 8000 * 3), 8000)
    draw_recording(system, recording, system.predict_features(recording), "noise", tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size > 0
    assert read_run_frames(run, find_dataset(made, "fake"), [36]).shape == (1, 61, len(CLASSES))
