"""Systems on embeddings, end to end: trained, predicted, probed, scored, drawn; and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tiny import RECIPE, changed, write_corpus, write_recipe
from tiny_encoders import write_encoder

from remixbench.dataset.make import make
from remixbench.errors import InputError
from remixbench.inference.probes import predict_probes
from remixbench.inference.recordings import predict
from remixbench.inference.system import load_system
from remixbench.leaderboard.score import score
from remixbench.recipe import load_recipe
from remixbench.systems import build_system, load_encoder
from remixbench.systems.building import EmbeddingShape
from remixbench.systems.embedding_heads import interpolate
from remixbench.training.data import EMBEDDING_FLOOR, fit_standardisation
from remixbench.training.embeddings import embed
from remixbench.training.train import train

OWN_SYSTEMS = '''
import torch
from torch import nn
from remixbench.systems import Output


class OnEmbeddings(nn.Module):
    """A linear layer on the embeddings."""

    inputs = "embeddings"

    def __init__(self, dimensions, embedding_seconds, classes):
        super().__init__()
        self.layer = nn.Linear(dimensions, classes)
        self.frame_seconds = embedding_seconds

    def forward(self, embeddings):
        frames = torch.sigmoid(self.layer(embeddings))
        return Output(frames.mean(dim=1), frames)


class OnBoth(nn.Module):
    """Linear layers on both, with a training step of its own."""

    inputs = ("logmel", "embeddings")

    def __init__(self, n_mels, dimensions, classes):
        super().__init__()
        self.local, self.pretrained = nn.Linear(n_mels, classes), nn.Linear(dimensions, classes)

    def forward(self, logmel, embeddings):
        assert logmel.shape[1] == 124 and embeddings.shape[1:] == (20, 6)
        frames = torch.sigmoid(self.local(logmel) + self.pretrained(embeddings).mean(1, True))
        return Output(frames.mean(dim=1), frames)

    def training_step(self, logmel, embeddings, y):
        return nn.functional.binary_cross_entropy(self(logmel, embeddings).clip_scores, y)


class WrongFrames(OnEmbeddings):
    """Does not say its frame rate."""

    def __init__(self, dimensions, embedding_seconds, classes):
        super().__init__(dimensions, embedding_seconds, classes)
        self.frame_seconds = None
'''
BUNDLED = ("emb-linear", "emb-mlp", "crnn-emb")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a small data set, and an encoder in a file."""
    workspace = tmp_path_factory.mktemp("on-embeddings")
    write_corpus(workspace / "sources")
    recipe = load_recipe(write_recipe(workspace, changed(RECIPE, plan__clips_per_fold=12)))
    make(recipe=recipe, workspace=workspace, jobs=1)
    write_encoder(workspace)
    (workspace / "own.py").write_text(OWN_SYSTEMS)
    return workspace


@pytest.fixture
def workspace(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "work", ignore=shutil.ignore_patterns("sources"))
    return tmp_path / "work"


def options(workspace: Path) -> dict[str, str | float]:
    return {"encoder": f"{workspace / 'tiny_encoder.py'}:TinyEncoder"}


def fitted(workspace: Path, system: str | tuple[str, ...], **settings: object) -> list[Path]:
    values = {"snr": 0, "epochs": 2, "precision": "32", "device": "cpu", "options": options(workspace)} | settings
    return train(workspace=workspace, system=system, **values)  # type: ignore[arg-type]


def test_trained_predicted_probed_and_scored(workspace: Path) -> None:
    runs = fitted(workspace, BUNDLED)
    assert [run.relative_to(workspace / "runs" / "tiny").parts[0] for run in runs] == [
        f"{system},encoder=TinyEncoder" for system in BUNDLED
    ]
    encoder = load_encoder(str(options(workspace)["encoder"]))
    for run, steps, seconds in zip(runs, (20, 20, 62), (0.1, 0.1, 0.032), strict=True):
        info = json.loads((run / "run.json").read_text())
        assert info["encoder_digest"] == encoder.digest
        assert info["encoder"]["pretrained_on"] == ["Noise"]
        assert info["encoder"]["parameters"] == 1134
        assert info["encoder"]["macs"] == 2 * 400 * 8 * 20 // 2 + 20 * 8 * 6 * 20
        with safe_open(run / "model.safetensors", framework="pt") as file:
            stored = sum(file.get_tensor(name).numel() for name in file.keys() if name.startswith("network."))  # noqa: SIM118
        assert stored < info["parameters"] + 1000  # running statistics of norms; none of the encoder's weights
        frames = np.load(run / "predictions" / "frames.npz")
        assert frames["scores"].shape == (12, steps, 4)
        assert float(frames["frame_seconds"]) == pytest.approx(seconds)
        name = str(frames["filename"][0])
        (again,) = predict(run, workspace / "datasets" / "tiny" / "snr_0" / "audio" / name, device="cpu").values()
        assert again.frames.shape == (steps, 4)
        assert np.abs(again.frames - frames["scores"][0]).max() < 2e-3
        probes = predict_probes(run, workspace=workspace, device="cpu")
        assert probes.snrs == [10.0]
        assert probes.shifts
    board = score(workspace=workspace)
    assert {row.name for row in board.rows} == {f"{system},encoder=TinyEncoder" for system in BUNDLED}


def test_a_shift_is_of_the_waveform(workspace: Path) -> None:
    """The encoder hears the rolled clip; a shift by whole frames of the embeddings moves its frame scores."""
    (run,) = fitted(workspace, "emb-linear")
    system = load_system(run)
    clip = np.load(workspace / "datasets" / "tiny" / "snr_0" / "logmel.npy")  # of another kind than it takes
    with pytest.raises(InputError, match="waveform of 124 × 12"):
        system.forward(clip[0])
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    here, rolled = (system.forward(x).frame_scores[0].numpy() for x in (noise, np.roll(noise, 1600)))
    assert np.abs(np.roll(here, 2, axis=0) - rolled)[3:-1].max() < 1e-3
    assert np.abs(here - rolled)[3:-1].max() > 1e-2


def test_needs_no_logmel(original: Path, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, RECIPE))
    make(recipe=recipe, sources=original / "sources", workspace=tmp_path, jobs=1, snr=0, features=False)
    write_encoder(tmp_path)
    assert fitted(tmp_path, "emb-linear")
    with pytest.raises(InputError, match=r"logmel\.npy: not there"):
        fitted(tmp_path, "crnn-emb")


def test_predict_refuses_another_encoder(workspace: Path) -> None:
    (run,) = fitted(workspace, "emb-linear")
    audio = workspace / "datasets" / "tiny" / "snr_0" / "audio" / "00000.wav"
    write_encoder(workspace, seed=1)
    with pytest.raises(InputError, match=r"encoder 'TinyEncoder' .*not those that the run was trained with"):
        predict(run, audio, device="cpu")
    write_encoder(workspace)
    assert predict(run, audio, device="cpu")
    (workspace / "tiny_encoder.py").unlink()
    with pytest.raises(InputError, match=r"the run needs the encoder that it was trained with: .*no such file"):
        predict(run, audio, device="cpu")


def test_the_digest_of_the_encoder_is_part_of_a_run(workspace: Path) -> None:
    (run,) = fitted(workspace, "emb-linear")
    before = (run / "model.safetensors").stat().st_mtime_ns
    moved = {"encoder": write_encoder(workspace / "elsewhere")}
    assert fitted(workspace, "emb-linear", options=moved) == [run]
    assert (run / "model.safetensors").stat().st_mtime_ns == before
    write_encoder(workspace, seed=1)
    (other,) = fitted(workspace, "emb-linear")
    assert other != run
    assert len(list((run.parents[3] / "..").resolve().rglob("model.safetensors"))) == 2


def test_altered_embeddings_are_not_trained_on(workspace: Path) -> None:
    (path,) = embed(str(options(workspace)["encoder"]), workspace=workspace, snr=0)
    values = np.load(path, mmap_mode="r+")
    values[:, 1] += 1
    values.flush()
    with pytest.raises(InputError, match=r"the embeddings of clip 000.. were altered"):
        fitted(workspace, "emb-mlp")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"options": {}}, r"'emb-linear' takes the embeddings of an encoder: add --option encoder=NAME"),
        ({"options": {"encoder": "nothing"}}, "unknown encoder 'nothing'"),
        ({"fresh": True}, "--fresh: mixes clips anew in every epoch, but system 'emb-linear' takes embeddings"),
        ({"augment": "specaugment"}, "--augment specaugment: alters log-mel, but system 'emb-linear' takes embeddings"),
    ],
)
def test_settings_that_cannot_be(workspace: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fitted(workspace, "emb-linear", **settings)
    assert not (workspace / "runs").exists()


def test_systems_of_ones_own(workspace: Path) -> None:
    runs = fitted(workspace, (f"{workspace / 'own.py'}:OnEmbeddings", f"{workspace / 'own.py'}:OnBoth"))
    shapes = [np.load(run / "predictions" / "frames.npz")["scores"].shape for run in runs]
    assert shapes == [(12, 20, 4), (12, 124, 4)]
    for run in runs:
        (one,) = predict(run, workspace / "datasets" / "tiny" / "snr_0" / "audio" / "00000.wav", device="cpu").values()
        assert np.isfinite(one.frames).all()
    with pytest.raises(InputError, match=r"its frame_scores are \(2, 20, 4\), expected \(2, 124, 4\)"):
        fitted(workspace, f"{workspace / 'own.py'}:WrongFrames")


def test_memory_or_disk_give_the_same_training(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for part in (0.5, 0.0):  # everything in memory, or read batch by batch
        monkeypatch.setattr("remixbench.training.data.MEMORY_PART", part)
        (run,) = fitted(workspace, "crnn-emb", rerun=True)
        digests.append(json.loads((run / "run.json").read_text())["results"]["model.safetensors"])
    assert digests[0] == digests[1]


@pytest.mark.parametrize("embedding_seconds", [0.04, 0.128, 0.5, 1.0])
def test_frame_scores_have_the_finer_rate(embedding_seconds: float) -> None:
    frames = round(10 / embedding_seconds)
    shape = EmbeddingShape(frames, 7, embedding_seconds)
    network = build_system(
        "crnn-emb", classes=3, frames=311, n_mels=64, width=0.25, frame_seconds=0.032, embedding=shape
    )
    output = network(torch.randn(2, 311, 64), torch.randn(2, frames, 7))
    assert network.frame_seconds == (embedding_seconds if embedding_seconds < 0.128 else 0.064)
    assert output.frame_scores.shape == (2, frames if embedding_seconds < 0.128 else 156, 3)
    assert output.clip_scores.shape == (2, 3)


@pytest.mark.parametrize(("steps", "frames", "ratio"), [(20, 78, 0.256), (78, 20, 3.9), (21, 21, 1.0), (5, 100, 0.05)])
def test_interpolation_keeps_times(steps: int, frames: int, ratio: float) -> None:
    middles = (torch.arange(steps) + 0.5)[None, :, None]
    expected = ((torch.arange(frames) + 0.5) * ratio).clamp(0.5, steps - 0.5)
    assert torch.allclose(interpolate(middles, frames, ratio)[0, :, 0], expected, atol=1e-4)


def test_dimensions_that_are_nearly_always_zero_do_not_reach_hundreds() -> None:
    """A dimension that is active in few training frames is divided by no less than half the typical deviation."""
    draw = np.random.default_rng(0)
    values = draw.normal(0, 1, (20, 30, 8)).astype(np.float32)
    values[..., 7] = 0
    values[0, 0, 7] = 0.01
    values[..., 6] = 3.0  # never changes
    free = fit_standardisation(values, np.arange(20))
    assert free.apply(np.full(8, 1.0, np.float32))[7] > 1000
    scale = fit_standardisation(values, np.arange(20), EMBEDDING_FLOOR)
    assert abs(scale.apply(np.full(8, 1.0, np.float32))[7]) < 3
    assert np.allclose(scale.std[:6], free.std[:6])
    assert np.isfinite(scale.apply(values)).all()
    constant = fit_standardisation(np.ones((3, 4, 2), np.float32), np.arange(3), EMBEDDING_FLOOR)
    assert constant.std.tolist() == [1, 1]
