"""crnn-sep: its masks learn from weak labels alone, and leave the tags as those of the crnn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_dataset import fake_dataset
from safetensors.torch import load_file

from remixbench.dataset.masks import share
from remixbench.systems import build_system
from remixbench.systems.crnn_sep import LOG_STD, OVERSUBTRACTION, CrnnSep, MaskDecoder, event_share
from remixbench.training.data import ClipTensors, InputArray, Standardisation
from remixbench.training.device import DistContext, Engine
from remixbench.training.evaluate import has_maps, score_clips, score_frames
from remixbench.training.train import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("frames", "bands", "frame_seconds"), [(311, 64, 0.032), (39, 64, 0.128), (33, 19, 0.064)])
def test_maps_have_the_resolution_of_the_log_mel(frames: int, bands: int, frame_seconds: float) -> None:
    torch.manual_seed(0)
    network = CrnnSep(classes=5, width=0.25, frame_seconds=frame_seconds).eval()
    with torch.no_grad():
        output = network(torch.randn(2, frames, bands))
    assert output.tf_maps is not None
    assert output.tf_maps.shape == (2, 5, frames, bands)
    assert 0 < float(output.tf_maps.min()) < float(output.tf_maps.max()) < 1


def test_tags_are_those_of_the_crnn_with_the_same_weights() -> None:
    crnn = build_system("crnn", classes=5, frames=100, n_mels=64, width=0.25).eval()
    separating = build_system("crnn-sep", classes=5, frames=100, n_mels=64, width=0.25).eval()
    separating.load_state_dict({**separating.state_dict(), **crnn.state_dict()})
    x = torch.randn(2, 100, 64)
    with torch.no_grad():
        torch.testing.assert_close(separating(x).clip_scores, crnn(x).clip_scores)


def test_what_rises_above_the_stationary_part_of_its_band_is_of_events() -> None:
    noise, event = torch.zeros(1, 100, 4), torch.zeros(1, 100, 4)
    event[:, 40:60, 2] = 1.0
    assert event_share(noise).max() == 0
    expected = 1 - OVERSUBTRACTION * math.exp(-2 * LOG_STD)  # of a cell one standard deviation above
    torch.testing.assert_close(event_share(noise + event), expected * event)


def test_the_loss_of_masks_is_lowest_where_each_clips_classes_have_its_share() -> None:
    """Two clips with an event each, in bands of their own: the classes the right way round against all other ways."""
    first, second = torch.zeros(2, 1, 100, 8)
    first[:, 20:40, 1], second[:, 20:40, 6] = 3.0, 3.0
    network = CrnnSep(classes=3, width=0.25)
    labels = torch.eye(3, dtype=torch.bool)

    def loss(*bands: int) -> float:
        """Give to each class one band in the frames of the events, and all else to the background."""
        odds = torch.full((3, 100, 8), -10.0)
        for label, band in enumerate(bands):
            odds[label, 20:40, band] = 10
        network._log_odds = lambda x, stages, features, scores, chosen: odds[chosen]  # type: ignore[method-assign]
        return float(network._mask_loss(first, second, labels[:1], labels[1:2]))

    assert loss(1, 6) < 0.2
    assert min(loss(6, 1), loss(1, 1), loss(3, 6), loss()) > 1


@pytest.mark.parametrize("batch", [2, 3, 5, 8])
def test_the_shards_of_a_batch_add_up_to_its_loss_and_no_clip_is_mixed_with_itself(
    monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    torch.manual_seed(0)
    x, targets = torch.randn(batch, 100, 64), (torch.rand(batch, 4) < 0.4).float()
    network = CrnnSep(classes=4, width=0.25).eval()  # batch norm by constants, as if all processes shared it
    pairs: list[tuple[bytes, bytes]] = []
    mask_loss = CrnnSep._mask_loss

    def noting(self: CrnnSep, first: torch.Tensor, second: torch.Tensor, *labels: torch.Tensor) -> torch.Tensor:
        pairs.extend((a.numpy().tobytes(), b.numpy().tobytes()) for a, b in zip(first, second, strict=True))
        return mask_loss(self, first, second, *labels)

    monkeypatch.setattr(CrnnSep, "_mask_loss", noting)
    whole = network.training_step(x, targets)
    alone = pairs.copy()
    pairs.clear()
    shards = [DistContext(rank, 2).shard_batch(torch.arange(batch), paired=True) for rank in (0, 1)]
    assert sorted(torch.cat(shards).tolist()) == list(range(batch))
    sharded = sum(network.training_step(x[i], targets[i]) * len(i) / batch for i in shards if len(i))
    torch.testing.assert_close(sharded, whole)
    assert sorted(pairs) == sorted(alone)
    assert all(first != second for first, second in alone)


def test_a_single_clip_trains_the_tags_alone() -> None:
    network = CrnnSep(classes=4, width=0.25)
    network.training_step(torch.randn(1, 100, 64), torch.eye(4)[:1]).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None  # several processes exchange the gradients of the same parameters
        assert bool(parameter.grad.any()) != name.startswith("mask_decoder."), name


def test_the_scale_of_the_log_mel_is_that_of_the_training_clips(tmp_path: Path) -> None:
    dataset = fake_dataset(tmp_path)
    (run,) = train(workspace=tmp_path, dataset=dataset, system="crnn-sep", snr=20, epochs=1, width=0.1)
    weights = load_file(run / "model.safetensors")
    assert float(weights["network.log_std"]) == pytest.approx(float(weights["standardisation.std"].mean()))
    assert float(weights["network.log_std"]) != pytest.approx(LOG_STD, rel=0.01)


def test_masks_do_not_alter_what_the_tags_learn() -> None:
    x, targets = torch.randn(4, 100, 64), torch.eye(4)
    gradients = []
    for separation in (0.5, 50.0):
        torch.manual_seed(0)
        network = CrnnSep(classes=4, width=0.25, separation=separation)
        torch.manual_seed(1)
        network.training_step(x, targets).backward()
        gradients.append({name: p.grad for name, p in network.named_parameters() if not name.startswith("mask_")})
    assert list(gradients[0]) == [name for name, _ in build_system("crnn", classes=4, frames=100, n_mels=64,
                                                                   width=0.25).named_parameters()]  # fmt: skip
    torch.testing.assert_close(*gradients)


def test_its_run_has_the_tags_of_a_run_of_the_crnn(tmp_path: Path) -> None:
    """All but the clipping of gradients, which is by the norm of all of them."""
    fake_dataset(tmp_path)
    folders = train(
        workspace=tmp_path, system=["crnn", "crnn-sep"], snr=20, epochs=2, precision="32", width=0.125, gradient_clip=0
    )
    tags, separating = ((folder / "predictions" / "tags.csv").read_text() for folder in folders)
    assert tags == separating


def test_a_step_trains_every_weight_and_leaves_the_statistics_to_mixtures() -> None:
    torch.manual_seed(0)
    network = CrnnSep(classes=4, width=0.25)
    x, targets = torch.randn(4, 100, 64), torch.eye(4)
    network.training_step(x, targets).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    norms = [each for each in network.encoder.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    assert {int(norm.num_batches_tracked) for norm in norms if norm.num_batches_tracked is not None} == {1}
    assert all(norm.training for norm in norms)


def test_clips_without_events_and_soft_labels_can_be_trained_on() -> None:
    network = CrnnSep(classes=4, width=0.25)
    for targets in ([[0.0] * 4, [0.3, 0.7, 0, 0]], [[0.0] * 4] * 2, [[0, 1.0, 0, 0]]):
        network.zero_grad()
        loss = network.training_step(torch.randn(len(targets), 100, 64), torch.tensor(targets))
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_masks_learn_from_weak_labels_where_each_class_is() -> None:
    """Two classes, each in bands of its own above noise; nothing but the labels says which bands are whose."""
    torch.manual_seed(0)
    network = CrnnSep(classes=2, width=0.125)
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)
    bands = (slice(4, 12), slice(40, 48))

    def clips(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, targets = torch.randn(count, 24, 64) * 0.3, (torch.rand(count, 2) < 0.6).float()
        for label, band in enumerate(bands):
            x[:, 6:14, band] += 3 * targets[:, label, None, None]
        return x, targets

    for _ in range(200):
        optimizer.zero_grad()
        network.training_step(*clips(16)).backward()
        optimizer.step()
    network.eval()
    x, targets = clips(64)
    with torch.no_grad():
        maps = network(x).tf_maps
    assert maps is not None
    masks = np.stack([share(clip.numpy()) for clip in maps[targets.all(dim=1)]])
    for label, band in enumerate(bands):
        own, other = (masks[:, k, 6:14, band].mean() for k in (label, 1 - label))
        assert own > 2 * other
        assert masks[:, :, 16:, band].sum(axis=1).mean() < 0.3  # of the background


def test_masks_are_not_computed_where_only_scores_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder takes more than half of the operations of a forward pass."""
    calls: list[int] = []
    decode = MaskDecoder.forward
    monkeypatch.setattr(MaskDecoder, "forward", lambda *args: [calls.append(1), decode(*args)][1])
    draw = np.random.default_rng(0)
    unit = Standardisation(np.zeros(64, np.float32), np.ones(64, np.float32))
    features = draw.normal(size=(3, 39, 64)).astype(np.float32)
    clips = ClipTensors([InputArray(features, unit)], draw.random((3, 5)) < 0.5, np.arange(3), torch.device("cpu"))
    engine = Engine(torch.device("cpu"), "32")
    network = build_system("crnn-sep", classes=5, frames=39, n_mels=64, width=0.25)
    tags = score_clips(network, clips, engine, 2)
    alone = score_frames(network, clips, engine, 2)
    assert not calls
    beside = score_frames(network, clips, engine, 2, on_maps=lambda *_: None)
    assert calls
    for scores, others in ((tags, alone[0]), (alone[0], beside[0]), (alone[1], beside[1])):
        np.testing.assert_array_equal(scores, others)
    assert network.training
    assert has_maps(network, clips, engine)
