"""Systems on the embeddings of a frozen pretrained encoder.

`emb-linear` and `emb-mlp` classify every embedding and pool the frame scores over time: they show what it has learned.
`crnn-emb` concatenates the encoder's frames with the features of `crnn` before the recurrent layer, as the baseline of
DCASE 2023 Task 4 does: the encoder says what sounds, the log-mel when. With few recordings a network soon relies on the
embeddings alone, so in training one of the two is dropped at random (as in ModDrop, Neverova et al., TPAMI 2016).

Shapes: B clips, C classes, T frames of the log-mel, T' of the embeddings, D dimensions of an embedding.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from remixbench.systems.crnn import DROPOUT, FRAME_SECONDS, UNITS, Crnn, Pooling, TimePooling
from remixbench.systems.models import float32, scaled, set_bias
from remixbench.systems.output import Output

HIDDEN = 64
"""Units of the hidden layer of `emb-mlp`, at width 1."""
PROJECTED = 64
"""Features of an embedding in `crnn-emb`, at width 1: half as many as the last block of `crnn` has channels."""
EMBEDDING_DROPOUT = 0.5
"""Dropout of the dimensions of an embedding in `crnn-emb`."""
WITHOUT_EMBEDDINGS = 0.4
"""Share of the clips that `crnn-emb` is trained on without their embeddings."""
WITHOUT_LOGMEL = 0.2
"""Share of the clips that `crnn-emb` is trained on without their log-mel."""


class EmbeddingHead(nn.Module):
    """Frame scores of embeddings, pooled over time.

    Parameters
    ----------
    units : of a hidden layer, at width 1; 0 for none.
    """

    def __init__(
        self,
        classes: int,
        dimensions: int,
        embedding_seconds: float,
        width: float = 1.0,
        pooling: Pooling = "quadratic",
        bias: str = "prior",
        *,
        units: int,
    ) -> None:
        super().__init__()
        self.bias = bias
        self.frame_seconds = embedding_seconds
        hidden = scaled(units, width) if units else 0
        features = hidden or dimensions
        self.hidden = nn.Sequential(nn.Linear(dimensions, hidden), nn.ReLU()) if hidden else nn.Identity()
        self.dropout = nn.Dropout(DROPOUT)
        self.classifier = nn.Linear(features, classes)
        self.pool = TimePooling(pooling, classes, features)

    def forward(self, embeddings: Tensor) -> Output:
        """Map standardised embeddings (B, T', D) to scores; `frame_scores` are (B, T', C)."""
        with float32(embeddings):  # the poolings accumulate over many frames
            features = self.dropout(self.hidden(embeddings.float()))
            frame_scores = torch.sigmoid(self.classifier(features))
            return Output(self.pool(frame_scores, features), frame_scores)

    def set_prior(self, prior: Tensor) -> None:
        """With `bias="prior"`, let the frame scores begin near the mean labels `prior` (C,) instead of 0.5."""
        if self.bias == "prior":
            set_bias(self.classifier.bias, prior)


emb_linear = partial(EmbeddingHead, units=0)
emb_mlp = partial(EmbeddingHead, units=HIDDEN)


class CrnnEmb(Crnn):
    """`crnn` with the embeddings of an encoder concatenated to its features before the recurrent layer.

    Both are brought to the finer of the two rates by linear interpolation between the middles of frames. In training,
    one of the two is dropped at random; a trained network returns the mean of its scores with and without embeddings.

    Attributes
    ----------
    frame_seconds : distance of two frame scores: that of `crnn`, or that of the embeddings where it is shorter than a
        step of the recurrent layer.
    """

    def __init__(
        self,
        classes: int,
        dimensions: int,
        embedding_frames: int,
        embedding_seconds: float,
        width: float = 1.0,
        pooling: Pooling = "quadratic",
        frame_seconds: float = FRAME_SECONDS,
        bias: str = "prior",
    ) -> None:
        super().__init__(classes, width, pooling, frame_seconds, bias)
        channels, units, projected = self.encoder.channels[-1], scaled(UNITS, width), scaled(PROJECTED, width)
        self.step_seconds, self.embedding_seconds = self.encoder.time_stride * frame_seconds, embedding_seconds
        self.project = nn.Sequential(nn.Dropout(EMBEDDING_DROPOUT), nn.Linear(dimensions, projected), nn.ReLU())
        self.recurrent = nn.LSTM(channels + projected, units, batch_first=True, bidirectional=True)
        self.beside = nn.Linear(channels + projected, 2 * units)
        self.embedding_frames = 0
        if embedding_seconds < self.step_seconds:
            self.embedding_frames, self.frame_seconds = embedding_frames, embedding_seconds

    def forward(self, logmel: Tensor, embeddings: Tensor) -> Output:  # type: ignore[override]  # it takes one more
        """Map standardised log-mel (B, T, F) and embeddings (B, T', D) to scores."""
        maps = self.encoder(logmel)
        with float32(logmel):
            local = self.dropout(self.norm(maps.float().mean(dim=3).transpose(1, 2)))
            pretrained = self.project(embeddings.float())
            if self.embedding_frames:
                local = interpolate(local, self.embedding_frames, self.embedding_seconds / self.step_seconds)
            else:
                pretrained = interpolate(pretrained, local.shape[1], self.step_seconds / self.embedding_seconds)
            pretrained = self.dropout(pretrained)
            if self.training:
                draws = torch.rand(len(local), 1, 1, device=local.device)
                pretrained = pretrained * (draws >= WITHOUT_EMBEDDINGS)
                local = local * (draws < 1 - WITHOUT_LOGMEL)
        _, scores, clip_scores = self.score_sequence(torch.cat([local, pretrained], dim=2))
        if not self.training:
            without = torch.cat([local, torch.zeros_like(pretrained)], dim=2)
            _, scores_without, clip_scores_without = self.score_sequence(without)
            scores, clip_scores = (scores + scores_without) / 2, (clip_scores + clip_scores_without) / 2
        if self.embedding_frames:
            return Output(clip_scores, (scores * clip_scores.unsqueeze(1)).sqrt())
        return self.output(logmel, scores, clip_scores)


def interpolate(sequence: Tensor, frames: int, ratio: float) -> Tensor:
    """Return a sequence (B, N, D) at another frame rate: (B, `frames`, D), linear between the middles of its frames.

    Parameters
    ----------
    ratio : duration of a frame of the result, in frames of the sequence.
    """
    if ratio == 1 and frames == sequence.shape[1]:
        return sequence
    positions = (torch.arange(frames, device=sequence.device) + 0.5) * ratio - 0.5
    positions = positions.clamp(0, sequence.shape[1] - 1)
    before = positions.floor().long()
    after = (before + 1).clamp(max=sequence.shape[1] - 1)
    return torch.lerp(sequence[:, before], sequence[:, after], (positions - before)[:, None])
