"""`crnn-sep`: the `crnn` with a mask per class and one for the background, trained from weak labels only.

A decoder on the encoder's feature maps, with skip connections as in U-Net (Ronneberger et al. 2015), estimates masks
that sum to one. They learn from the classifier (Pishdadian, Wichern and Le Roux, TASLP 2020): in the log-mel that a
class's mask leaves, it is to find this class and no other; in what the background's mask leaves, none.

Shapes: as in `remixbench.systems.crnn`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remixbench.systems.crnn import FRAME_SECONDS, Crnn, Pooling, time_strides
from remixbench.systems.models import float32
from remixbench.systems.output import Output

LEAST = 1e-3
"""The smallest gain of a mask (-60 dB), and the smallest frame score that masks are weighted by."""
LOG_STD = 1.5
"""Standard deviation of a log-mel band, in nats, that turns the logarithm of a mask into standardised log-mel."""
BACKGROUND_BIAS = 1.0
"""What the background's logit begins with."""
SPARSITY = 0.02
"""Weight of the mean of all classes' masks in the loss: what no class needs is the background's."""


class MaskDecoder(nn.Module):
    """Feature maps of the encoder to a logit per class, frame and band, and one for the background.

    The finest map is that of the stem; each of its cells gives the logits of all frames and bands that it covers, so
    that nothing is computed at full resolution here either.

    Parameters
    ----------
    channels : of the encoder's maps, from fine to coarse.
    features : of the sequence.
    cell : frames and bands that a cell of the stem covers.
    """

    def __init__(self, channels: list[int], features: int, classes: int, cell: tuple[int, int]) -> None:
        super().__init__()
        self.cell = cell
        self.bottom = nn.Linear(features, channels[-1])
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(coarse + fine, fine, 3, padding=1, bias=False), nn.BatchNorm2d(fine), nn.ReLU(inplace=True)
            )
            for coarse, fine in pairwise(reversed(channels))
        )
        self.logits = nn.Conv2d(channels[0], (classes + 1) * cell[0] * cell[1], 3, padding=1)
        self.background = nn.Parameter(torch.tensor(BACKGROUND_BIAS))

    def forward(self, stages: list[Tensor], features: Tensor, size: tuple[int, int]) -> Tensor:
        """Return logits (B, C + 1, T, F), the background's last.

        Parameters
        ----------
        stages : feature maps of the encoder, from fine to coarse
        features : (B, T', features) of the sequence, added to the coarsest map
        size : T and F
        """
        y = stages[-1] + self.bottom(features).transpose(1, 2).unsqueeze(3)
        for step, skip in zip(self.steps, reversed(stages[:-1]), strict=True):
            y = step(torch.cat([F.interpolate(y, size=skip.shape[2:]), skip], dim=1))
        cells = self.logits(y).float()
        batch, _, rows, columns = cells.shape
        frames, bands = self.cell
        logits = cells.view(batch, -1, frames, bands, rows, columns).permute(0, 1, 4, 2, 5, 3)
        logits = logits.reshape(batch, -1, rows * frames, columns * bands)[:, :, : size[0], : size[1]]
        return torch.cat([logits[:, :-1], logits[:, -1:] + self.background], dim=1)


class CrnnSep(Crnn):
    """The `crnn` and a decoder of masks; parameters as of `Crnn`.

    Parameters
    ----------
    separation : weight of the classification of separated log-mel in the loss.
    """

    def __init__(
        self,
        classes: int,
        width: float = 1.0,
        pooling: Pooling = "linear",
        frame_seconds: float = FRAME_SECONDS,
        separation: float = 1.0,
    ) -> None:
        super().__init__(classes, width, pooling, frame_seconds)
        self.separation = separation
        cell = (time_strides(frame_seconds)[0], 4)
        self.decoder = MaskDecoder(self.encoder.channels, self.classifier.in_features, classes, cell)

    def forward(self, x: Tensor) -> Output:
        """Map standardised log-mel (B, T, F) to scores; `tf_maps` are the masks of the classes."""
        stages, features, frame_scores, clip_scores = self._classify(x)
        masks = self._masks(x, stages, features, frame_scores)
        return Output(clip_scores, frame_scores, masks[:, :-1])

    def training_step(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the loss: of the tags, and of the tags of what two masks leave, those of one class and the background.

        The class is drawn for each clip from those that it has by its weak labels.
        """
        stages, features, frame_scores, clip_scores = self._classify(x)
        labels = targets.float()
        loss = _cross_entropy(clip_scores, labels)
        if not self.separation:
            return loss
        masks = self._masks(x, stages, features, frame_scores * (labels > 0).float().unsqueeze(1))
        drawn = torch.multinomial(labels + LEAST * LEAST, 1)
        clips = torch.arange(len(x), device=x.device)
        left = torch.cat([masks[clips, drawn[:, 0]], masks[:, -1]])
        with _fixed_statistics(self.encoder):
            scores = self._classify(torch.cat([x, x]) + left.clamp_min(LEAST).log() / LOG_STD)[3]
        alone = torch.zeros_like(labels).scatter(1, drawn, labels.gather(1, drawn))
        expected = torch.cat([alone, torch.zeros_like(labels)])
        return loss + self.separation * _cross_entropy(scores, expected) + SPARSITY * masks[:, :-1].sum(dim=1).mean()

    def _classify(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """Return the encoder's feature maps, features of the sequence, frame scores and clip scores."""
        stages = self.encoder.stages(x)
        with float32(x):
            sequence = self.dropout(stages[-1].float().mean(dim=3).transpose(1, 2))
            features = self.dropout(self.recurrent(sequence)[0])
            frame_scores = torch.sigmoid(self.classifier(features))
            return stages, features, frame_scores, self.pool(frame_scores, features)

    def _masks(self, x: Tensor, stages: list[Tensor], features: Tensor, frame_scores: Tensor) -> Tensor:
        """Return masks (B, C + 1, T, F) that sum to one, the background's last.

        A class's part is weighted by its frame score, so that it is where the class is detected.
        """
        logits = self.decoder(stages, features, x.shape[1:])
        weights = F.interpolate(frame_scores.detach().transpose(1, 2), size=x.shape[1]).clamp_min(LEAST).log()
        return torch.cat([logits[:, :-1] + weights.unsqueeze(3), logits[:, -1:]], dim=1).softmax(dim=1)


def _cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    with torch.autocast(scores.device.type, enabled=False):
        bounded = scores.float().nan_to_num(0.5).clamp(0, 1)
        return F.binary_cross_entropy(bounded, labels) + 0 * scores.sum()  # NaN stays NaN by the product


@contextmanager
def _fixed_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norms inside use the statistics of mixtures, and do not learn those of anything else."""
    norms = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d) and each.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()
