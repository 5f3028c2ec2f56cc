"""Metrics in one line: from arrays, DataFrames or files to a value, without a data set of remixbench.

Clip scores are arrays (clips, classes). Events are tables as DCASE has them, with the columns `filename`, `onset`,
`offset` and `event_label`: a pandas DataFrame, or the path of a CSV or TSV file. Times are seconds. A clip without
events has no row, or one row with its name alone; a clip with estimated events must occur in the reference. Every
function calls the kernel that `score_predictions` uses, with each clip counted once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from remixbench.errors import InputError, nearest
from remixbench.scoring import bounding_boxes, detection, psds_exact
from remixbench.scoring.clip_based import label_precisions, rank_classes, rank_pairs, ranked_average_precision
from remixbench.scoring.events import (
    EVENT_COLUMNS,
    read_durations,
    read_event_list,
    refuse_doubles,
    refuse_milliseconds,
)
from remixbench.scoring.io import frame_paths, frame_tables, read_numbers
from remixbench.scoring.types import (
    MAX_SECONDS,
    TINY,
    BoolArray,
    EventTable,
    FloatArray,
    Reference,
    SebbParameters,
    divide,
    make_reference,
    mean_defined,
    require_number,
)
from remixbench.scoring.validate import clip_rows, fit_edges

if TYPE_CHECKING:
    import pandas as pd

    Events = pd.DataFrame | str | Path

Parameters = SebbParameters | Mapping[str, SebbParameters]
Clips = Sequence[tuple[FloatArray, FloatArray]]
"""Frame edges (frames + 1,) and scores (frames, classes) of each clip."""


MOST_SEGMENTS = 10**9
"""The most segments of all clips and classes; each takes a few bytes of memory."""
_NAME_ALONE = "; a reference clip without events has a row with its name alone"


@dataclass(frozen=True)
class DetectionScores:
    """Detection metrics over all clips; NaN where undefined.

    Attributes
    ----------
    f1 : micro F1, of all events (or segments) pooled
    f1_macro : mean of F1 over the classes that occur in the reference
    precision, recall : of all events (or segments) pooled
    error_rate : segment-based error rate, which may exceed 1; None for the other metrics
    per_class : F1 by event label
    """

    f1: float
    f1_macro: float
    precision: float
    recall: float
    error_rate: float | None = None
    per_class: dict[str, float] = field(default_factory=dict)


def average_precision(
    reference: npt.ArrayLike, scores: npt.ArrayLike, *, average: Literal["macro", "micro"] = "macro"
) -> float:
    """Return the average precision of clip scores, Σ (R_n − R_{n−1}) P_n over the distinct scores.

    Equal to `sklearn.metrics.average_precision_score` where every class occurs; a class that does not is left out of
    the macro mean.

    Parameters
    ----------
    reference : (clips, classes), or (clips,) for one class; 1 where the class occurs in the clip, else 0.
    scores : of the same shape; only their order matters.
    average : "macro" for the mean over classes, "micro" for all pairs of clip and class in one ranking.

    Returns
    -------
    A value in [0, 1]; NaN where nothing is positive.

    Raises
    ------
    InputError
        If the shapes differ, the reference holds something other than 0 and 1, or a score is NaN or infinite.

    Examples
    --------
    >>> from remixbench import scoring
    >>> scoring.average_precision([[1, 0], [0, 1], [1, 0]], [[0.9, 0.8], [0.6, 0.7], [0.4, 0.1]])
    0.6666666666666666
    """
    weak, values = _tags(reference, scores)
    once = np.ones((len(weak), 1))
    if average == "micro":
        return float(ranked_average_precision(rank_pairs(weak, values), once)[0])
    if average != "macro":
        raise InputError(f"average '{average}': expected 'macro' or 'micro'")
    return float(
        mean_defined(np.array([ranked_average_precision(ranking, once)[0] for ranking in rank_classes(weak, values)]))
    )


def lwlrap(reference: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the label-weighted label-ranking average precision of clip scores (DCASE 2019 Task 2).

    The mean over all labels of all clips of the precision at the label's rank within its clip. Only the order of scores
    within a clip matters. Arguments, result and errors are those of `average_precision`.

    Examples
    --------
    >>> from remixbench import scoring
    >>> scoring.lwlrap([[1, 0, 0], [0, 1, 1]], [[0.9, 0.5, 0.1], [0.8, 0.9, 0.2]])
    0.8888888888888888
    """
    precision_sums, labels = label_precisions(*_tags(reference, scores))
    return float(divide(precision_sums.sum(), labels.sum()))


def segment_based(reference: Events, estimate: Events, *, time_resolution: float = 1.0) -> DetectionScores:
    """Return segment-based F1 and error rate (Mesaros, Heittola, Virtanen 2016), almost as in sed_eval.

    A class of the reference that is never detected has F1 0 in `f1_macro`, while sed_eval by default leaves it out of
    the mean. In the example below sed_eval gives a macro F1 of 0.8, and 0.4 as here with its option
    `empty_system_output_handling="zero_score"`.

    Parameters
    ----------
    reference, estimate : events; DataFrames or paths.
    time_resolution : length of a segment in seconds.

    Raises
    ------
    InputError
        Naming the row and column: a column is missing, a time is not a number, an offset is not after its onset, or a
        clip of the estimate is not in the reference.

    Examples
    --------
    >>> import pandas as pd
    >>> from remixbench import scoring
    >>> columns = ["filename", "onset", "offset", "event_label"]
    >>> reference = pd.DataFrame([["a.wav", 0.0, 2.0, "dog"], ["a.wav", 3.0, 4.0, "door"]], columns=columns)
    >>> estimate = pd.DataFrame([["a.wav", 0.5, 3.0, "dog"]], columns=columns)
    >>> scores = scoring.segment_based(reference, estimate)
    >>> scores.f1, scores.f1_macro, scores.error_rate
    (0.6666666666666666, 0.4, 0.6666666666666666)
    """
    require_number("time_resolution", time_resolution, TINY, MAX_SECONDS)
    names, classes, truth, detected = _pair(reference, estimate)
    ends = np.zeros(len(names))
    for events in (truth, detected):
        np.maximum.at(ends, events.clip, events.offset)
    segments = len(names) * len(classes) * float(ends.max() / time_resolution)
    if segments > MOST_SEGMENTS:
        raise InputError(
            f"time_resolution {time_resolution:g}: {len(names)} clips of up to {ends.max():g} s and {len(classes)}"
            f" classes have {segments:.2g} segments, expected at most {MOST_SEGMENTS:.0e}; give times in seconds, or a"
            " longer segment"
        )
    counts, errors = detection.segment_counts(truth, detected, ends, len(classes), time_resolution=time_resolution)
    return _scores(counts, classes, float(divide(errors.sum(), counts.n_ref.sum())))


def event_based(
    reference: Events,
    estimate: Events,
    *,
    collar: float = 0.2,
    percentage_of_length: float = 0.2,
    evaluate_offset: bool = True,
) -> DetectionScores:
    """Return event-based F1 (Mesaros, Heittola, Virtanen 2016), almost as in sed_eval.

    A class of the reference that is never detected has F1 0; sed_eval by default leaves it out of the macro mean (see
    `segment_based`). An event exactly on a collar is found, such as an onset at 3.2 s for one at 3.0 s; sed_eval
    compares floats and misses it.

    An event is found if its onset lies within the collar, and its offset within the collar or a percentage of the
    reference event's length, whichever is more. The defaults are DCASE's; sed_eval's own `percentage_of_length` is 0.5.

    Parameters
    ----------
    reference, estimate : events; DataFrames or paths. Events that touch or overlap stay as they are.
    collar : seconds.
    percentage_of_length : share of the length in [0, 1].
    evaluate_offset : whether the offset has to be right too.

    Errors are those of `segment_based`.

    Examples
    --------
    >>> import pandas as pd
    >>> from remixbench import scoring
    >>> columns = ["filename", "onset", "offset", "event_label"]
    >>> reference = pd.DataFrame([["a.wav", 0.0, 2.0, "dog"], ["a.wav", 3.0, 4.0, "door"]], columns=columns)
    >>> estimate = pd.DataFrame([["a.wav", 0.1, 2.4, "dog"], ["a.wav", 3.5, 4.0, "door"]], columns=columns)
    >>> scoring.event_based(reference, estimate).f1
    0.5
    >>> scoring.event_based(reference, estimate).per_class
    {'dog': 1.0, 'door': 0.0}
    """
    require_number("collar", collar, 0, MAX_SECONDS)
    require_number("percentage_of_length", percentage_of_length, 0, 1)
    names, classes, truth, detected = _pair(reference, estimate)
    counts = detection.event_counts(
        truth,
        detected,
        len(names),
        len(classes),
        evaluate_offset=evaluate_offset,
        collar=collar,
        percentage_of_length=percentage_of_length,
    )
    return _scores(counts, classes)


def intersection_based(reference: Events, estimate: Events, *, dtc: float = 0.5, gtc: float = 0.5) -> DetectionScores:
    """Return intersection-based F1 (Bilen et al. 2020), as sed_scores_eval computes it.

    Parameters
    ----------
    reference, estimate : events; DataFrames or paths. Events of a class that touch or overlap are merged in both.
    dtc : share of a detection that must lie on reference events of its class for it to be relevant.
    gtc : share of a reference event that relevant detections must cover for it to be found.

    Errors are those of `segment_based`.

    Examples
    --------
    >>> import pandas as pd
    >>> from remixbench import scoring
    >>> columns = ["filename", "onset", "offset", "event_label"]
    >>> reference = pd.DataFrame([["a.wav", 0.0, 2.0, "dog"], ["b.wav", 3.0, 4.0, "dog"]], columns=columns)
    >>> estimate = pd.DataFrame([["a.wav", 1.0, 3.0, "dog"]], columns=columns)
    >>> scoring.intersection_based(reference, estimate).f1
    0.6666666666666666
    """
    require_number("dtc", dtc, 0, 1)
    require_number("gtc", gtc, 0, 1)
    names, classes, truth, detected = _pair(reference, estimate)
    return _scores(detection.intersection_counts(truth, detected, len(names), len(classes), dtc=dtc, gtc=gtc), classes)


def psds(
    reference: Events,
    scores: Mapping[str, pd.DataFrame] | str | Path,
    durations: pd.DataFrame | str | Path,
    *,
    dtc: float = 0.7,
    gtc: float = 0.7,
    cttc: float = 0.3,
    alpha_ct: float = 0.0,
    alpha_st: float = 1.0,
    max_efpr: float = 100.0,
    boxes: Parameters | None = None,
) -> float:
    """Return the PSDS of frame scores, exact over all thresholds (Ebbers et al. 2022).

    The defaults are PSDS 1 of DCASE; PSDS 2 has `dtc=0.1, gtc=0.1, cttc=0.3, alpha_ct=0.5`. `alpha_st=0` leaves out the
    penalty for spread over classes.

    Parameters
    ----------
    reference : events; a DataFrame or path. Events of a class that touch or overlap are merged.
    scores : frame scores by clip, as sed_scores_eval has them: DataFrames with the columns `onset`, `offset` (seconds;
        frames follow each other without gaps) and one per class, scores in [0, 1]; or a folder of such tables, one TSV
        per clip. Clips may differ in length and in their frames. Scores are ranked as doubles.
    durations : table with the columns `filename` and `duration` (seconds) of all clips; a DataFrame or path.
    dtc, gtc, cttc : detection, ground truth and cross-trigger tolerance criterion.
    alpha_ct, alpha_st : weight of cross triggers and of the standard deviation over classes.
    max_efpr : effective false positives per hour up to which the area is taken.
    boxes : parameters of `sebbs`, for all classes or by class, to take the PSDS of bounding boxes; by default that of
        the frame scores as they are.

    Returns
    -------
    A value in [0, 1]; NaN where the reference has no event. Classes without reference events take no part.

    Raises
    ------
    InputError
        Naming the table, row and column that is wrong, or the clip or class that has no scores.

    Examples
    --------
    >>> import pandas as pd
    >>> from remixbench import scoring
    >>> columns = ["filename", "onset", "offset", "event_label"]
    >>> reference = pd.DataFrame([["a.wav", 1.0, 2.0, "dog"]], columns=columns)
    >>> frames = pd.DataFrame({"onset": [0.0, 1.0, 2.0], "offset": [1.0, 2.0, 3.0], "dog": [0.1, 0.9, 0.2]})
    >>> scoring.psds(reference, {"a.wav": frames}, pd.DataFrame({"filename": ["a.wav"], "duration": [3.0]}))
    1.0
    """
    for name, value in (("dtc", dtc), ("gtc", gtc), ("cttc", cttc), ("alpha_ct", alpha_ct)):
        require_number(name, value, 0, 1)
    require_number("alpha_st", alpha_st, 0)
    require_number("max_efpr", max_efpr, TINY)
    truth, clips = _with_reference(reference, scores, durations)
    frames, edges = psds_exact.padded(clips)
    criteria = {"psds": psds_exact.Criteria(dtc, gtc, cttc, alpha_ct, alpha_st, max_efpr)}
    once = np.ones((len(truth.filenames), 1))
    if boxes is None:
        values = psds_exact.psds_of_scores(truth, frames, edges, once, criteria)
    else:
        parameters = _for_classes(boxes, truth.classes)
        by_class = {k: _boxes(clips, k, of_class) for k, of_class in enumerate(parameters)}
        values = bounding_boxes.psds_of_boxes(truth, by_class, edges, once, criteria)
    return float(values.overall["psds"][0])


def sebbs(
    scores: Mapping[str, pd.DataFrame] | str | Path, parameters: Parameters = bounding_boxes.DEFAULT
) -> pd.DataFrame:
    """Return the sound event bounding boxes (SEBBs) in frame scores: events, each with one confidence.

    Onsets and offsets are where frame scores change most, whatever their height (Ebbers et al. 2024; see
    `remixbench.scoring.bounding_boxes`). Thresholds then choose among events by confidence, and never move their ends.

    Parameters
    ----------
    scores : frame scores by clip, as in `psds`.
    parameters : `SebbParameters`, for all classes or by class; `tune_sebbs` finds them on validation clips.

    Returns
    -------
    DataFrame with the columns `filename`, `onset`, `offset`, `event_label` and `score`, by clip, class and onset.

    Errors are those of `psds`; parameters of a class that are missing are one, too.

    Examples
    --------
    >>> import pandas as pd
    >>> from remixbench import scoring
    >>> dog = [0.1, 0.1, 0.9, 0.7, 0.9, 0.1, 0.1, 0.1]
    >>> frames = pd.DataFrame({"onset": range(8), "offset": range(1, 9), "dog": dog})
    >>> boxes = scoring.sebbs({"a.wav": frames}, scoring.SebbParameters(step=2.0, merge_absolute=0.3))
    >>> boxes[boxes.score > 0.5].values.tolist()
    [['a.wav', 2.0, 5.0, 'dog', 0.8333333333333334]]
    """
    import pandas as pd

    names, classes, loaded = _frame_scores(scores)
    by_class = _for_classes(parameters, classes)
    rows = []
    for name, (_, grid, values) in zip(names, loaded, strict=True):
        for label, values_of_class, of_class in zip(classes, values.T, by_class, strict=True):
            boxes = bounding_boxes.boxes_of(values_of_class[None], bounding_boxes.frame_length(grid), of_class)
            columns = (grid[boxes.start].tolist(), grid[boxes.stop].tolist(), boxes.confidence.tolist())
            rows += [(name, onset, offset, label, score) for onset, offset, score in zip(*columns, strict=True)]
    return pd.DataFrame(rows, columns=[*EVENT_COLUMNS, "score"])


def tune_sebbs(
    reference: Events, scores: Mapping[str, pd.DataFrame] | str | Path, durations: pd.DataFrame | str | Path
) -> dict[str, SebbParameters]:
    """Return for each class the parameters of `sebbs` with the highest PSDS 1 on validation clips.

    Parameters
    ----------
    reference, scores, durations : of validation clips, never of those that are tested on; as in `psds`.

    Errors are those of `psds`; frames of several lengths are one, too.
    """
    truth, clips = _with_reference(reference, scores, durations)
    steps = {round(bounding_boxes.frame_length(grid), 6) for grid, _ in clips}
    if len(steps) > 1:
        raise InputError(f"scores: have frames of {min(steps):g} to {max(steps):g} s, expected one length in all clips")
    frames, edges = psds_exact.padded(clips, fill=0.0)
    return dict(zip(truth.classes, bounding_boxes.tune(truth, frames, edges), strict=True))


def _for_classes(parameters: Parameters, classes: Sequence[str]) -> list[SebbParameters]:
    """Return the parameters of each class."""
    if isinstance(parameters, SebbParameters):
        return [parameters] * len(classes)
    if not isinstance(parameters, Mapping):
        raise InputError(f"parameters: found {type(parameters).__name__}, expected SebbParameters, or a dict of them")
    for label in classes:
        if label not in parameters:
            raise InputError(f"parameters: none of class '{label}'{nearest(label, parameters)}")
        if not isinstance(parameters[label], SebbParameters):
            raise InputError(
                f"parameters of class '{label}': found {type(parameters[label]).__name__}, expected SebbParameters"
            )
    return [parameters[label] for label in classes]


def _boxes(clips: Clips, column: int, parameters: SebbParameters) -> bounding_boxes.Boxes:
    """Return the boxes of one class in clips that have frames of their own."""
    parts = [
        bounding_boxes.boxes_of(values[:, column][None], bounding_boxes.frame_length(grid), parameters)
        for grid, values in clips
    ]
    return bounding_boxes.Boxes(
        np.repeat(np.arange(len(parts)), [len(part.clip) for part in parts]),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("start", "stop", "confidence")),
    )


def _with_reference(
    reference: Events, scores: Mapping[str, pd.DataFrame] | str | Path, durations: pd.DataFrame | str | Path
) -> tuple[Reference, Clips]:
    """Return a reference of the clips of `durations`, and frame edges and scores of each."""
    seconds = read_durations(durations)
    if not seconds:
        raise InputError("durations: hold no clip")
    names, classes, loaded = _frame_scores(scores, list(seconds))
    listed = read_event_list(reference, "reference")
    clips = clip_rows(listed.filenames, names, listed.place, listed.rows, clips_of="the durations")
    events = listed.table(clips, classes, np.array(list(seconds.values())), classes_of="the scores")
    fitted = [
        (fit_edges(grid, duration, place), values)
        for (place, grid, values), duration in zip(loaded, seconds.values(), strict=True)
    ]
    return make_reference(names, classes, events, list(seconds.values())), fitted


def _frame_scores(
    scores: Mapping[str, pd.DataFrame] | str | Path, names: Sequence[str] | None = None
) -> tuple[list[str], list[str], Iterator[tuple[str, FloatArray, FloatArray]]]:
    """Return clips, classes, and for each clip its name in messages, frame edges and scores (frames, classes).

    `names` are the expected clips, in the order of the result; by default all, in the order given.
    """
    load: Callable[[int], tuple[tuple[str, ...], FloatArray]]
    if isinstance(scores, Mapping):
        clips, places = list(map(str, scores)), [f"scores of '{name}'" for name in scores]
        tables = [_frame_table(table, place) for table, place in zip(scores.values(), places, strict=True)]
        where, load = "scores", tables.__getitem__
    elif isinstance(scores, str | Path):
        paths = frame_paths(Path(scores)) if Path(scores).is_dir() else []
        if not paths:
            raise InputError(f"{scores}: not a folder of frame scores, one TSV per clip")
        clips, places = [path.stem for path in paths], [str(path) for path in paths]
        where, load = str(scores), lambda index: read_numbers(paths[index])
    else:
        raise InputError(f"scores: found {type(scores).__name__}, expected a DataFrame per clip, or a folder of tables")
    header = load(0)[0] if clips else ()
    classes = [label for label in header if label not in ("onset", "offset")]
    if not classes:
        if not clips:
            raise InputError("scores: hold no clip")
        raise InputError(f"{places[0]}: has no column of a class; expected onset, offset and one column per class")
    wanted = clips if names is None else list(names)
    return wanted, classes, frame_tables(places, clips, load, wanted, classes, where)


def _floats(values: Any, place: str) -> FloatArray:
    """Return numbers as an array; InputError if they are not real numbers, or masked, or rows differ in length."""
    if isinstance(values, np.ma.MaskedArray):
        raise InputError(f"{place}: a masked array, expected numbers; give one for every row and column")
    try:
        if (kind := np.asarray(values).dtype).kind not in "biufOSU":  # these lose their imaginary part, or their unit
            raise InputError(f"{place}: of type {kind}, expected real numbers")
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{place}: not an array of numbers; give one number for every row and column") from None


def _ordered(scores: npt.ArrayLike) -> FloatArray:
    """Return scores as doubles of the same order: the ranks of numbers that doubles cannot tell apart."""
    values, raw = _floats(scores, "the scores"), np.asarray(scores)
    wider = raw.dtype.kind in "iu" or (raw.dtype.kind == "f" and raw.dtype.itemsize > values.itemsize)
    if not (wider and np.isfinite(values).all()):
        return values
    return np.unique(raw, return_inverse=True)[1].reshape(raw.shape).astype(np.float64)


def _tags(reference: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[BoolArray, FloatArray]:
    """Return reference and scores as (clips, classes) arrays, checked."""
    truth, values = _floats(reference, "the reference"), _ordered(scores)
    if truth.shape != values.shape or truth.ndim not in (1, 2):
        raise InputError(
            f"the reference has shape {truth.shape} and the scores {values.shape}, expected (clips, classes) for both"
        )
    if not np.isin(truth, (0, 1)).all():
        raise InputError("the reference holds something other than 0 and 1; give 1 where the class occurs in the clip")
    if not np.isfinite(values).all():
        raise InputError("a score is NaN or infinite; give a number for every clip and class")
    if truth.ndim == 1:
        truth, values = truth[:, None], values[:, None]
    return truth.astype(bool), values


def _pair(reference: Events, estimate: Events) -> tuple[list[str], list[str], EventTable, EventTable]:
    """Return clips, classes, and the events of both lists as handed in."""
    listed, estimated = read_event_list(reference, "reference"), read_event_list(estimate, "estimate")
    names = sorted(set(listed.filenames))
    if not names:
        raise InputError(f"{listed.place}: has no rows")
    row = {name: index for index, name in enumerate(names)}
    clips = np.array([row[name] for name in listed.filenames], np.int64)
    estimated_clips = np.zeros(len(estimated.rows), np.int64)  # those of rows without an event do not matter
    filenames, rows = ([column[row] for row in estimated.event] for column in (estimated.filenames, estimated.rows))
    estimated_clips[estimated.event] = clip_rows(
        filenames, names, estimated.place, rows, clips_of="the reference", remedy=_NAME_ALONE
    )
    classes = sorted({*listed.labels, *estimated.labels})
    refuse_milliseconds(estimated, listed)
    return names, classes, listed.table(clips, classes), estimated.table(estimated_clips, classes)


def _frame_table(table: pd.DataFrame, place: str) -> tuple[tuple[str, ...], FloatArray]:
    """Return the columns of a table of frame scores, and its numbers (frames, columns)."""
    if not hasattr(table, "columns"):
        raise InputError(
            f"{place}: found {type(table).__name__}, expected a DataFrame with onset, offset and the classes"
        )
    refuse_doubles(list(table.columns), place)
    numbers = [_floats(table[name], f"{place}, column '{name}'") for name in table.columns]
    return tuple(map(str, table.columns)), np.stack(numbers, axis=1) if numbers else np.zeros((0, 0))


def _scores(counts: detection.Counts, classes: Sequence[str], error_rate: float | None = None) -> DetectionScores:
    values = detection.f1_values("f1", counts, np.ones((len(counts.tp), 1)))
    tp = counts.tp.sum()
    return DetectionScores(
        f1=float(values.overall["f1"][0]),
        f1_macro=float(values.overall["f1_macro"][0]),
        precision=float(divide(tp, counts.n_sys.sum())),
        recall=float(divide(tp, counts.n_ref.sum())),
        error_rate=error_rate,
        per_class=dict(zip(classes, values.per_class["f1"][:, 0].tolist(), strict=True)),
    )
