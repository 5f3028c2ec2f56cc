"""What must hold of every figure: order does not matter, repeats weigh what they weigh, ranking only ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_cases import make_case

from remixbench.scoring import Inputs, Predictions, event_table, make_reference, score_predictions
from remixbench.scoring.evaluate import metric_values

RANKING = ("micro_ap", "macro_ap", "macro_auc", "lwlrap", "tagging_f1_oracle", "frame_ap", "psds1", "psds2")
SEEDS = st.integers(0, 100_000)
few = settings(max_examples=20, deadline=None, derandomize=True)


def fold(seed):
    reference, predictions, _ = make_case(seed)
    clip_scores = np.round(np.random.default_rng(seed + 1).random(reference.weak.shape), 1 + seed % 3)
    return reference, Predictions(clip_scores, predictions.frame_scores, predictions.frame_edges)


def rearranged(reference, predictions, clips, classes):
    """Return the fold with clips (possibly repeated) and classes in the order given."""
    place = np.argsort(classes)
    rows = [np.flatnonzero(reference.events.clip == clip) for clip in clips]
    clip = np.repeat(np.arange(len(clips)), [len(row) for row in rows])
    row = np.concatenate(rows)
    events = event_table(
        clip, place[reference.events.label[row]], reference.events.onset[row], reference.events.offset[row]
    )
    names = [f"{i}.wav" for i in range(len(clips))]
    labels = [reference.classes[k] for k in classes]
    return make_reference(names, labels, events, reference.durations[clips]), Predictions(
        predictions.clip_scores[np.ix_(clips, classes)],
        np.ascontiguousarray(predictions.frame_scores[clips][:, :, classes]),
        predictions.frame_edges,
    )


def scored(reference, predictions):
    return score_predictions(reference, predictions, bootstrap=0)


def same(first, second, names=None):
    for name in names or first:
        assert (first[name] is None) == (second[name] is None), name
        assert first[name] is None or first[name] == pytest.approx(second[name], abs=1e-9), name


@few
@given(SEEDS)
def test_the_order_of_clips_and_classes_does_not_matter(seed):
    reference, predictions = fold(seed)
    rng = np.random.default_rng(seed)
    clips, classes = (rng.permutation(n) for n in reference.weak.shape)
    first = scored(reference, predictions)
    second = scored(*rearranged(reference, predictions, clips, classes))
    same(first.values, second.values)
    for name, values in first.per_class.items():
        same(values, second.per_class[name])


@few
@given(SEEDS)
def test_ranking_figures_see_only_the_order_of_scores(seed):
    reference, predictions = fold(seed)
    squeezed = Predictions(
        0.2 + predictions.clip_scores**3 / 2,
        np.round(predictions.frame_scores * 1000).astype(np.float32) / 1000,
        predictions.frame_edges,
    )
    bent = Predictions(squeezed.clip_scores**0.5, squeezed.frame_scores**2 / 4, squeezed.frame_edges)
    same(scored(reference, squeezed).values, scored(reference, bent).values, RANKING)


@few
@given(SEEDS)
def test_a_fold_taken_twice_scores_the_same(seed):
    reference, predictions = fold(seed)
    clips, classes = (np.arange(n) for n in reference.weak.shape)
    twice = rearranged(reference, predictions, np.tile(clips, 2), classes)
    same(scored(reference, predictions).values, scored(*twice).values)


@few
@given(SEEDS)
def test_a_clip_that_counts_twice_is_a_clip_given_twice(seed):
    reference, predictions = fold(seed)
    weights = np.random.default_rng(seed).integers(0, 4, len(reference.filenames))
    if not weights.any():
        return
    clips, classes = np.repeat(np.arange(len(weights)), weights), np.arange(len(reference.classes))
    given_ = scored(*rearranged(reference, predictions, clips, classes))
    counted = metric_values(Inputs(reference, predictions), weights[:, None].astype(float)).overall
    for name, value in counted.items():
        same({name: None if np.isnan(value[0]) else value[0]}, given_.values, [name])


@few
@given(SEEDS)
def test_the_truth_itself_scores_perfectly(seed):
    reference, _ = fold(seed)
    table = reference.events
    if not len(table):
        return
    edges = np.unique(np.concatenate(([0.0], table.onset, table.offset, reference.durations[:1])))
    scores = np.zeros((len(reference.filenames), len(edges) - 1, len(reference.classes)), np.float32)
    for clip, label, onset, offset in zip(table.clip, table.label, table.onset, table.offset, strict=True):
        scores[clip, np.searchsorted(edges, onset) : np.searchsorted(edges, offset), label] = 1
    listed = scored(reference, Predictions(events=table)).values
    framed = scored(reference, Predictions(reference.weak.astype(float), scores, edges)).values
    # The other post-processings smooth short events away.
    plain = {name: value for name, value in framed.items() if name in RANKING or name.endswith("[threshold]")}
    for name, value in (listed | plain).items():
        undefined = value is None and name == "macro_auc"  # every clip has every class
        assert undefined or value == pytest.approx(0 if "_er" in name else 1), name


@few
@given(SEEDS)
def test_every_figure_is_a_share(seed):
    made = scored(*fold(seed))
    assert all(value is None or 0 <= value <= 1 for name, value in made.values.items() if "_er" not in name)
