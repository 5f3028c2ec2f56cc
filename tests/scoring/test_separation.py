"""SDR, SI-SDR and improvements: worked by hand, and against fast_bss_eval."""

import json
import math
import subprocess

import numpy as np
import pytest
from paths import ORACLES_PYTHON as PYTHON
from paths import ROOT

from remixbench.errors import InputError
from remixbench.scoring import (
    Inputs,
    Separation,
    ca_sdr_improvement,
    event_table,
    make_reference,
    sdr,
    sdr_improvement,
    si_sdr,
    si_sdr_improvement,
)
from remixbench.scoring.separation import separation_metrics

EVENT = np.array([3.0, 0.0, 4.0, 0.0])  # energy 25
OTHER = np.array([0.0, 5.0, 0.0, 0.0])  # energy 25, orthogonal
SILENCE = np.zeros(4)


def test_sdr_is_the_plain_ratio_of_signal_to_error():
    assert sdr(EVENT, EVENT + OTHER) == pytest.approx(0)
    assert sdr(EVENT, EVENT + OTHER / 10) == pytest.approx(20)
    assert sdr(EVENT, EVENT / 2) == pytest.approx(20 * math.log10(2))  # another gain is an error, too
    assert sdr(EVENT, SILENCE) == 0
    assert sdr(EVENT, EVENT) == math.inf


def test_si_sdr_forgives_a_gain_and_nothing_else():
    for gain in (1, 0.1, -7):
        assert si_sdr(EVENT, gain * (EVENT + OTHER / 10)) == pytest.approx(20)
    assert si_sdr(EVENT, -2 * EVENT) == math.inf
    assert si_sdr(EVENT, OTHER) == si_sdr(EVENT, SILENCE) == -math.inf


def test_a_silent_reference_has_no_ratio():
    for metric in (sdr, si_sdr):
        assert math.isnan(metric(SILENCE, EVENT))
    for metric in (sdr_improvement, si_sdr_improvement):
        assert math.isnan(metric(SILENCE, EVENT, OTHER))
        assert math.isnan(metric(SILENCE, SILENCE, OTHER))


def test_improvement_is_over_the_mixture_and_0_for_the_mixture_and_for_silence():
    mixture = EVENT + OTHER
    for metric in (sdr_improvement, si_sdr_improvement):
        assert metric(EVENT, EVENT + OTHER / 10, mixture) == pytest.approx(20)
        assert metric(EVENT, mixture, mixture) == 0
        assert metric(EVENT, SILENCE, mixture) == 0
        assert metric(EVENT, EVENT, mixture) == pytest.approx(100)  # the limit


LSB = np.full(len(EVENT), 2.0**-15)


@pytest.mark.parametrize("estimate", [LSB, -LSB, 2 * LSB, 1e-3 * EVENT, 1e-3 * OTHER, SILENCE])
def test_next_to_nothing_is_silence_and_gains_nothing(estimate):
    mixture = EVENT + 5 * OTHER  # -14 dB
    assert sdr(EVENT, mixture) == pytest.approx(-14, abs=0.1)
    assert sdr(EVENT, estimate) == pytest.approx(0, abs=0.01)  # 14 dB above the mixture
    assert sdr_improvement(EVENT, estimate, mixture) == 0
    references = {"Bark": EVENT, "Bell": 5 * OTHER}
    good = {"Bell": 5 * OTHER + EVENT / 2}
    assert ca_sdr_improvement(references, {**good, "Bark": estimate}, mixture) == ca_sdr_improvement(
        references, good, mixture
    )
    found = {"Bark": EVENT + OTHER, "Bell": estimate}  # Bell is not in the clip, nor heard in its estimate
    assert ca_sdr_improvement({"Bark": EVENT}, found, mixture) == pytest.approx(14, abs=0.1)


def test_si_sdr_improvement_does_not_depend_on_the_gain_however_small():
    mixture = EVENT + OTHER
    for gain in (1, 1e-2, 1e-4, 1e-6):
        assert si_sdr_improvement(EVENT, gain * (EVENT + OTHER / 10), mixture) == pytest.approx(20)


def test_a_quiet_estimate_of_a_quiet_event_is_no_silence():
    mixture = EVENT / 100 + OTHER  # -40 dB
    assert sdr_improvement(EVENT / 100, EVENT / 100 + OTHER / 1000, mixture) == pytest.approx(60)


def test_class_aware_improvement_counts_false_and_missed_classes_as_zero():
    mixture = EVENT + OTHER
    references = {"Bark": EVENT, "Bell": OTHER}
    good = {"Bark": EVENT + OTHER / 10, "Bell": OTHER + EVENT / 10}
    assert ca_sdr_improvement(references, good, mixture) == pytest.approx(20)
    assert ca_sdr_improvement(references, {"Bark": good["Bark"]}, mixture) == pytest.approx(10)
    assert ca_sdr_improvement(references, {**good, "Cough": mixture, "Gong": OTHER}, mixture) == pytest.approx(10)
    assert ca_sdr_improvement(references, {}, mixture) == 0
    assert math.isnan(ca_sdr_improvement({}, {}, mixture))


def test_class_aware_improvement_takes_silence_for_absence():
    mixture = EVENT + OTHER
    assert ca_sdr_improvement({"Bark": EVENT}, {"Bark": SILENCE}, mixture) == 0
    assert ca_sdr_improvement({"Bark": EVENT, "Bell": SILENCE}, {"Bark": EVENT + OTHER / 10}, mixture) == pytest.approx(
        20
    )
    assert ca_sdr_improvement({"Bell": SILENCE}, {"Bell": EVENT}, mixture) == 0  # a false class


def test_means_are_over_events_and_leave_out_silent_references():
    table = event_table([0, 0, 1], [0, 1, 0], [0.0, 1.0, 0.0], [1.0, 2.0, 1.0])
    reference = make_reference(["a.wav", "b.wav", "c.wav"], ["dog", "door"], table, 5.0)
    values = np.array([2.0, math.nan, 5.0])
    separation = Separation(
        table.clip, table.label, {"sdr": values}, {"ca_sdr_improvement": np.array([1.0, 3.0, math.nan])}
    )
    weights = np.array([[1, 3], [1, 1], [1, 1]], float)
    found = separation_metrics(Inputs(reference, separation=separation), weights)
    assert found.overall["sdr"].tolist() == [3.5, (3 * 2 + 5) / 4]
    assert found.overall["ca_sdr_improvement"].tolist() == [2, (3 * 1 + 3) / 4]
    np.testing.assert_array_equal(found.per_class["sdr"], [[3.5, 2.75], [math.nan, math.nan]])


def test_signals_of_two_lengths_and_nan_are_refused():
    with pytest.raises(InputError, match=r"reference of shape \(4,\), estimate of \(3,\)"):
        sdr(EVENT, EVENT[:3])
    with pytest.raises(InputError, match="the estimate holds NaN"):
        si_sdr(EVENT, np.full(4, np.nan))


def test_samples_that_are_no_signal_are_refused():
    with pytest.raises(InputError, match="the estimate is not an array of samples"):
        sdr(EVENT, [[1.0], [1.0, 2.0]])
    with pytest.raises(InputError, match=r"mixture of shape \(3,\), estimate of \(4,\)"):
        sdr_improvement(EVENT, EVENT, EVENT[:3])
    with pytest.raises(InputError, match=r"mixture of shape \(2, 4\), estimate of \(4,\)"):
        ca_sdr_improvement({"dog": EVENT}, {"dog": EVENT}, np.stack([EVENT, EVENT]))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ratio", [sdr, si_sdr])
@pytest.mark.parametrize(
    ("estimate", "message"),
    [
        (EVENT + 1j, "the estimate is of type complex128, expected samples as real numbers"),
        (np.array(["a"] * 4), "the estimate is of type <U1"),
        (EVENT > 0, "the estimate is of type bool"),
        (1e-200 * (EVENT + OTHER), "the estimate has a peak of 5e-200, expected about 1; scale it"),
        (1e200 * (EVENT + OTHER), r"the estimate has a peak of 5e\+200"),
    ],
)
def test_samples_without_an_energy_are_refused(ratio, estimate, message):
    with pytest.raises(InputError, match=message):
        ratio(EVENT, estimate)


@pytest.mark.skipif(not PYTHON.exists(), reason=f"no scorers at {PYTHON}; tests/oracles/setup.sh sets them up")
def test_si_sdr_is_that_of_fast_bss_eval(tmp_path):
    rng = np.random.default_rng(0)
    signals = {}
    for k, level in enumerate(10 ** rng.uniform(-2, 2, 200)):
        reference = rng.normal(size=300)
        signals[str(k)] = [reference, rng.choice([0.1, 1, -3]) * (reference + level * rng.normal(size=300))]
    plain = {name: [each.tolist() for each in pair] for name, pair in signals.items()}
    (tmp_path / "cases.json").write_text(json.dumps([{"signals": plain}]))
    check = [PYTHON, ROOT / "tests/oracles/check.py", "fast_bss_eval", tmp_path / "cases.json", tmp_path / "out.json"]
    subprocess.run(check, check=True, capture_output=True)
    theirs = json.loads((tmp_path / "out.json").read_text())[0]
    for name, (reference, estimate) in signals.items():
        assert abs(si_sdr(reference, estimate) - theirs[name]) < 1e-6
        # SI-SDR is the plain SDR of the best scaled reference
        scaled = estimate @ reference / (reference @ reference) * reference
        assert abs(sdr(scaled, estimate) - theirs[name]) < 1e-6
