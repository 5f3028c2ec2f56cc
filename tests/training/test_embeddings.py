"""`embed`: the same bytes however it is run, found again, never taken for another's, and refused in time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from paths import ROOT
from tiny import RECIPE, changed, write_corpus, write_recipe
from tiny_encoders import TINY_ENCODER, write_encoder

from remixbench.dataset.dataset import Dataset, pcm_digest
from remixbench.dataset.make import make
from remixbench.dataset.verify import verify
from remixbench.errors import InputError, RemixbenchError
from remixbench.recipe import load_recipe
from remixbench.systems import load_encoder, register_encoder
from remixbench.systems.encoders import _registered
from remixbench.training import embeddings as module
from remixbench.training.embeddings import embed, resample, storage_dtype

CLIPS = 48  # three blocks
TINY = changed(RECIPE, plan__clips_per_fold=12)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with sources, a data set of 48 clips at two SNRs, and an encoder in a file."""
    workspace = tmp_path_factory.mktemp("embeddings")
    write_corpus(workspace / "sources")
    make(recipe=load_recipe(write_recipe(workspace, TINY)), workspace=workspace, jobs=1)
    write_encoder(workspace)
    return workspace


@pytest.fixture
def workspace(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "work", ignore=shutil.ignore_patterns("sources"))
    return tmp_path / "work"


@pytest.fixture
def encoder(workspace: Path) -> str:
    return f"{workspace / 'tiny_encoder.py'}:TinyEncoder"


def test_values_are_the_encoders_of_the_resampled_clips(workspace: Path, encoder: str) -> None:
    paths = embed(encoder, workspace=workspace)
    assert [path.parent.parent.name for path in paths] == ["snr_0", "snr_10"]
    dataset = Dataset.open(workspace / "datasets" / "tiny")
    loaded = load_encoder(encoder)
    for path, snr in zip(paths, (0, 10), strict=True):
        values = np.load(path)
        assert values.shape == (CLIPS, 20, 6)
        assert values.dtype == np.float16
        for row in (0, 17, CLIPS - 1):
            audio = resample(dataset.audio(dataset.clips[row], snr), 8000, 4000)
            expected = loaded.encode(torch.from_numpy(audio)[None])[0].numpy()
            assert np.abs(values[row] - expected).max() < 1e-3 * np.abs(expected).max()
            assert np.abs(expected).max() > 0.01


def test_same_bytes_for_any_number_of_jobs(workspace: Path, encoder: str) -> None:
    (first,) = embed(encoder, workspace=workspace, snr=0, jobs=1)
    there = {path.name: path.read_bytes() for path in first.parent.glob("T*")}
    shutil.rmtree(first.parent)
    (again,) = embed(encoder, workspace=workspace, snr=0, jobs=3)
    assert {path.name: path.read_bytes() for path in again.parent.glob("T*")} == there


def test_same_bytes_after_kills(workspace: Path, encoder: str) -> None:
    (path,) = embed(encoder, workspace=workspace, snr=0)
    files = sorted(path.parent.glob("T*"))
    expected = " ".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    shutil.rmtree(path.parent)
    # job.json, three blocks, the array and its JSON file
    moments = ["1-before", "1-after", "3-before", "4-after", "5-after", "6-before"]
    program = [
        sys.executable,
        str(ROOT / "tests" / "helpers" / "killed_embed.py"),
        str(workspace / "datasets" / "tiny"),
    ]
    done = subprocess.run(
        [*program, encoder, *moments], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(moments), done.stdout + done.stderr
    assert [line.split()[0] for line in lines] == ["-9"] * len(moments)
    assert {line.split(" ", 1)[1] for line in lines} == {f"0 {expected}"}


def test_resumes_with_the_blocks_that_are_there(workspace: Path, encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    keep = module._BlockEncoder.keep

    def interrupted(self: module._BlockEncoder, block: int, frames: int, dtype: str) -> int:
        if block == 2 and not encoded.count(2):
            encoded.append(2)
            raise KeyboardInterrupt
        encoded.append(block)
        return keep(self, block, frames, dtype)

    monkeypatch.setattr(module._BlockEncoder, "keep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embed(encoder, workspace=workspace, snr=0, jobs=1)
    # 32 of 48 clips of 240 bytes are there: what is left is that of a block, and the array
    free = [(16 + 48) * 240 - 1, (16 + 48) * 240]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 0, free.pop(0)))  # type: ignore[attr-defined]
    with pytest.raises(RemixbenchError, match="needs about"):
        embed(encoder, workspace=workspace, snr=0, jobs=1)
    embed(encoder, workspace=workspace, snr=0, jobs=1)
    assert encoded == [0, 1, 2, 2]


def test_memory_does_not_grow_with_clips(original: Path, tmp_path: Path) -> None:
    wide = TINY_ENCODER.replace("dimensions = 6", "dimensions = 600").replace("Conv1d(8, 6,", "Conv1d(8, 600,")
    encoder = write_encoder(tmp_path, wide)
    peaks = []
    for clips_per_fold in (12, 60):
        recipe = load_recipe(write_recipe(tmp_path, changed(RECIPE, plan__clips_per_fold=clips_per_fold)))
        dataset = make(recipe=recipe, sources=original / "sources", out=tmp_path / str(clips_per_fold), jobs=1, snr=0)
        dataset.audio(dataset.clips[0], 0)  # its table of digests grows with the clips, the embeddings must not
        tracemalloc.start()
        (path,) = embed(encoder, dataset=dataset, jobs=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    size = np.load(path).nbytes
    assert size > 5_000_000
    assert peaks[1] - peaks[0] < 0.1 * size


def test_found_again_by_code_and_weights(workspace: Path, encoder: str) -> None:
    (first,) = embed(encoder, workspace=workspace, snr=0)
    before = first.stat().st_mtime_ns
    assert embed(encoder, workspace=workspace, snr=0) == [first]
    assert first.stat().st_mtime_ns == before
    moved = write_encoder(workspace / "elsewhere")
    assert embed(moved, workspace=workspace, snr=0) == [first]
    source = (workspace / "tiny_encoder.py").read_text()
    (workspace / "tiny_encoder.py").write_text(source.replace("torch.relu", "torch.tanh"))
    (other,) = embed(encoder, workspace=workspace, snr=0)
    assert other != first
    assert (np.load(other) != np.load(first)).any()


def test_weights_of_a_file_are_part_of_the_digest(workspace: Path) -> None:
    source = TINY_ENCODER.replace("def __init__(self):", "def __init__(self, weights):").replace(
        "        for weight", "        self.load_state_dict(torch.load(weights)); return\n        for weight"
    )
    reference = write_encoder(workspace, source, name="loads.py")
    digests = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        states = {"first.weight": (8, 1, 20), "first.bias": (8,), "second.weight": (6, 8, 20), "second.bias": (6,)}
        torch.save({name: torch.randn(shape) for name, shape in states.items()}, workspace / f"{seed}.pt")
        digests.add(load_encoder(f"{reference}@{workspace / f'{seed}.pt'}").digest)
    assert len(digests) == 2
    with pytest.raises(InputError, match=r"no such file of weights: .*none\.pt"):
        load_encoder(f"{reference}@{workspace / 'none.pt'}")
    with pytest.raises(InputError, match=r"TinyEncoder.*could not be loaded"):
        load_encoder(reference)


@pytest.mark.parametrize("kind", ["closure", "global", "attribute", "partial", "method"])
def test_weights_are_found_wherever_an_encoder_keeps_them(kind: str) -> None:
    def digest(seed: int) -> str:
        torch.manual_seed(seed)
        _registered["hidden"] = _hidden_encoder(kind)
        return load_encoder("hidden").digest

    try:
        assert digest(0) == digest(0)
        assert digest(0) != digest(1)
    finally:
        del _registered["hidden"]


def _hidden_encoder(kind: str) -> object:
    from functools import partial

    network = torch.nn.Linear(20, 6)
    attributes = {"sample_rate": 4000, "frame_seconds": 0.005, "dimensions": 6, "pretrained_on": ["Noise"]}

    class Holder:
        def __init__(self) -> None:
            self.parts = {"network": [network]}

        def __call__(self, waveforms: torch.Tensor) -> torch.Tensor:
            return self.parts["network"][0](waveforms.unflatten(1, (-1, 20)))

    def apply(layer: torch.nn.Module, waveforms: torch.Tensor) -> torch.Tensor:
        return layer(waveforms.unflatten(1, (-1, 20)))

    def closure(waveforms: torch.Tensor) -> torch.Tensor:
        return apply(network, waveforms)

    scope: dict[str, object] = {"network": network}
    exec("def encoder(waveforms):\n    return network(waveforms.unflatten(1, (-1, 20)))", scope)
    made = {
        "closure": closure,
        "global": scope["encoder"],
        "attribute": Holder(),
        "partial": partial(apply, network),
        "method": Holder(),
    }[kind]
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def test_other_audio_is_embedded_anew(workspace: Path, encoder: str) -> None:
    (path,) = embed(encoder, workspace=workspace, snr=0)
    before = path.read_bytes()
    dataset = Dataset.open(workspace / "datasets" / "tiny")
    _replace_audio(dataset, 3)
    assert any("not computed from the current audio" in line for line in verify(dataset=dataset.path))
    (again,) = embed(encoder, dataset=Dataset.open(dataset.path), snr=0)
    assert again == path
    changed_rows = (np.load(path) != np.load(io.BytesIO(before))).any(axis=(1, 2))
    assert changed_rows.nonzero()[0].tolist() == [3]
    assert verify(dataset=dataset.path) == []


def _replace_audio(dataset: Dataset, row: int) -> None:
    """Give a clip other samples, and let all tables of digests agree."""
    from fake_dataset import accept_files

    clip = dataset.clips[row]
    samples = np.random.default_rng(0).integers(-2000, 2000, dataset.recipe.mix.samples).astype(np.int16)
    soundfile.write(dataset.audio_path(clip, 0), samples, dataset.recipe.mix.sample_rate, subtype="PCM_16")
    lines = (dataset.path / "digests.csv").read_text().splitlines()
    there = [k for k, line in enumerate(lines) if line.startswith(f"{clip.id},0")]
    assert len(there) == 1
    lines[there[0]] = f"{lines[there[0]].rpartition(',')[0]},{pcm_digest(samples)}"
    (dataset.path / "digests.csv").write_text("\n".join([*lines, ""]))
    accept_files(dataset)


def test_altered_arrays_are_refused_and_verified(workspace: Path, encoder: str) -> None:
    (path,) = embed(encoder, workspace=workspace, snr=0)
    dataset = Dataset.open(workspace / "datasets" / "tiny")
    loaded = load_encoder(encoder)
    assert verify(dataset=dataset.path) == []
    values = np.load(path, mmap_mode="r+")
    values[5, 0, 0] += 1
    values.flush()
    embeddings = module.open_embeddings(dataset, 0.0, loaded.name, loaded.digest)
    assert embeddings is not None
    embeddings.verify(dataset, [0, 1, 2])
    with pytest.raises(InputError, match=r"embeddings of clip 00005 were altered"):
        embeddings.verify(dataset, range(CLIPS))
    (line,) = verify(dataset=dataset.path)
    assert "embeddings of clip 00005 differ" in line


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-500]), "not an array of embeddings"),
        (lambda path: np.save(path, np.zeros((2, 3, 4), np.float16)), r"found float16 \(2, 3, 4\)"),
        (lambda path: np.save(path, np.load(path).astype(np.float32)), r"found float32 \(48, 20, 6\)"),
        (lambda path: np.save(path, np.load(path)[::-1]), "the embeddings of clip 00000"),
        (lambda path: np.save(path, np.full_like(np.load(path), np.nan)), "the embeddings of clip 00000"),
        (lambda path: path.with_suffix(".json").write_text("{}"), "format None"),
        (lambda path: path.with_suffix(".json").write_text(""), "not readable as JSON"),
        (lambda path: path.with_suffix(".json").write_text("[]"), "expected a JSON object, found list"),
        (lambda path: path.with_suffix(".json").write_text("{}", encoding="utf-16"), "not readable as JSON"),
        (
            lambda path: path.with_suffix(".json").write_text(
                path.with_suffix(".json").read_text().replace("Noise", "Nothing")
            ),
            "was edited since it was written",
        ),
    ],
)
def test_broken_files_are_named(workspace: Path, encoder: str, damage: object, message: str) -> None:
    (path,) = embed(encoder, workspace=workspace, snr=0)
    damage(path)  # type: ignore[operator]
    with pytest.raises(InputError, match=message) as caught:
        embed(encoder, workspace=workspace, snr=0)
    assert str(path.with_suffix("")) in str(caught.value)
    assert "delete it" in str(caught.value)
    assert any(message.partition(" \\")[0] in line for line in verify(dataset=workspace / "datasets" / "tiny"))


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_folder_in_the_place_of_a_file_is_named_before_anything_is_computed(
    workspace: Path, encoder: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = embed(encoder, workspace=workspace, snr=0)
    place = path.with_suffix(suffix)
    place.unlink()
    place.mkdir()
    monkeypatch.setattr("remixbench.training.embeddings._compute", None)
    with pytest.raises(InputError, match="is a folder, expected a file"):
        embed(encoder, workspace=workspace, snr=0)


BROKEN = {
    "sample_rate = 4000": {
        "sample_rate = 0": "sample_rate: found 0; expected",
        "sample_rate = 4000.5": "sample_rate: found 4000.5; expected",
        "sample_rate = True": "sample_rate: found True; expected",
        "": "key 'sample_rate' is missing",
    },
    "frame_seconds = 0.1": {
        "frame_seconds = -1": "frame_seconds: found -1; expected",
        "frame_seconds = float('nan')": "frame_seconds: found nan; expected",
        "frame_seconds = 0.5": r"its 20 frames, 0.5 s apart, cover 10 s, expected the 2 s",
        "frame_seconds = 0.05": r"its 20 frames, 0.05 s apart, cover 1 s, expected the 2 s",
    },
    "dimensions = 6": {
        "dimensions = 7": r"returns torch.float32 \(2, 20, 6\), .* \(2, 8000\), expected .* \(2, frames, 7\)",
        "dimensions = 0": "dimensions: found 0; expected",
        "dimensions = 100_000": "dimensions: found 100000; expected .* 65536",
    },
    'pretrained_on = ["Noise"]': {
        'pretrained_on = "Noise"': "pretrained_on: found 'Noise'; expected a tuple",
        "pretrained_on = [3]": r"pretrained_on.0: found 3; expected a string",
        "pretrained_on = None": "pretrained_on: found None; expected a tuple",
        "pretrained_on = ['x' * 201]": "pretrained_on.0: found 'xxx.*at most 200 characters",
        "pretrained_on = ['x'] * 51": "pretrained_on: found .*at most 50 items",
        "pretrained_on = []; parameter_count = -5": "parameter_count: found -5; expected",
        "pretrained_on = []; parameter_count = 10**30": "parameter_count: found 1000",
        'pretrained_on = {"Noise"}': "pretrained_on: found {'Noise'}; expected a tuple",
        'pretrained_on = {"Noise": 1}': "pretrained_on: found {'Noise': 1}; expected a tuple",
    },
    "return self.second(torch.relu(self.first(waveforms[:, None]))).transpose(1, 2)": {
        "return None": "returns NoneType for waveforms .* expected a dense floating-point tensor",
        "return waveforms": r"returns torch.float32 \(2, 8000\)",
        "return self.second(waveforms)": "fails on waveforms",
        "return self.second(torch.relu(self.first(waveforms[:, None]))).transpose(1, 2).log()":
            "its embeddings of noise hold NaN or infinity",
        "x = self.second(torch.relu(self.first(waveforms[:, None]))).transpose(1, 2); return x + torch.randn(x.shape)":
            "differ between two calls",
        "x = self.second(torch.relu(self.first(waveforms[:, None]))).transpose(1, 2); return x - x.mean(0)":
            "depend on the other clips of a batch",
        "return (waveforms / waveforms.abs().amax(1, True)).unflatten(1, (20, -1))[..., :6]":
            "its embeddings of digital silence hold NaN or infinity",
        "return self.second(torch.relu(self.first(waveforms[:, None]))).transpose(1, 2) * 0 + 1":
            "of noise and of digital silence are the same",
        "return self.second(torch.relu(self.first(waveforms[:, None]))).transpose(1, 2) * 1j":
            "returns torch.complex64 ",
        "return self.second(torch.relu(self.first(waveforms[:, None]))).transpose(1, 2).double() * 1e300":
            "its embeddings of noise hold NaN or infinity in float32",
        "return self.second(torch.relu(self.first(waveforms[:, None]))).transpose(1, 2).to_sparse()":
            r"returns .* cpu, torch.sparse_coo .* expected a dense",
        "return torch.empty(len(waveforms), 20, 6, device='meta')": r"returns .* meta, torch.strided",
        "return (self.second(torch.relu(self.first(waveforms[:, None]))).transpose(1, 2) * 9).int()":
            "returns torch.int32 ",
        "raise SystemExit(3)": r"fails on waveforms .* \(SystemExit: 3\)",
    },
    "generator = torch.Generator().manual_seed(SEED)": {
        "generator = torch.Generator(); generator.seed()": "its weights or its code differ when it is loaded again",
        "raise SystemExit('no licence')": r"could not be loaded \(SystemExit: no licence\)",
    },
    "def __init__(self):": {"def __init__(self, weights):": r"if it takes the file of its weights: .*TinyEncoder@FILE"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [(right, wrong, message) for right, cases in BROKEN.items() for wrong, message in cases.items()],
)
def test_encoders_that_break_the_contract(workspace: Path, right: str, wrong: str, message: str) -> None:
    assert right in TINY_ENCODER
    reference = write_encoder(workspace, TINY_ENCODER.replace(right, wrong), name="wrong.py")
    with pytest.raises(InputError, match=message) as caught:
        embed(reference, workspace=workspace, snr=0)
    assert str(caught.value).startswith("encoder 'TinyEncoder'")
    assert not (workspace / "datasets" / "tiny" / "snr_0" / "embeddings").exists()  # no lock either


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("A" * 300, "has 300 characters, expected at most 100"),
        ("\u6f22" * 60, "has 60 characters, expected at most 100"),
        ("Enc\u043eder", "mixes letters of alphabets that look alike"),  # a Cyrillic o
    ],
)
def test_names_that_no_folder_holds_or_that_read_as_others(workspace: Path, name: str, problem: str) -> None:
    reference = write_encoder(workspace, TINY_ENCODER.replace("class TinyEncoder", f"class {name}"), name="named.py")
    before = sorted(workspace.rglob("*"))
    with pytest.raises(InputError, match=rf"encoder '.{{,100}}': its name {problem}"):
        embed(reference.replace("TinyEncoder", name), workspace=workspace, snr=0)
    with pytest.raises(InputError, match=rf"encoder '.{{,100}}': its name {problem}"):
        register_encoder(name, lambda _: None)
    assert [path for path in sorted(workspace.rglob("*")) if "__pycache__" not in path.parts] == before


def test_an_encoder_may_ask_for_gradients(workspace: Path, encoder: str) -> None:
    (path,) = embed(encoder, workspace=workspace, snr=0)
    asking = TINY_ENCODER.replace(".transpose(1, 2)", ".transpose(1, 2).requires_grad_()")
    (other,) = embed(write_encoder(workspace, asking, name="asking.py"), workspace=workspace, snr=0)
    np.testing.assert_array_equal(np.load(other), np.load(path))


def test_an_encoder_may_write_into_what_it_is_given(workspace: Path, encoder: str) -> None:
    (path,) = embed(encoder, workspace=workspace, snr=0)
    source = TINY_ENCODER.replace("return self.second", "waveforms *= 2; waveforms = waveforms / 2; return self.second")
    (other,) = embed(write_encoder(workspace, source, name="in_place.py"), workspace=workspace, snr=0)
    assert (np.load(other) == np.load(path)).all()


def test_encoders_of_one_file_and_the_same_weights_are_told_apart(workspace: Path) -> None:
    """By their names, and registered ones by their settings: another layer of a network is another encoder."""
    source = TINY_ENCODER + (
        "\n\nclass Louder(TinyEncoder):\n    def forward(self, waveforms):\n"
        "        return super().forward(3 * waveforms)\n"
    )
    write_encoder(workspace, source, name="two.py")
    digests = {load_encoder(f"{workspace / 'two.py'}:{name}").digest for name in ("TinyEncoder", "Louder")}
    assert len(digests) == 2
    scope: dict[str, Any] = {}
    exec(TINY_ENCODER.replace("SEED", "0"), scope)
    try:
        for layer, pooling in ((6, "mean"), (12, "mean"), (6, "max"), (6, "mean")):
            _registered["mine"] = scope["TinyEncoder"]()
            _registered["mine"].layer, _registered["mine"].pooling = layer, pooling
            digests.add(load_encoder("mine").digest)
        assert len(digests) == 5
    finally:
        del _registered["mine"]


def test_nan_in_one_clip_names_the_clip(workspace: Path) -> None:
    source = TINY_ENCODER.replace(
        "return self.second", "waveforms = waveforms / (len(waveforms) < 16 or not third())\n        return self.second"
    )
    source += "\n\nCALLS = []\n\n\ndef third():\n    CALLS.append(1)\n    return len(CALLS) == 3\n"
    reference = write_encoder(workspace, source, name="late.py")
    with pytest.raises(InputError, match="its embeddings of clip 00016 at 0 dB hold NaN or infinity"):
        embed(reference, workspace=workspace, snr=0, jobs=1)


def test_an_error_in_one_block_waits_for_the_others(workspace: Path, tmp_path: Path) -> None:
    """A process that ends while other threads are within torch may abort."""
    source = TINY_ENCODER.replace(
        "return self.second",
        "number = turn() if len(waveforms) == 16 else 0\n        if number == 2:\n"
        "            raise ValueError('broken')\n        if number > 2:\n"
        "            [waveforms @ waveforms.T for _ in range(3000)]\n        return self.second",
    )
    source += "\n\nimport itertools\n\nturn = itertools.count(1).__next__\n"
    reference = write_encoder(workspace, source, name="late.py")
    command = [sys.executable, "-m", "remixbench", "--workspace", str(workspace), "-q", "embed", reference]
    done = subprocess.run([*command, "--snr", "0", "--jobs", "2"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert re.search(r"\(clip 000\d\d at 0 dB and 15 more\) at 4000 Hz \(ValueError: broken\)", done.stderr)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("yamnett", r"unknown encoder 'yamnett' \(did you mean 'yamnet'\?\)"),
        ("none.py:Encoder", "encoder 'none.py:Encoder': no such file"),
        ("none.py", "expected FILE.py:NAME"),
        ("yamnet@", "encoder 'yamnet@': expected NAME or FILE.py:NAME, and the file of weights after '@'"),
        ("", "encoder '': expected NAME or FILE.py:NAME"),
    ],
)
def test_unknown_encoders(workspace: Path, reference: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        embed(reference, workspace=workspace)


def test_paths_may_hold_an_at_sign(tmp_path: Path) -> None:
    source = TINY_ENCODER.replace("def __init__(self):", "def __init__(self, weights=None):")
    reference = write_encoder(tmp_path / "me@home", source)
    (tmp_path / "w@1").mkdir()
    (tmp_path / "w@1" / "a.pt").write_bytes(b"weights")
    assert load_encoder(reference).name == "TinyEncoder"
    with_weights = load_encoder(f"{reference}@{tmp_path / 'w@1' / 'a.pt'}")
    assert with_weights.reference == f"{reference}@{tmp_path / 'w@1' / 'a.pt'}"
    assert with_weights.name == "TinyEncoder"
    assert with_weights.digest != load_encoder(reference).digest


def test_disk_memory_and_locks(workspace: Path, encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workspace / "datasets" / "tiny" / "snr_0" / "embeddings" / "x.npy"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1000))  # type: ignore[attr-defined]
        with pytest.raises(RemixbenchError, match=r"needs about 23\.0 kB of disk, 1\.0 kB are free"):
            embed(encoder, workspace=workspace, snr=0)
    source = TINY_ENCODER.replace("return self.second", "waveforms.new_empty(10**15)\n        return self.second")
    with pytest.raises(RemixbenchError, match=r"do not fit into the memory of cpu") as caught:
        embed(write_encoder(workspace, source, name="huge.py"), workspace=workspace, snr=0)
    assert caught.value.exit_status == 1
    said: list[str] = []
    monkeypatch.setattr(module, "free_bytes", lambda _: 2_000_000)
    progress = type("Said", (), {"say": lambda _, line: said.append(line)})()
    assert module._affordable_jobs(8, 1_000_000, torch.device("cpu"), progress) == 1
    assert "1 of 8 jobs run at once" in said[0]
    store = module.BlockStore(path, {}, 1)
    with store.locked(), pytest.raises(RemixbenchError, match="another process"), store.locked():
        pass


def test_type_of_the_array() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(0, 1, (4, 50, 8)).astype(np.float32)
    assert storage_dtype(values) == "float16"
    assert storage_dtype(values + 1000) == "float32"  # a large mean leaves few digits for what varies
    assert storage_dtype(values * 1e-7) == "float32"  # below the smallest float16
    assert storage_dtype(values * 30_000) == "float32"
    assert storage_dtype(np.zeros((4, 50, 8), np.float32)) == "float16"


def test_registered_encoders_and_their_names() -> None:
    with pytest.raises(InputError, match="is taken"):
        register_encoder("yamnet", lambda waveforms: waveforms)
    with pytest.raises(InputError, match="expected letters"):
        register_encoder("../x", lambda waveforms: waveforms)
    with pytest.raises(InputError, match="expected a class or a function"):
        register_encoder("three", 3)


def test_command(workspace: Path, encoder: str) -> None:
    from remixbench.cli import run

    assert run(["--workspace", str(workspace), "-q", "embed", encoder, "--snr", "10"]) == 0
    (info,) = (workspace / "datasets" / "tiny" / "snr_10" / "embeddings").glob("*.json")
    assert json.loads(info.read_text())["pretrained_on"] == ["Noise"]
    assert run(["--workspace", str(workspace), "embed", "nothing"]) == 2
