"""Random small folds for the tests of scoring: touching events, ties, nothing true, nothing found, one class."""

import numpy as np

from remixbench.scoring import Predictions, event_table, make_reference
from remixbench.scoring.postprocessing import PostProcessing, detect_events

THRESHOLD = 0.45


def make_case(seed):
    """Return a random fold: (reference, predictions, decided events)."""
    rng = np.random.default_rng(seed)
    clips, classes, frames = (
        rng.integers(1, 5),
        1 if seed % 10 == 3 else rng.integers(2, 5),
        rng.integers(5, 40),
    )
    step = rng.choice([0.032, 0.1, 0.25])
    edges = np.round(np.arange(frames + 1) * step, 6)
    count = 0 if seed % 10 == 1 else rng.integers(1, 3 * clips + 2)
    onset = rng.uniform(0, edges[-1] * 0.9, count)
    length = rng.uniform(step, edges[-1], count)
    end = edges[-1] - 0.0123
    if seed % 2:  # on the grid of the frames: touching events, exact collars
        onset, length = np.round(onset / step) * step, np.round(length / step) * step
        end = edges[-1]
    events = event_table(
        rng.integers(0, clips, count),
        rng.integers(0, classes, count),
        onset,
        np.minimum(onset + length, end),
    )
    names = [f"{i:05d}" for i in range(clips)]
    reference = make_reference(names, [f"c{k}" for k in range(classes)], events, edges[-1])
    scores = rng.random((clips, frames, classes))
    if seed % 3 == 0:  # smooth
        scores = np.cumsum(scores - 0.5, axis=1) / 4 + 0.5
        scores = np.clip(scores, 0, 1)
    if seed % 4 == 0:  # ties
        scores = np.round(scores, 1)
    if seed % 10 == 7:  # nothing found
        scores *= 0.4
    predictions = Predictions(None, scores.astype(np.float32), edges)
    decided = detect_events(predictions.frame_scores, edges, PostProcessing(THRESHOLD))
    return reference, predictions, decided
