"""The page of results: what its tables and sentences say, for runs with made-up scores."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from results_page import (
    by_encoder,
    chance_line,
    claims,
    draw,
    encoder_claims,
    learning_curves,
    not_above_chance,
    not_trained,
    on_encoders,
    origins,
    runs_of_part,
    table,
)
from results_runs import PAPER, PLAIN, SMALL, Trained, recipe_of

from remixbench.leaderboard.rows import Estimate
from remixbench.systems.registry import spec


def trained(
    name: str,
    *micro_ap: float,
    low: float = 0.2,
    frame_ap: float = 0.1,
    shift_loss: tuple[float, ...] = (),
    seconds: float = 90.0,
):
    info = {"width": 0.25, "parameters": 1234567, "macs": 87_160_320, "epochs": 12, "batch_size": 8}
    info |= {"seconds": seconds}
    runs = tuple(SimpleNamespace(seed=seed, info=info) for seed in range(len(micro_ap)))
    rest = {"macro_ap": 0.5, "frame_ap": frame_ap, "psds1": 0.0, "psds1[alpha_st 0]": 0.0, "psds2": 0.0}
    estimate = Estimate(sum(micro_ap) / len(micro_ap), low, high=0.9, at_chance=low <= 0.15)
    return Trained(name, runs, estimate, tuple({"micro_ap": value, **rest} for value in micro_ap), shift_loss)


def test_a_line_has_means_and_deviations_over_the_seeds() -> None:
    *_, line = table([trained("crnn", 0.4, 0.5, shift_loss=(0.01, 0.03))])
    assert line == (
        "| crnn (width 0.25) | 0.450 ± 0.071 | 0.200 to 0.900 | 0.500 ± 0.000 | 0.100 ± 0.000 | 0.000 ± 0.000"
        " | 0.000 ± 0.000 | 0.000 ± 0.000 | 2.0% ± 1.4% | 1,234,567 | 0.0872 | 12 | 8 | 1.5 | 0, 1 |"
    )


def test_one_seed_has_no_deviation_and_no_shift_is_a_dash() -> None:
    *_, line = table([trained("crnn", 0.4)])
    assert line.startswith("| crnn (width 0.25) | 0.400 | 0.200 to 0.900 | 0.500 | 0.100 | 0.000 | 0.000 | 0.000 | - |")


def test_rows_that_are_not_above_chance_are_named() -> None:
    rows = [trained("gap", 0.16, low=0.14), trained("crnn", 0.2)]
    assert not_above_chance(rows, 0.13)[0].startswith("**Not above chance at this size: gap.** A class has nearly")
    begun = not_above_chance([*rows, trained("gap,bias=prior", 0.14, low=0.13)], 0.13)
    assert begun[1].startswith("**Not above chance at this size: gap,bias=prior.** They begin at the mean label")
    assert "clips, the same for all clips, is 0.130" in begun[2]
    assert not_above_chance(rows[1:], 0.13) == []


def test_an_epoch_that_few_validation_clips_chose_too_early_is_named() -> None:
    row = trained("crnn,fraction=0.125", 0.16, low=0.14)
    row.runs[0].info |= {"fraction": 0.125, "epoch": 5, "epochs_trained": 182, "clips": {"validation": 10}}
    reason, *_ = not_above_chance([row], 0.13)
    assert reason.startswith(
        "**Not above chance at this size: crnn,fraction=0.125.** Its 10 validation clips chose epoch 5 of 182"
    )


def test_the_line_of_chance_has_a_cell_for_each_column() -> None:
    heading, *_ = table([trained("crnn", 0.4)])
    line = chance_line({"micro_ap": 0.15, "macro_ap": 0.15, "frame_ap": 0.03})
    assert line.startswith("| *chance, the same score for all* | 0.150 | - | 0.150 | 0.030 | - | - | - | - |")
    assert line.count("|") == heading.count("|")


def test_rows_of_several_snrs_name_theirs() -> None:
    rows = [trained("crnn", 0.4), trained("crnn", 0.5)]
    for row, snr in zip(rows, (0.0, -5.0), strict=True):
        row.runs[0].info = row.runs[0].info | {"snr": snr}
    first, second = table(rows)[2:]
    assert (first.split(" | ")[0], second.split(" | ")[0]) == (
        "| crnn (width 0.25) at 0 dB",
        "| crnn (width 0.25) at -5 dB",
    )


@pytest.mark.parametrize(
    ("order", "verdict"),
    [(PAPER, "as in the paper"), ((*PAPER[1:], "gap"), "not the paper's order")],
)
def test_the_papers_order_is_checked(order: tuple[str, ...], verdict: str) -> None:
    lines = claims([trained(name, 0.1 + place / 10) for place, name in enumerate(order)])
    assert lines == [
        f"- By micro-AP: {' < '.join(order)}: {verdict}.",
        f"- As released, 5 of 5 are above chance: {', '.join(order)}.",
    ]


def test_systems_that_have_learned_nothing_have_no_order() -> None:
    rows = [trained(name, 0.14 + place / 100, low=0.12 + place / 100) for place, name in enumerate(PAPER)]
    assert claims(rows) == [
        "- Some are not above chance, so that the paper's order is not tested. The best published system is 2ap-aux,"
        " as in the paper.",
        "- As released, 1 of 5 are above chance: 2ap-aux.",
    ]


def test_the_auxiliary_task_and_the_first_bias_are_judged_by_the_spread_over_seeds() -> None:
    rows = [trained("2ap", 0.2, 0.3), trained("2ap-aux", 0.3, 0.4), trained("2ap,bias=prior", 0.9)]
    assert claims(rows)[1:] == [
        "- As released, 2 of 2 are above chance: 2ap, 2ap-aux.",
        "- With `bias=prior`, 1 of 1 are above chance: 2ap.",
        "- The paper's auxiliary task: micro-AP 0.350 ± 0.071 with, 0.250 ± 0.071 without, within twice the spread over"
        " seeds.",
        "- Beginning at the mean label, 2ap: micro-AP 0.900 with, 0.250 ± 0.071 without, of one seed.",
    ]
    apart = claims([trained("2ap", 0.2, 0.21), trained("2ap-aux", 0.3, 0.31)])[2]
    assert apart.endswith("0.305 ± 0.007 with, 0.205 ± 0.007 without, more than twice the spread over seeds.")


def test_crnn_is_compared_with_the_best_of_each_metric() -> None:
    rows = [
        trained("gap", 0.2, frame_ap=0.2, seconds=1800.0),
        trained("2ap", 0.5, 0.3, seconds=3600.0),
        trained("crnn", 0.5, frame_ap=0.3, seconds=360.0),
    ]
    rows.append(trained("crnn,ema=0", 0.9))
    assert claims(rows) == [
        "- Not trained as released, so that the paper's order is not tested: gmp, gwrp, atrous-ap, 2ap-aux.",
        "- As released, 2 of 2 are above chance: gap, 2ap.",
        "- These are not matched trainings: crnn width 0.25, 12 epochs, settings chosen on fold 3 of this corpus;"
        " the published systems have width 0.25, 12 epochs, and their own settings but for these.",
        "- micro-AP of crnn: +25% against the best published system at the size above, 2ap.",
        "- frame AP of crnn: +50% against the best published system at the size above, gap.",
        "- crnn trained in 10% of the time of 2ap at that size.",
        "- The published systems took 2.5 hours of one core together.",
    ]


def run_json(system: str = "crnn", **changed: object) -> dict[str, object]:
    """What run.json says of a run of the part "systems", or else "published"."""
    size = spec("crnn").training_defaults if system == "crnn" else PLAIN | SMALL | {"min_steps": 0}
    return {"system": system, "snr": 0.0, "fraction": 1.0, "early_stopping": 0, "options": {}, **size, **changed}


PRIOR = {"bias": "prior"}


@pytest.mark.parametrize(
    ("info", "parts"),
    [
        (run_json(), {"systems"}),
        (run_json("2ap-aux"), {"published"}),
        (run_json("gap", options=PRIOR), {"published"}),
        (run_json("gap", options={"bias": "released"}), {"published"}),
        (run_json("2ap-aux", augment=["mixup"]), set()),
        (run_json(options=PRIOR | {"pooling": "quadratic"}), {"systems"}),
        (run_json(options={"pooling": "mean"}), set()),
        (run_json(snr=10.0), {"snr"}),
        (run_json(fraction=0.25), {"size"}),
        (run_json(fraction=0.5), {"size", "ablation"}),
        (run_json(fraction=0.5, ema=0.0), {"ablation"}),
        (run_json(fraction=0.5, batch_size=16), {"ablation"}),
        (run_json(fraction=0.5, options={"bias": "random"}), {"ablation"}),
        (run_json(epochs=3), set()),
        (run_json(min_steps=0), set()),
    ],
)
def test_a_run_stands_in_the_parts_of_the_page_that_it_was_trained_for(
    info: dict[str, object], parts: set[str]
) -> None:
    runs = (SimpleNamespace(seed=0, info=info),)
    assert Trained("some", runs, Estimate(0.5), (), ()).parts == parts


def test_the_figure_names_the_systems_and_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    rows = [trained("gap", 0.2), trained("crnn", 0.4, 0.5), trained("crnn", 0.5)]
    for row, system, snr in zip(rows, ("gap", "crnn", "crnn"), (0.0, 0.0, 10.0), strict=True):
        row.runs[0].info = run_json(system, snr=snr, macs=1e9 * len(system), clips={"train": 1350})
    for path in (tmp_path / "one.svg", tmp_path / "two.svg"):
        draw({"remix2019": rows}, path)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    comments = (tmp_path / "one.svg").read_text()  # text is drawn as paths, with the text in a comment
    assert "<!-- gap -->" in comments
    assert "<!-- crnn -->" in comments
    assert "<!-- remix2019 -->" in comments


def test_a_coarse_recipe_differs_in_its_log_mel_alone() -> None:
    whole, coarse = (recipe_of(name) for name in ("remix2019", "remix2019-coarse"))
    assert (coarse.name, coarse.plan, coarse.mix) == ("remix2019-coarse", whole.plan, whole.mix)
    assert coarse.features.n_mels * (coarse.mix.samples // coarse.features.hop_length) * 8 <= 64 * 313


def test_runs_that_a_part_lacks_are_counted() -> None:
    row = trained("crnn", 0.4, 0.5)
    for run in row.runs:
        run.info = run_json()
    assert runs_of_part("systems", "remix2019", [row]) == (2, 3)
    assert runs_of_part("size", "remix2019-strict", [row]) == (0, 3)
    assert runs_of_part("size", "remix2019", [row]) is None
    assert not_trained([("stand-in", "systems", "remix2019", 3, 3)]) == []
    lines = not_trained([("stand-in", "systems", "remix2019", 2, 3)])
    assert lines[-2] == "| stand-in | systems | remix2019 | 2 | 3 |"


def test_learning_curves_are_of_the_validation_clips(tmp_path: Path) -> None:
    values = [0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.45, 0.6]
    rates = ["0.001"] * 5 + ["0.0001", "1e-05", "1e-05"]
    lines = (f"{epoch},0.5,{value},,{rates[epoch - 1]},1" for epoch, value in enumerate(values, 1))
    rows = ["epoch,loss,validation_micro_ap,test_micro_ap,learning_rate,seconds", *lines]
    (tmp_path / "history.csv").write_text("\n".join(rows))
    row = trained("gap", 0.4)
    row.runs[0].folder, row.runs[0].info["clips"] = tmp_path, {"train": 20}
    text, _, heading, _, line, _ = learning_curves([row], 0.15)
    assert text.startswith("Micro-AP on the validation clips against steps, seed 0 (chance 0.150), and the epoch")
    # 3 batches of up to 8 of 20 clips per epoch
    assert heading == "| system | 3 | 6 | 12 | 18 | 24 | a hundredth from epoch |"
    assert line == "| gap | 0.100 | 0.150 | 0.300 | 0.500 | 0.600 | 7 |"


def test_rows_of_equal_trainings_are_called_so() -> None:
    """Where the released schedule never lowers the learning rate, a constant one is the same training."""
    rows = [trained("gap", 0.3, 0.32), trained("gap,schedule=constant", 0.3, 0.32)]
    same = "0.310 ± 0.014 with and without: it changed nothing in these trainings"
    assert f"- A constant learning rate, gap: micro-AP {same}." in claims(rows)


def test_what_shared_origins_are_worth_is_said_of_a_corpus_that_has_both() -> None:
    titles = ("remix2019-strict, stand-in", "remix2019-strict-ordinary, stand-in")
    rows = dict(zip(titles, ([trained("crnn", 0.4, 0.42)], [trained("crnn", 0.6, 0.62)]), strict=True))
    assert origins(rows)[2] == (
        "- stand-in: micro-AP of crnn 0.610 ± 0.014 with shared origins, 0.410 ± 0.014 without, more than twice the"
        " spread over seeds, on other test clips made by the same rules."
    )
    assert origins({titles[0]: rows[titles[0]]}) == []


def test_ordinary_folds_differ_in_what_an_origin_is_alone() -> None:
    strict, ordinary = (recipe_of(name) for name in ("remix2019-strict", "remix2019-strict-ordinary"))
    assert ordinary.plan.origin_gap == 0
    assert ordinary.plan.model_copy(update={"origin_gap": strict.plan.origin_gap}) == strict.plan
    assert (ordinary.mix, ordinary.features) == (strict.mix, strict.features)


def test_systems_on_embeddings_are_compared_with_crnn() -> None:
    crnn, head = trained("crnn", 0.5), trained("emb-mlp,encoder=yamnet", 0.6, 0.5, frame_ap=0.05)
    for row in (crnn, head):
        row.runs[0].info |= {"options": {"encoder": "yamnet"} if row is head else {}}
    assert encoder_claims([crnn, head]) == [
        "- emb-mlp,encoder=yamnet against crnn: micro-AP +10%, frame AP -50%.",
        "",
    ]
    assert encoder_claims([head]) == []


def test_systems_on_embeddings_are_compared_at_0_db_alone() -> None:
    rows = [trained("crnn", 0.5), trained("emb-mlp,encoder=yamnet", 0.4), trained("emb-mlp,encoder=yamnet", 0.8)]
    rows[0].runs[0].info = run_json()
    for row, snr in zip(rows[1:], (0.0, 20.0), strict=True):
        row.runs[0].info |= {"system": "emb-mlp", "options": {"encoder": "yamnet"}, "snr": snr, "fraction": 1.0}
    assert on_encoders(rows) == [rows[1], rows[0]]


def test_crnn_emb_is_shown_by_snr_and_size_where_it_was_trained_for_them() -> None:
    names = ["crnn-emb,fraction=0.5,encoder=yamnet", *["crnn-emb,encoder=yamnet"] * 2, "crnn-emb,encoder=aisfx", "crnn"]
    rows = [trained(name, 0.5) for name in names]
    for row, snr, fraction in zip(rows, (0.0, 0.0, -5.0, 0.0, 0.0), (0.5, 1.0, 1.0, 1.0, 1.0), strict=True):
        row.runs[0].info |= {"snr": snr, "fraction": fraction}
    assert by_encoder(rows) == [rows[2], rows[0], rows[1]]  # aiSFX at 0 dB alone stands in the table of encoders
