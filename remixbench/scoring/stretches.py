"""All detections that any threshold makes: the stretch around each frame that scores no less than it.

As the threshold falls, stretches appear at a frame's score and vanish when they grow into a longer one, at
the higher of the two scores beside them. A sequence of T frames thus has at most T different detections over
all thresholds, and counting them once with the scores at which they come and go is exact (Ebbers et al. 2022
count per threshold instead).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from remixbench.scoring.events import IntArray

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Stretches:
    """Detections of one class in many clips over all thresholds; level 0 is the highest score of the class.

    Attributes
    ----------
    scores : (levels,) distinct scores, falling; at level i everything that scores at least scores[i] is on
    clip : (stretches,) the clip of each
    start, stop : (stretches,) its first frame, and the frame after its last
    birth, death : (stretches,) the level at which it appears, and at which it has become part of a longer
    one;
        death is the number of levels where that never happens
    """

    scores: Floats
    clip: IntArray
    start: Indices
    stop: Indices
    birth: IntArray
    death: IntArray


def stretches_of(scores: Floats) -> Stretches:
    """Return the detections at all thresholds of scores (frames, clips) of one class."""
    frames, clips = scores.shape
    before, after, kept = _bounds(scores)
    distinct, rising = np.unique(scores.reshape(-1), return_inverse=True)
    level = np.full((frames + 2, clips), len(distinct))
    level[1:-1] = len(distinct) - 1 - rising.reshape(scores.shape)
    start, clip = np.nonzero(kept)
    left, right = before[start, clip], after[start, clip]
    birth = level[start + 1, clip]
    death = np.minimum(level[left, clip], level[right, clip])
    return Stretches(distinct[::-1], clip, left, right - 1, birth, death)


def _bounds(scores: Floats) -> tuple[Indices, Indices, npt.NDArray[np.bool_]]:
    """Return for each frame the nearest lower one before and after it, and whether it stands for its stretch.

    Frames are numbered from 1; 0 and frames + 1 stand for the ends. Of frames with one score in one stretch
    the last stands for it (only its bounds are right). All sequences go through the stack algorithm side by
    side.
    """
    frames, clips = scores.shape
    values = np.concatenate((np.full((1, clips), -np.inf, np.float32), scores)).reshape(-1)
    before = np.zeros((frames + 1) * clips, np.int32)
    after = np.full((frames + 1) * clips, frames + 1, np.int32)
    kept = np.ones((frames + 1) * clips, bool)
    for frame in range(1, frames + 1):
        here = np.arange(frame * clips, (frame + 1) * clips)
        value = values[here]
        there = here - clips
        found = values[there]
        lower = found < value
        before[here] = frame - 1
        # Go back over frames that are not lower until each sequence has met one that is.
        open_ = np.flatnonzero(~lower)
        while len(open_):
            place, mine = there[open_], value[open_]
            equal = found[open_] == mine
            kept[place[equal]] = False
            after[place[~equal]] = frame
            back = before[place] * np.int64(clips) + open_
            there[open_] = back
            before[here[open_]] = before[place]
            found[open_] = values[back]
            open_ = open_[found[open_] >= mine]
    shape = (frames + 1, clips)
    return before.reshape(shape)[1:], after.reshape(shape)[1:], kept.reshape(shape)[1:]
