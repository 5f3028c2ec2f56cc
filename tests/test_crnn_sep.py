"""crnn-sep: its masks are shares, and learn from weak labels alone."""

from __future__ import annotations

import pytest
import torch

from remixbench.systems import build_system
from remixbench.systems.crnn_sep import CrnnSep

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("frames", "bands", "frame_seconds"), [(311, 64, 0.032), (39, 64, 0.128), (33, 19, 0.064)])
def test_maps_have_the_resolution_of_the_log_mel_and_sum_to_less_than_one(
    frames: int, bands: int, frame_seconds: float
) -> None:
    torch.manual_seed(0)
    network = CrnnSep(classes=5, width=0.25, frame_seconds=frame_seconds).eval()
    with torch.no_grad():
        output = network(torch.randn(2, frames, bands))
    assert output.tf_maps is not None
    assert output.tf_maps.shape == (2, 5, frames, bands)
    total = output.tf_maps.sum(dim=1)
    assert float(total.min()) > 0
    assert float(total.max()) < 1


def test_tags_are_those_of_the_crnn_with_the_same_weights() -> None:
    crnn = build_system("crnn", classes=5, frames=100, n_mels=64, width=0.25).eval()
    separating = build_system("crnn-sep", classes=5, frames=100, n_mels=64, width=0.25).eval()
    separating.load_state_dict({**separating.state_dict(), **crnn.state_dict()})
    x = torch.randn(2, 100, 64)
    with torch.no_grad():
        torch.testing.assert_close(separating(x).clip_scores, crnn(x).clip_scores)


def test_classes_that_a_clip_does_not_have_get_no_part_of_it_in_training() -> None:
    torch.manual_seed(0)
    network = CrnnSep(classes=3, width=0.25)
    x, frame_scores = torch.randn(2, 100, 64), torch.zeros(2, 25, 3)
    frame_scores[..., 0] = 0.5
    stages, features, _, _ = network._classify(x)
    masks = network._masks(x, stages, features, frame_scores)
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(2, 100, 64))
    assert masks[:, 1:3].mean().item() < 0.01 * masks[:, 0].mean().item()


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
    assert torch.isfinite(network.training_step(torch.randn(2, 100, 64), torch.tensor([[0.0] * 4, [0.3, 0.7, 0, 0]])))


def test_masks_learn_from_weak_labels_where_each_class_is() -> None:
    """Two classes, each in a band of its own above noise; nothing but the labels says which band is whose."""
    torch.manual_seed(0)
    network = CrnnSep(classes=2, width=0.125)
    optimizer = torch.optim.AdamW(network.parameters(), 0.003)
    bands = (slice(4, 12), slice(40, 48))

    def clips(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, targets = torch.randn(count, 24, 64) * 0.3, (torch.rand(count, 2) < 0.6).float()
        for label, band in enumerate(bands):
            x[:, 6:18, band] += 3 * targets[:, label, None, None]
        return x, targets

    for _ in range(100):
        optimizer.zero_grad()
        network.training_step(*clips(8)).backward()
        optimizer.step()
    network.eval()
    x, targets = clips(64)
    with torch.no_grad():
        maps = network(x).tf_maps
    assert maps is not None
    both = targets.all(dim=1)
    for label, band in enumerate(bands):
        own, other = (maps[both, k, 6:18, band].mean() for k in (label, 1 - label))
        assert own > 2 * other
