"""Score cases with one of the field's scorers: check.py SCORER CASES.json FIGURES.json, in their environment.

A case is `classes`, `durations` {clip: seconds}, `reference` and `estimate` [[clip, onset, offset, label]...],
`edges` [seconds...] or {clip: [seconds...]}, `scores` {clip: [[score of each class] of each frame]}, `threshold`. The
figures come in the order of the cases, each a flat object; NaN is written as null. For fast_bss_eval a case is
`signals`.
"""

import json
import math
import sys
import time
import warnings

import numpy as np

PSDS = {
    "psds1": {"dtc_threshold": 0.7, "gtc_threshold": 0.7, "cttc_threshold": None, "alpha_ct": 0.0},
    "psds2": {"dtc_threshold": 0.1, "gtc_threshold": 0.1, "cttc_threshold": 0.3, "alpha_ct": 0.5},
}


def by_sed_eval(case):
    import dcase_util
    import sed_eval

    def by_clip(rows):
        lists = {clip: [] for clip in case["durations"]}
        for clip, onset, offset, label in rows:
            event = {"filename": clip, "event_onset": onset, "event_offset": offset, "event_label": label}
            lists[clip].append(event)
        return {clip: dcase_util.containers.MetaDataContainer(rows) for clip, rows in lists.items()}

    reference, estimate = by_clip(case["reference"]), by_clip(case["estimate"])
    metrics = {
        "segment_f1": sed_eval.sound_event.SegmentBasedMetrics(case["classes"], time_resolution=1.0),
        "event_f1_onset": sed_eval.sound_event.EventBasedMetrics(case["classes"], evaluate_offset=False),
        "event_f1": sed_eval.sound_event.EventBasedMetrics(case["classes"], percentage_of_length=0.2),
    }
    figures = {}
    for name, metric in metrics.items():
        metric.empty_system_output_handling = "zero_score"  # its default is NaN where nothing was found
        began = time.perf_counter()
        for clip, seconds in case["durations"].items():
            length = {"evaluated_length_seconds": seconds} if name == "segment_f1" else {}
            metric.evaluate(
                reference_event_list=reference[clip],
                estimated_event_list=estimate[clip],
                **length,
            )
        overall = metric.results_overall_metrics()
        figures[name] = overall["f_measure"]["f_measure"]
        figures[name.replace("f1", "er")] = overall["error_rate"]["error_rate"]
        for label, result in metric.results_class_wise_metrics().items():
            figures[f"{name} {label}"] = result["f_measure"]["f_measure"]
        figures[f"{name} seconds"] = time.perf_counter() - began
    return figures


def by_sed_scores_eval(case):
    import sed_scores_eval as other
    from sed_scores_eval.base_modules.scores import create_score_dataframe

    edges = case["edges"]
    scores = {
        clip: create_score_dataframe(
            np.array(rows), np.array(edges[clip] if isinstance(edges, dict) else edges), case["classes"]
        )
        for clip, rows in case["scores"].items()
    }
    truth = {clip: [] for clip in case["durations"]}
    for clip, onset, offset, label in case["reference"]:
        truth[clip].append((onset, offset, label))
    figures = {}

    def timed(name, function, **options):
        began = time.perf_counter()
        result = function(scores, truth, **options)
        figures[f"{name} seconds"] = time.perf_counter() - began
        return result

    for name, options in PSDS.items():
        if options["alpha_ct"] and len(case["classes"]) == 1:
            continue  # it fails where there is no other class to be triggered
        for suffix, alpha_st in (("[alpha_st 0]", 0.0), ("", 1.0)):
            value, each, *_ = timed(
                name, other.intersection_based.psds, audio_durations=case["durations"], alpha_st=alpha_st, **options
            )
            figures[f"{name}{suffix}"] = value
            figures.update({f"{name}{suffix} {label}": area for label, area in each.items()})
    threshold = case["threshold"]
    fs = {
        "intersection_f1": timed(
            "intersection",
            other.intersection_based.fscore,
            threshold=threshold,
            dtc_threshold=0.5,
            gtc_threshold=0.5,
        ),
        "event_f1": timed(
            "event",
            other.collar_based.fscore,
            threshold=threshold,
            onset_collar=0.2,
            offset_collar=0.2,
            offset_collar_rate=0.2,
        ),
        "event_f1_onset": timed(
            "event_f1_onset",
            other.collar_based.fscore,
            threshold=threshold,
            onset_collar=0.2,
            offset_collar=1e6,
        ),
    }
    for name, (f1, *_) in fs.items():
        figures[name] = f1["micro_average"]
        figures.update({f"{name} {label}": f1[label] for label in case["classes"]})
    return figures


def by_psds_eval(case):
    import pandas as pd
    from psds_eval import PSDSEval

    columns = ["filename", "onset", "offset", "event_label"]
    reference = pd.DataFrame(case["reference"], columns=columns)
    metadata = pd.DataFrame(list(case["durations"].items()), columns=["filename", "duration"])
    edges = np.array(case["edges"])
    levels = sorted({value for rows in case["scores"].values() for row in rows for value in row})
    figures = {}
    for name, options in PSDS.items():
        cttc = options["cttc_threshold"] or 0.3
        metric = PSDSEval(
            options["dtc_threshold"],
            options["gtc_threshold"],
            cttc,
            ground_truth=reference,
            metadata=metadata,
            class_names=sorted(set(reference.event_label)),
        )
        for level in levels:
            rows = []
            for clip, scores in case["scores"].items():
                on = np.pad(np.array(scores) >= level, ((1, 1), (0, 0))).astype(int)
                for k, label in enumerate(case["classes"]):
                    change = np.diff(on[:, k])
                    starts, stops = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
                    rows += [(clip, edges[a], edges[b], label) for a, b in zip(starts, stops, strict=True)]
            metric.add_operating_point(pd.DataFrame(rows, columns=columns))
        figures[name] = metric.psds(alpha_ct=options["alpha_ct"], alpha_st=1.0, max_efpr=100).value
    return figures


def by_fast_bss_eval(case):
    """Score `signals`, {name: [reference samples, estimate samples]}, by SI-SDR."""
    from fast_bss_eval.numpy import si_sdr  # the package's own si_sdr needs torch

    return {
        name: float(si_sdr(np.array([reference]), np.array([estimate]))[0])
        for name, (reference, estimate) in case["signals"].items()
    }


def main(scorer, cases, figures):
    warnings.simplefilter("ignore")
    score = {
        "sed_eval": by_sed_eval,
        "sed_scores_eval": by_sed_scores_eval,
        "psds_eval": by_psds_eval,
        "fast_bss_eval": by_fast_bss_eval,
    }[scorer]
    with open(cases) as file:
        results = [score(case) for case in json.load(file)]
    plain = [
        {name: None if math.isnan(value) else float(value) for name, value in result.items()} for result in results
    ]
    with open(figures, "w") as file:
        json.dump(plain, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
