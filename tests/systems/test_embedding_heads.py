"""What `crnn-emb` does with its two inputs."""

from __future__ import annotations

import pytest
import torch

from remixbench.systems.embedding_heads import WITHOUT_EMBEDDINGS, WITHOUT_LOGMEL, CrnnEmb


@pytest.mark.parametrize("embedding_seconds", [0.48, 0.1])
def test_clips_lose_one_input_in_training_and_scores_with_and_without_are_averaged(embedding_seconds: float) -> None:
    torch.manual_seed(0)
    frames = round(10 / embedding_seconds)
    network = CrnnEmb(4, 8, frames, embedding_seconds, width=0.25).eval()
    clips, copies = torch.randn(1, 312, 64), 400
    inputs = clips.expand(copies, -1, -1), torch.randn(1, frames, 8).expand(copies, -1, -1)
    with torch.inference_mode():
        trained = network(*(x[:1] for x in inputs)).clip_scores
        network.training = True  # of the network alone: no dropout, no statistics of the batch
        scores = network(*inputs).clip_scores
    values, counts = torch.unique(scores.mul(1e4).round(), dim=0, return_counts=True)
    shares = {count.item() / copies: value / 1e4 for value, count in zip(values, counts, strict=True)}
    both, without = 1 - WITHOUT_EMBEDDINGS - WITHOUT_LOGMEL, WITHOUT_EMBEDDINGS
    assert len(shares) == 3
    assert sorted(shares) == pytest.approx(sorted([both, without, WITHOUT_LOGMEL]), abs=0.1)
    without_logmel = min(shares)
    assert trained[0].numpy() == pytest.approx(
        sum(value for share, value in shares.items() if share != without_logmel).numpy() / 2, abs=1e-4
    )
