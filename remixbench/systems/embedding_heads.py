"""Systems on the embeddings of a frozen pretrained encoder.

`emb-linear` and `emb-mlp` classify every embedding and pool the frame scores over time: they show what it has learned.
`crnn-emb` concatenates the encoder's frames with the features of `crnn` before the recurrent layer, as the baseline of
DCASE 2023 Task 4 does: the encoder says what sounds, the log-mel when.

Shapes: B clips, C classes, T frames of the log-mel, T' of the embeddings, D dimensions of an embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from remixbench.systems.crnn import DROPOUT, FRAME_SECONDS, UNITS, Encoder, Pooling, TimePooling, time_strides
from remixbench.systems.models import float32, scaled, set_bias
from remixbench.systems.output import Output

HIDDEN = 64
"""Units of the hidden layer of `emb-mlp`, at width 1."""
PROJECTED = 128
"""Features of an embedding in `crnn-emb`, at width 1: as many as the last block of `crnn` has channels."""


class EmbeddingHead(nn.Module):
    """Frame scores of embeddings, pooled over time.

    Parameters
    ----------
    hidden : units of a hidden layer; 0 for none.
    """

    def __init__(
        self,
        classes: int,
        dimensions: int,
        embedding_seconds: float,
        hidden: int,
        pooling: Pooling = "linear",
        bias: str = "prior",
    ) -> None:
        super().__init__()
        self.bias = bias
        self.frame_seconds = embedding_seconds
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


def emb_linear(
    classes: int, dimensions: int, embedding_seconds: float, pooling: Pooling = "linear", bias: str = "prior"
) -> nn.Module:
    """Make `emb-linear`: a linear layer on every embedding."""
    return EmbeddingHead(classes, dimensions, embedding_seconds, 0, pooling, bias)


def emb_mlp(
    classes: int,
    dimensions: int,
    embedding_seconds: float,
    width: float = 1.0,
    pooling: Pooling = "linear",
    bias: str = "prior",
) -> nn.Module:
    """Make `emb-mlp`: a hidden layer on every embedding."""
    return EmbeddingHead(classes, dimensions, embedding_seconds, scaled(HIDDEN, width), pooling, bias)


class CrnnEmb(nn.Module):
    """`crnn` with the embeddings of an encoder concatenated to its features before the recurrent layer.

    Both are brought to the finer of the two frame rates, by linear interpolation between the middles of frames.

    Attributes
    ----------
    frame_seconds : distance of two frame scores, the finer of the distances of both.
    """

    def __init__(
        self,
        classes: int,
        frames: int,
        dimensions: int,
        embedding_frames: int,
        embedding_seconds: float,
        width: float = 1.0,
        pooling: Pooling = "linear",
        bias: str = "prior",
        frame_seconds: float = FRAME_SECONDS,
    ) -> None:
        super().__init__()
        self.bias = bias
        units, projected = scaled(UNITS, width), scaled(PROJECTED, width)
        self.encoder = Encoder(time_strides(frame_seconds), width=width)
        features_seconds = self.encoder.time_stride * frame_seconds
        features_frames = frames
        for stride in time_strides(frame_seconds):
            features_frames = -(-features_frames // stride)
        self.frame_seconds = min(features_seconds, embedding_seconds)
        self.frames = features_frames if features_seconds <= embedding_seconds else embedding_frames
        self.features_ratio = self.frame_seconds / features_seconds
        self.embeddings_ratio = self.frame_seconds / embedding_seconds
        self.project = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(dimensions, projected), nn.ReLU())
        self.dropout = nn.Dropout(DROPOUT)
        self.recurrent = nn.GRU(self.encoder.channels[-1] + projected, units, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(2 * units, classes)
        self.pool = TimePooling(pooling, classes, 2 * units)

    def set_prior(self, prior: Tensor) -> None:
        """With `bias="prior"`, let the frame scores begin near the mean labels `prior` (C,) instead of 0.5."""
        if self.bias == "prior":
            set_bias(self.classifier.bias, prior)

    def forward(self, logmel: Tensor, embeddings: Tensor) -> Output:
        """Map standardised log-mel (B, T, F) and embeddings (B, T', D) to scores."""
        maps = self.encoder(logmel)
        with float32(logmel):  # the recurrence and the poolings accumulate over many frames
            local = interpolate(maps.float().mean(dim=3).transpose(1, 2), self.frames, self.features_ratio)
            pretrained = interpolate(self.project(embeddings.float()), self.frames, self.embeddings_ratio)
            features = self.dropout(self.recurrent(self.dropout(torch.cat([local, pretrained], dim=2)))[0])
            frame_scores = torch.sigmoid(self.classifier(features))
            return Output(self.pool(frame_scores, features), frame_scores)


def interpolate(sequence: Tensor, frames: int, ratio: float) -> Tensor:
    """Return a sequence (B, N, D) at another frame rate: (B, `frames`, D), linear between the middles of its frames.

    Parameters
    ----------
    ratio : duration of a frame of the result, in frames of the sequence.
    """
    if ratio == 1 and frames == sequence.shape[1]:
        return sequence
    places = (torch.arange(frames, device=sequence.device) + 0.5) * ratio - 0.5
    places = places.clamp(0, sequence.shape[1] - 1)
    before = places.floor().long()
    after = (before + 1).clamp(max=sequence.shape[1] - 1)
    return torch.lerp(sequence[:, before], sequence[:, after], (places - before)[:, None])
