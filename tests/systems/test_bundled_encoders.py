"""The bundled encoders against the runtime of their publisher, and their files where these are missing or broken."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from paths import SHARED
from torch import nn

from remixbench.errors import InputError
from remixbench.systems import aisfx, load_encoder, yamnet
from remixbench.systems.encoders import PretrainedEncoder, check_encoder

YAMNET = SHARED / "models" / "yamnet_spectra_in.tflite"
needs_yamnet = pytest.mark.skipif(not YAMNET.is_file(), reason="yamnet_spectra_in.tflite is not there")

# the largest dimensions of the embedding of the third patch of each sound, by the 8-bit model in ai-edge-litert 2.3.0
LITERT = {
    "tone": {648: 5.29, 296: 4.76, 898: 4.06, 267: 3.82, 130: 3.73, 585: 3.64, 591: 3.4, 40: 3.24},
    "noise": {715: 3.03, 386: 2.94, 471: 2.68, 344: 2.17, 784: 2.1, 436: 2.0, 513: 1.93, 944: 1.52},
    "clicks": {284: 3.31, 263: 3.29, 848: 2.47, 332: 1.82, 225: 1.8, 715: 1.03, 591: 0.82, 81: 0.75},
    "sweep": {715: 2.98, 591: 2.89, 296: 1.42, 600: 1.31, 643: 1.24, 648: 1.19, 263: 1.1, 898: 1.03},
}


def sounds() -> dict[str, np.ndarray]:
    time, draw = np.arange(32000) / 16000, np.random.default_rng(0)
    return {
        "tone": 0.3 * np.sin(2 * np.pi * 440 * time),
        "noise": 0.1 * draw.standard_normal(len(time)),
        "clicks": (np.sin(2 * np.pi * 5 * time) > 0.99) * draw.standard_normal(len(time)) * 0.5,
        "sweep": 0.3 * np.sin(2 * np.pi * (200 * time + 900 * time * time)),
    }


@pytest.fixture(scope="module")
def loaded_yamnet() -> PretrainedEncoder:
    return load_encoder(f"yamnet@{YAMNET}")


@needs_yamnet
def test_yamnet_agrees_with_the_runtime_of_its_publisher(loaded_yamnet: PretrainedEncoder) -> None:
    for name, sound in sounds().items():
        embedding = loaded_yamnet.encode(torch.from_numpy(sound.astype(np.float32))[None])[0, 2].numpy()
        expected = LITERT[name]
        assert set(np.argsort(-embedding)[:5]) <= set(expected)
        for dimension, value in expected.items():
            assert embedding[dimension] == pytest.approx(value, abs=0.15), (name, dimension)  # steps of 8 bits


@needs_yamnet
def test_yamnet_is_described_and_keeps_the_contract(loaded_yamnet: PretrainedEncoder) -> None:
    assert loaded_yamnet.pretrained_on == ("AudioSet",)
    assert (loaded_yamnet.sample_rate, loaded_yamnet.frame_seconds, loaded_yamnet.dimensions) == (16000, 0.48, 1024)
    assert 3.1e6 < loaded_yamnet.parameters < 3.3e6
    frames, embeddings = check_encoder(loaded_yamnet, 160_000, torch.device("cpu"))
    assert frames == 21
    assert float(embeddings.abs().max()) > 0.1


@needs_yamnet
def test_a_frame_of_yamnet_is_centred_on_its_time(loaded_yamnet: PretrainedEncoder) -> None:
    click = np.zeros(160_000, np.float32)
    click[80_000:80_400] = np.random.default_rng(0).normal(0, 0.3, 400)  # at 5 s, in frame 10: 4.8 s to 5.28 s
    difference = loaded_yamnet.encode(torch.from_numpy(np.stack([click, 0 * click])))
    changed = (difference[0] - difference[1]).abs().amax(dim=1).numpy() > 1e-4
    assert changed.nonzero()[0].tolist() in ([9, 10], [10], [10, 11], [9, 10, 11])


def test_mel_banks_are_triangles_on_the_htk_scale() -> None:
    for bank, rate, n_fft, low, high in (
        (yamnet.mel_bank(), 16000, 512, 125.0, 7500.0),
        (aisfx.mel_bank(), 44100, 2048, 0.0, 22050.0),
    ):
        centres = librosa.mel_frequencies(bank.shape[1] + 2, fmin=low, fmax=high, htk=True)[1:-1]
        peaks = np.linspace(0, rate / 2, n_fft // 2 + 1)[bank.argmax(axis=0)]
        assert np.abs(peaks - centres).max() <= 0.51 * rate / n_fft + 1
        assert (bank >= 0).all()
    assert np.allclose(aisfx.mel_bank().sum(axis=0), 1)
    assert yamnet.mel_bank().max() <= 1


@pytest.mark.parametrize("content", [b"", b"abcdTFL3", b"abcd", os.urandom(2000), b"\x20\0\0\0TFL3" + b"\xff" * 500])
def test_broken_files_of_yamnet(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.tflite"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"encoder 'yamnet': .*broken\.tflite: .*expected yamnet_spectra_in\.tflite"):
        load_encoder(f"yamnet@{file}")


@needs_yamnet
def test_a_truncated_file_of_yamnet(tmp_path: Path) -> None:
    for size in (100, 10_000, 1_000_000, 4_000_000):
        (tmp_path / "short.tflite").write_bytes(YAMNET.read_bytes()[:size])
        with pytest.raises(InputError, match=r"encoder 'yamnet': .*short\.tflite"):
            load_encoder(f"yamnet@{tmp_path / 'short.tflite'}")


def test_yamnet_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs the file of its weights, as yamnet@FILE"):
        load_encoder("yamnet")
    (tmp_path / "any.tflite").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(InputError, match="pip install tflite"):
        load_encoder(f"yamnet@{tmp_path / 'any.tflite'}")


def random_checkpoint(seed: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, tuple[np.int64, int]]]:
    """Return weights of the shapes of aiSFX, drawn at random, in the form of its checkpoint."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {"fc.0.0.weight": torch.zeros(3, 3)}
    for block, (inputs, outputs) in enumerate(((1, 64), (64, 128), (128, 256), (256, 512)), start=1):
        for number, channels in ((1, inputs), (2, outputs)):
            start = f"embedding_net.conv_block{block}"
            spread = (2 / (9 * channels)) ** 0.5
            tensors[f"{start}.conv{number}.weight"] = spread * torch.randn(outputs, channels, 3, 3, generator=generator)
            for name in ("weight", "running_var"):
                tensors[f"{start}.bn{number}.{name}"] = 0.5 + torch.rand(outputs, generator=generator)
            for name in ("bias", "running_mean"):
                tensors[f"{start}.bn{number}.{name}"] = 0.1 * torch.randn(outputs, generator=generator)
            tensors[f"{start}.bn{number}.num_batches_tracked"] = torch.tensor(7)
    return tensors, {"one": (np.int64(0), 78)}


def test_aisfx_is_the_network_of_its_checkpoint(tmp_path: Path) -> None:
    tensors, table = random_checkpoint()
    torch.save((tensors, table), tmp_path / "checkpoint.pth")
    encoder = load_encoder(f"aisfx@{tmp_path / 'checkpoint.pth'}")
    assert encoder.licence == "CC BY 4.0"
    frames, _ = check_encoder(encoder, 441_000, torch.device("cpu"))
    assert frames == 53
    waveform = 0.1 * torch.randn(1, 88_200, generator=torch.Generator().manual_seed(1))
    x = encoder.call.logmel(waveform)[:, None]  # type: ignore[attr-defined]
    for block in range(1, 5):
        for number in (1, 2):
            start = f"embedding_net.conv_block{block}"
            names = ("running_mean", "running_var", "weight", "bias")
            state = {name: tensors[f"{start}.bn{number}.{name}"] for name in names}
            x = nn.functional.conv2d(x, tensors[f"{start}.conv{number}.weight"], padding=1)
            x = torch.relu(nn.functional.batch_norm(x, **state))
        x = nn.functional.max_pool2d(x, 2) if block < 4 else x
    expected = x.mean(dim=3).transpose(1, 2)
    assert torch.allclose(encoder.encode(waveform), expected, atol=1e-4 * float(expected.abs().max()))


def test_log_mel_of_aisfx_is_as_published() -> None:
    time = np.arange(44100) / 44100
    sound = (0.25 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    power = librosa.feature.melspectrogram(
        y=sound, sr=44100, n_fft=2048, hop_length=1024, n_mels=96, fmin=0, fmax=22050, htk=True, norm=1, power=2,
        pad_mode="constant",
    )  # fmt: skip
    expected = np.log10(1 + 10_000 * power.T) / 9.457798957824707
    with torch.no_grad():
        network = aisfx.AiSfx.__new__(aisfx.AiSfx)
        nn.Module.__init__(network)
        network.bank = torch.from_numpy(aisfx.mel_bank())
        network.window = torch.hann_window(2048, periodic=False)
        values = network.logmel(torch.from_numpy(sound)[None])[0].numpy()
    assert values.shape == expected.shape
    assert np.abs(values - expected)[2:-2].mean() < 0.01  # triangles on the mel scale and in Hz are not quite the same


def test_a_checkpoint_executes_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "executed"),)

    for content in (({"embedding_net.x": Evil()}, {}), Evil()):
        torch.save(content, tmp_path / "checkpoint.pth")
        with pytest.raises(InputError, match=r"encoder 'aisfx': .*not its checkpoint"):
            load_encoder(f"aisfx@{tmp_path / 'checkpoint.pth'}")
        (tmp_path / "checkpoint.pth").write_bytes(pickle.dumps(content))
        with pytest.raises(InputError, match=r"encoder 'aisfx': .*not its checkpoint"):
            load_encoder(f"aisfx@{tmp_path / 'checkpoint.pth'}")
    assert not (tmp_path / "executed").exists()


def test_checkpoints_of_other_networks(tmp_path: Path) -> None:
    tensors, table = random_checkpoint()
    wrong = {**tensors, "embedding_net.conv_block1.conv1.weight": torch.zeros(2)}
    for content in ({}, [], ({}, table), (wrong, table)):
        torch.save(content, tmp_path / "checkpoint.pth")
        with pytest.raises(InputError, match=r"encoder 'aisfx': .*not its checkpoint"):
            load_encoder(f"aisfx@{tmp_path / 'checkpoint.pth'}")


def test_the_package_is_found_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "aisfx" / "models").mkdir(parents=True)
    (tmp_path / "aisfx" / "__init__.py").write_text("raise RuntimeError('imported')")
    torch.save(random_checkpoint(), tmp_path / "aisfx" / "models" / "checkpoint.pth")
    code = "from remixbench.systems import load_encoder\nprint(load_encoder('aisfx').parameters)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "4684224", done.stderr
    monkeypatch.setattr(aisfx, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install --no-deps aisfx"):
        load_encoder("aisfx")
