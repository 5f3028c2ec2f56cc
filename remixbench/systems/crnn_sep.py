"""`crnn-sep`: the `crnn` with a mask per class and one for the background, trained from weak labels only.

Tags are learned as by the `crnn`. Beside them, a decoder on the encoder's feature maps, with skip connections as in
U-Net (Ronneberger et al. 2015), learns masks, from mixtures of two training clips: how much of each cell belongs to
either clip is known, as in mix-and-separate (Zhao et al., ECCV 2018), and so are the classes that may claim it. Within
a clip, what rises above the stationary part of its band belongs to its classes, the rest is background.

The masks of the classes in a mixture and of its background sum to one in training. Which classes those are is known
from the labels there; later it is not, so a map says how a class and the background alone share a cell, and
`remixbench.dataset.masks.share` divides it among the classes that are asked for.

Shapes: as in `remixbench.systems.crnn`; K classes that some clip of a batch has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from remixbench.systems.crnn import FRAME_SECONDS, Crnn, Pooling, time_strides
from remixbench.systems.output import Output, cross_entropy, switched_off

LOG_STD = 1.25
"""Standard deviation of a log-mel band, in nats, until `set_std` tells that of the training clips."""
LEAST = 1e-3
"""The smallest frame score that masks are weighted by."""
STATIONARY = 0.5
"""Quantile of a band over the frames of a clip, the median, that stands for the level of its stationary part."""
OVERSUBTRACTION = 2.0
"""How many times the stationary power is subtracted from a cell's; the rest is the power of the events."""
EVENT_WEIGHT = 5.0
"""By how much more a cell of events only counts in the loss than one of background only."""
BIAS = -1.0
"""Added to the log odds of a class outside training. Masks that take less than their expected share separate better by
SI-SDR; chosen on validation clips."""
FLOOR = -50.0
"""The least logarithm of a mask in the loss."""


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
        self.logits = nn.Conv2d(channels[0], (classes + 1) * cell[0] * cell[1], 1)

    def forward(self, stages: list[Tensor], features: Tensor, size: tuple[int, int], class_indices: Tensor) -> Tensor:
        """Return logits (B, K + 1, T, F) of some classes of each clip, the background's last.

        Parameters
        ----------
        stages : feature maps of the encoder, from fine to coarse
        features : (B, T', features) of the sequence, added to the coarsest map
        size : T and F
        class_indices : (B, K) the classes
        """
        y = stages[-1] + self.bottom(features).transpose(1, 2).unsqueeze(3)
        for step, skip in zip(self.steps, reversed(stages[:-1]), strict=True):
            y = step(torch.cat([F.interpolate(y, size=skip.shape[2:]), skip], dim=1))
        frames, bands = self.cell
        cells = self.logits(y).float()
        batch, _, rows, columns = cells.shape
        cells = cells.view(batch, -1, frames * bands, rows, columns)
        background = class_indices.new_full((batch, 1), cells.shape[1] - 1)
        index = torch.cat([class_indices, background], dim=1)[:, :, None, None, None]
        cells = cells.gather(1, index.expand(-1, -1, *cells.shape[2:]))
        logits: Tensor = cells.view(batch, -1, frames, bands, rows, columns).permute(0, 1, 4, 2, 5, 3)
        return logits.reshape(batch, -1, rows * frames, columns * bands)[:, :, : size[0], : size[1]]


class CrnnSep(Crnn):
    """The `crnn` and a decoder of masks; parameters as in `Crnn`.

    The masks are learned from pairs: clip i of the first half of a batch with clip i of its second half. Where several
    processes train together, `paired` says that a batch is sharded by such pairs.

    `masks` says whether `forward` computes maps, on which scores do not depend (`without_masks`).

    `log_std` is the standard deviation of log-mel, by which standardised log-mel becomes the logarithm of a magnitude.

    Parameters
    ----------
    separation : weight of the loss of the masks. They train the decoder alone, so that tags are those of a `crnn`.
    """

    paired = True
    masks = True
    log_std: Tensor

    def __init__(
        self,
        classes: int,
        width: float = 1.0,
        pooling: Pooling = "quadratic",
        frame_seconds: float = FRAME_SECONDS,
        separation: float = 1.0,
        bias: str = "prior",
    ) -> None:
        super().__init__(classes, width, pooling, frame_seconds, bias)
        self.separation = separation
        self.register_buffer("log_std", torch.tensor(LOG_STD))
        cell = (time_strides(frame_seconds)[0], 4)
        self.mask_decoder = MaskDecoder(self.encoder.channels, self.classifier.in_features, classes, cell)

    def forward(self, x: Tensor) -> Output:
        """Map standardised log-mel (B, T, F) to scores; a class's map is its mask against the background alone."""
        stages, features, frame_scores, clip_scores = self.classify(x)
        if not self.masks:
            return self.output(x, frame_scores, clip_scores)
        everyone = torch.arange(frame_scores.shape[2], device=x.device).expand(len(x), -1)
        maps = (self._log_odds(x, stages, features, frame_scores, everyone) + BIAS).sigmoid()
        return self.output(x, frame_scores, clip_scores, maps)

    def set_std(self, std: Tensor) -> None:
        """Take the mean of the standard deviations (F,) that the log-mel was divided by."""
        self.log_std.copy_(std.mean())

    def training_step(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the loss: cross-entropy of the tags, and that of the masks in mixtures of pairs of clips.

        Each pair counts as its two clips; in an odd batch, the clip in the middle has no partner and no masks.
        """
        loss = cross_entropy(self.classify(x)[3], targets)
        half = len(x) // 2
        if not half:
            return loss + sum(parameter.sum() for parameter in self.mask_decoder.parameters()) * 0
        masks = self._mask_loss(x[:half], x[-half:], targets[:half] > 0, targets[-half:] > 0)
        return loss + self.separation * masks * (2 * half / len(x))

    def _mask_loss(self, first: Tensor, second: Tensor, in_first: Tensor, in_second: Tensor) -> Tensor:
        """Return the cross-entropy of the masks in the sum of two clips, the mean over pairs of clips (B, T, F) with
        classes (B, C).

        A cell belongs to the classes of the first clip, to those of the second, and to the background, each by its
        share of the power; a class of both may claim the shares of either. Masks are those of the classes that are in
        the mixture and of the background, and sum to one.
        """
        to_power = 2 * self.log_std
        x = torch.logaddexp(to_power * first, to_power * second) / to_power
        share = torch.sigmoid(to_power * (first - second))
        shares = [event_share(first, self.log_std) * share, event_share(second, self.log_std) * (1 - share)]
        events = torch.stack(shares, dim=1)
        events = events * torch.stack([in_first, in_second], dim=1).any(dim=2)[..., None, None]
        present = in_first | in_second
        # on a GPU all classes: reading their number would make the CPU wait in every step
        most = present.shape[1] if x.device.type != "cpu" else max(1, int(present.sum(dim=1).max()))
        class_indices = present.float().topk(most, dim=1).indices
        with torch.no_grad(), _evaluation(self):
            stages, features, frame_scores, _ = self.classify(x)
        odds = self._log_odds(x, stages, features, frame_scores, class_indices)
        odds = odds + torch.where(present.gather(1, class_indices), 0.0, 2 * FLOOR)[..., None, None]
        masks = torch.cat([odds, torch.zeros_like(odds[:, :1])], dim=1).log_softmax(dim=1)
        claims = torch.stack([in_first, in_second], dim=1).gather(2, class_indices.unsqueeze(1).expand(-1, 2, -1))
        claims = torch.where(claims, 0.0, 2 * FLOOR)[..., None, None]
        log_masks = (masks[:, None, :-1] + claims).logsumexp(dim=2).clamp_min(FLOOR)
        background = 1 - events.sum(dim=1)
        entropy = -(events * log_masks).sum(dim=1) - background * masks[:, -1].clamp_min(FLOOR)
        weight = 1 + EVENT_WEIGHT * (1 - background)
        return ((weight * entropy).sum(dim=(1, 2)) / weight.sum(dim=(1, 2))).mean()

    def _log_odds(
        self, x: Tensor, stages: list[Tensor], features: Tensor, frame_scores: Tensor, class_indices: Tensor
    ) -> Tensor:
        """Return the log odds of a class against the background in each cell, (B, K, T, F).

        A class's part is weighted by its frame score, so that it is where the class is detected; the background's falls
        with the power of a cell above the mean of its band, so that the decoder begins with a Wiener filter.
        """
        logits: Tensor = self.mask_decoder(stages, features, x.shape[1:], class_indices)
        index = class_indices.unsqueeze(2).expand(-1, -1, frame_scores.shape[1])
        weights = F.interpolate(frame_scores.detach().transpose(1, 2).gather(1, index), size=x.shape[1])
        above = 2 * self.log_std * (x - x.mean(dim=1, keepdim=True)).float()
        return logits[:, :-1] - logits[:, -1:] + weights.clamp_min(LEAST).log().unsqueeze(3) + above.unsqueeze(1)


def event_share(x: Tensor, log_std: Tensor | float = LOG_STD) -> Tensor:
    """Return by how much each cell rises above the stationary part of its band, as a share of its power, (B, T, F).

    Spectral subtraction (Boll 1979) of standardised log-mel (B, T, F).
    """
    stationary = x.float().kthvalue(max(1, round(STATIONARY * x.shape[1])), dim=1, keepdim=True).values
    return (1 - OVERSUBTRACTION * torch.exp(2 * log_std * (stationary - x))).clamp_min(0)


def without_masks(network: nn.Module) -> AbstractContextManager[None]:
    """Skip the decoder of masks of a `CrnnSep`; other networks are unchanged."""
    return switched_off(network, "masks") if isinstance(network, CrnnSep) else nullcontext()


@contextmanager
def _evaluation(network: Crnn) -> Iterator[None]:
    """Run without dropout, and with batch norm by its running statistics, which stay unchanged."""
    parts = [network.encoder, network.dropout]
    modes = [part.training for part in parts]
    for part in parts:
        part.eval()
    try:
        yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.train(mode)
