"""Checks that predictions must pass: shapes, scores in [0, 1], every clip and class once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from remixbench.errors import InputError, nearest
from remixbench.scoring.separation import OF_CLIPS, OF_EVENTS
from remixbench.scoring.types import (
    FloatArray,
    IntArray,
    Masks,
    Predictions,
    Reference,
    SebbParameters,
    Separation,
    check_events,
    check_places,
)

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".aif", ".aiff")


def check_predictions(predictions: Predictions, reference: Reference) -> None:
    """Refuse predictions that were not made for this reference.

    Raises
    ------
    InputError
        If there is nothing to score, a shape does not fit, a score is not a float in [0, 1], frames do not cover the
        clips, or an event lies outside the clips and classes of the reference.
    """
    if not isinstance(predictions, Predictions) or not isinstance(reference, Reference):
        types = f"{type(reference).__name__} and {type(predictions).__name__}"
        raise InputError(f"found {types}, expected a Reference (of make_reference) and Predictions")
    clips, classes = reference.weak.shape
    tags, frames, edges = predictions.clip_scores, predictions.frame_scores, predictions.frame_edges
    for name, values in (("clip scores", tags), ("frame scores", frames), ("frame edges", edges)):
        if values is not None and (not isinstance(values, np.ndarray) or isinstance(values, np.ma.MaskedArray)):
            raise InputError(f"{name} are of type {type(values).__name__}, expected a NumPy array")
    where: list[Sequence[str]] = [reference.filenames, reference.classes]
    if predictions.is_empty:
        raise InputError("the predictions hold neither clip scores, frame scores nor events; give one of them")
    if tags is not None:
        if tags.shape != (clips, classes):
            raise InputError(f"clip scores have shape {tags.shape}, expected ({clips}, {classes}): clips, classes")
        _check_type(tags, "clip scores")
        check_scores(tags, "clip scores", where)
    if frames is not None:
        if frames.ndim != 3 or frames.shape[::2] != (clips, classes) or edges is None:
            raise InputError(
                f"frame scores have shape {frames.shape}, expected ({clips}, frames, {classes}), "
                "and their edges in seconds"
            )
        numbers = edges.dtype.kind in "iuf" and bool(np.isfinite(edges).all())
        if edges.shape != (frames.shape[1] + 1,) or not numbers:
            raise InputError(f"there are {edges.size} frame edges, expected {frames.shape[1] + 1} numbers that rise")
        _check_type(frames, "frame scores")
        check_scores(frames, "frame scores", [where[0], [f"frame {i}" for i in range(frames.shape[1])], where[1]])
        fit_edges(edges, float(reference.durations.max()), "frame edges")
    if predictions.events is not None:
        check_events(predictions.events, reference.durations, classes, "the predicted events")


def check_measures(
    masks: Masks | None,
    separation: Separation | None,
    sebbs: Sequence[SebbParameters] | None,
    reference: Reference,
) -> None:
    """Refuse masks, measures of separation and parameters of bounding boxes that are not of this reference."""
    shape = reference.weak.shape
    if masks is not None:
        check_places(masks.clip, masks.label, shape, "the maps: pair")
        if masks.active_bins is not None and masks.active_bins.shape != shape:
            raise InputError(f"active bins have shape {masks.active_bins.shape}, expected {shape}: clips, classes")
    if separation is not None:
        check_places(separation.clip, separation.label, shape, "the separated events: event")
        _check_values(separation.of_events, OF_EVENTS, "events")
        _check_values(separation.of_clips, OF_CLIPS, "clips")
        of_events, of_clips = separation.of_events.values(), separation.of_clips.values()
        lengths = [(values, separation.clip.shape) for values in (separation.label, *of_events)]
        lengths += [(values, shape[:1]) for values in of_clips]
        if any(values.shape != expected for values, expected in lengths):
            raise InputError("the measures of separation differ in length; give one for every event, or every clip")
        if any(np.isinf(values).any() for values in (*of_events, *of_clips)):
            raise InputError("a measure of separation is infinite; limit it, as `sdr_improvement` does")
    if sebbs is not None and not (
        len(sebbs) == shape[1] and all(isinstance(parameters, SebbParameters) for parameters in sebbs)
    ):
        raise InputError(f"there are {len(sebbs)} parameters of bounding boxes, expected SebbParameters for each class")


def _check_values(measures: Mapping[str, Any], registered: Collection[str], of: str) -> None:
    """Refuse measures of separation that are not `registered`, and values that are not real numbers.

    Other names would count for other metrics.
    """
    for name, values in measures.items():
        if name not in registered:
            raise InputError(f"'{name}' is no measure of separated {of}, expected {', '.join(registered)}")
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
            raise InputError(f"the values of '{name}' are not a NumPy array of real numbers")


def _check_type(scores: npt.NDArray[Any], place: str) -> None:
    if scores.dtype not in (np.float32, np.float64):
        raise InputError(f"{place} are of type {scores.dtype}, expected float32 or float64")


def check_scores(scores: npt.NDArray[Any], place: str, where: Sequence[Sequence[str]]) -> None:
    """Refuse scores that are not finite or outside [0, 1], with a guess at what they are.

    Parameters
    ----------
    scores : array of any shape
    place : the file or key that they come from
    where : for each axis of `scores`, what each index is called in the message
    """
    if not scores.size:
        return
    low, high = float(scores.min()), float(scores.max())
    if low >= 0 and high <= 1:
        return
    outside = ~((scores >= 0) & (scores <= 1)) if np.isfinite(low + high) else ~np.isfinite(scores)
    index = np.unravel_index(int(outside.argmax()), scores.shape)
    at = ", ".join(names[int(i)] for names, i in zip(where, index, strict=True))
    value = float(scores[index])
    if not np.isfinite(value):
        raise InputError(f"{place}: {at}: {value} is not finite, expected a score in [0, 1]")
    if low >= -1e-3 and high <= 1 + 1e-3:
        remedy = "rounding, it seems: clip the scores to [0, 1]"
    elif low < 0:
        remedy = "these look like logits: apply a sigmoid"
    elif 2 < high <= 100:
        remedy = "these look like percentages: divide them by 100"
    else:
        remedy = "rescale the scores to [0, 1]"
    raise InputError(f"{place}: {at}: {value:g} is outside [0, 1] ({remedy})")


def match_clips(names: Sequence[str], filenames: Sequence[str], place: str, where: Sequence[str] = ()) -> IntArray:
    """Return for each clip of `filenames` the row in `names` that is meant.

    A name may come with or without a leading folder and an audio suffix.

    `where[i]` says where name i stands, in messages; by default "row i". Every clip has to be there once.
    """
    where = where or [f"row {index}" for index in range(len(names))]
    rows = clip_rows(names, filenames, place, where)
    at = np.full(len(filenames), -1)
    for index, row in enumerate(rows):
        if at[row] >= 0:
            first = where[at[row]]
            raise InputError(
                f"{place}: {where[index]}: clip '{filenames[row]}' appears twice (before at {first}); keep one"
            )
        at[row] = index
    missing = np.flatnonzero(at < 0)
    if len(missing):
        raise InputError(
            f"{place}: {len(missing)} of the fold's {len(at)} clips missing, "
            f"first '{filenames[missing[0]]}'; give every clip once"
        )
    return at


def clip_rows(
    names: Sequence[str],
    filenames: Sequence[str],
    place: str,
    where: Sequence[str] = (),
    *,
    clips_of: str = "this fold",
    remedy: str = "",
) -> IntArray:
    """Return for each of `names` its row in `filenames`; InputError for one that is unknown or ambiguous.

    A name may come with or without a leading folder and an audio suffix. In messages, `clips_of` is what has the clips,
    and `remedy` the advice where a clip is not in it.
    """
    exact = {name: row for row, name in enumerate(filenames)}
    bare: dict[str, list[int]] = {}
    for row, name in enumerate(filenames):
        bare.setdefault(_bare(name), []).append(row)
    result = np.empty(len(names), np.int64)
    for index, name in enumerate(names):
        rows = [exact[name]] if name in exact else bare.get(_bare(name), [])
        at = f"{place}: {where[index] if where else f'row {index}'}"
        if len(rows) > 1:
            raise InputError(
                f"{at}: '{name}' could be any of {len(rows)} clips, such as '{filenames[rows[0]]}'; name it in full"
            )
        if not rows:
            padded = [key for key in bare if key.lstrip("0") == _bare(name).lstrip("0")]
            hint = f"; leading zeros lost? '{padded[0]}' is there" if len(padded) == 1 else nearest(name, filenames)
            raise InputError(
                f"{at}: no clip '{name}' in {clips_of}{hint}; it has {len(filenames)}, '{filenames[0]}' to"
                f" '{filenames[-1]}'{remedy}"
            )
        result[index] = rows[0]
    return result


def _bare(name: str) -> str:
    last = PurePosixPath(name.replace("\\", "/")).name
    return last[: last.rindex(".")] if last.lower().endswith(AUDIO_SUFFIXES) else last


def match_classes(labels: Sequence[str], classes: Sequence[str], place: str) -> IntArray:
    """Return for each of the classes its place in `labels`, which may come in any order.

    Every class has to be there once.
    """
    for index, label in enumerate(labels):
        if label not in classes:
            raise InputError(f"{place}: column '{label}' is not a class of this data set{nearest(label, classes)}")
        if label in labels[:index]:
            raise InputError(f"{place}: class '{label}' appears twice; keep one")
    for label in classes:
        if label not in labels:
            count = len(set(classes) - set(labels))
            raise InputError(f"{place}: {count} of {len(classes)} classes missing, first '{label}'")
    return np.array([labels.index(label) for label in classes], np.int64)


def fit_edges(edges: FloatArray, duration: float, at: str) -> FloatArray:
    """Check that a grid of frames covers a clip of `duration` seconds, and cut it at the clip's end.

    Raises
    ------
    InputError
        If more than a frame lies beyond the end, or more than a frame and 10 % of the clip are not covered.
    """
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise InputError(f"{at}: expected one frame or more, each ending after it begins")
    if edges[0] != 0:
        raise InputError(f"{at}: the first frame begins at {edges[0]:g} s, expected 0")
    next_edge = 2 * edges[-1] - edges[-2]
    if edges[-2] >= duration or (edges[-1] < 0.9 * duration and next_edge <= duration):
        hint = ""
        if 0.9 * duration <= edges[-1] / 1000 <= 1.1 * duration:
            hint = " (milliseconds? divide by 1000)"
        elif 0.9 * edges[-1] <= duration / 1000 <= 1.1 * edges[-1]:
            hint = " (are the durations milliseconds? divide them by 1000)"
        raise InputError(
            f"{at}: {len(edges) - 1} frames end at {edges[-1]:g} s but the clips last {duration:g} s{hint}"
        )
    return np.minimum(edges, duration)
