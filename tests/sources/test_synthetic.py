"""The synthetic sounds: the same every time, well formed, and as different as their labels say."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from remixbench.errors import InputError
from remixbench.sources.synthetic.dsp import Resonance, coloured_noise, harmonics, modal, resonate
from remixbench.sources.synthetic.models import CLAMPED_PLATE, FREE_BAR, MEMBRANE, TUBE, Range, Struck, narrowed
from remixbench.sources.synthetic.render import event_labels, scene_labels, synthesise_event, synthesise_scene

RATE = 16000
FSDKAGGLE2018 = [
    "Acoustic_guitar",
    "Applause",
    "Bark",
    "Bass_drum",
    "Burping_or_eructation",
    "Bus",
    "Cello",
    "Chime",
    "Clarinet",
    "Computer_keyboard",
    "Cough",
    "Cowbell",
    "Double_bass",
    "Drawer_open_or_close",
    "Electric_piano",
    "Fart",
    "Finger_snapping",
    "Fireworks",
    "Flute",
    "Glockenspiel",
    "Gong",
    "Gunshot_or_gunfire",
    "Harmonica",
    "Hi-hat",
    "Keys_jangling",
    "Knock",
    "Laughter",
    "Meow",
    "Microwave_oven",
    "Oboe",
    "Saxophone",
    "Scissors",
    "Shatter",
    "Snare_drum",
    "Squeak",
    "Tambourine",
    "Tearing",
    "Telephone",
    "Trumpet",
    "Violin_or_fiddle",
    "Writing",
]
TAU2019 = [
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
]


def test_labels_equal_those_of_the_published_sources() -> None:
    assert list(event_labels()) == FSDKAGGLE2018
    assert list(scene_labels()) == TAU2019


@pytest.mark.parametrize("label", FSDKAGGLE2018)
def test_every_event_is_well_formed(label: str) -> None:
    lengths = set()
    for number in range(4):
        sound = synthesise_event(label, number, RATE, seed=5)
        assert sound.dtype == np.float32
        assert sound.ndim == 1
        assert np.isfinite(sound).all()
        assert 0.3 <= len(sound) / RATE <= 4.0
        assert 0.2 <= np.abs(sound).max() <= 0.9
        assert abs(sound[-1]) < 1e-3  # ends without a click
        steps = sound.astype(np.float64) * 32768
        assert np.array_equal(steps, np.rint(steps))  # PCM_16 holds it exactly
        assert np.sqrt(np.mean(sound[: RATE // 2] ** 2)) > 1e-3  # is audible early, not only at its end
        lengths.add(len(sound))
    assert len(lengths) > 1


@pytest.mark.parametrize("label", TAU2019)
def test_every_scene_is_well_formed_and_never_silent(label: str) -> None:
    sound = synthesise_scene(label, 0, 0, RATE, 3.0, seed=5)
    assert sound.dtype == np.float32
    assert sound.shape == (3 * RATE,)
    assert 0.2 <= np.abs(sound).max() <= 0.9
    steps = sound.astype(np.float64) * 32768
    assert np.array_equal(steps, np.rint(steps))
    loudness = np.sqrt(np.mean(sound.reshape(-1, RATE // 20) ** 2, axis=1))  # over 50 ms
    assert loudness.min() > 0.1 * np.sqrt(np.mean(sound**2))


def test_the_same_request_gives_the_same_samples_whatever_was_made_before() -> None:
    first = [synthesise_event(label, 3, RATE, 1) for label in ("Cello", "Shatter", "Laughter")]
    place = synthesise_scene("tram", 2, 1, RATE, 2.0, 1)
    again = [synthesise_event(label, 3, RATE, 1) for label in ("Laughter", "Shatter", "Cello")][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.array_equal(place, synthesise_scene("tram", 2, 1, RATE, 2.0, 1))


def test_another_process_gives_the_same_samples() -> None:
    code = (
        "import zlib; from remixbench.sources.synthetic.render import synthesise_event, synthesise_scene;"
        "print(zlib.crc32(synthesise_event('Meow', 2, 16000, 4)),"
        " zlib.crc32(synthesise_scene('bus', 1, 0, 16000, 1, 4)))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "2"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    here = synthesise_event("Meow", 2, RATE, 4), synthesise_scene("bus", 1, 0, RATE, 1, 4)
    assert told.stdout.split() == [str(zlib.crc32(sound)) for sound in here]


@pytest.mark.parametrize("other", [("Knock", 1, 7), ("Knock", 0, 8), ("Gong", 0, 7)])
def test_another_label_number_or_seed_gives_another_sound(other: tuple[str, int, int]) -> None:
    label, number, seed = other
    sound, changed = synthesise_event("Knock", 0, RATE, 7), synthesise_event(label, number, RATE, seed)
    assert len(sound) != len(changed) or not np.array_equal(sound, changed)


@pytest.mark.parametrize("rate", [8000, 22050, 32000, 44100])
def test_every_class_sounds_at_every_usual_rate(rate: int) -> None:
    for label in event_labels():
        sound = synthesise_event(label, 0, rate, 0)
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() >= 0.2
        assert 0.3 <= len(sound) / rate <= 4.0
    for label in scene_labels():
        scene = synthesise_scene(label, 0, 0, rate, 1.0, 0)
        assert np.isfinite(scene).all()
        assert len(scene) == rate


def test_invalid_arguments_are_reported() -> None:
    with pytest.raises(InputError, match=r"unknown synthetic event 'Celo' \(did you mean 'Cello'\?\)"):
        synthesise_event("Celo", 0, RATE, 0)
    with pytest.raises(InputError, match=r"unknown synthetic scene 'trams' \(did you mean 'tram'\?\)"):
        synthesise_scene("trams", 0, 0, RATE, 1.0, 0)
    with pytest.raises(InputError, match="rate 4000 Hz is too low"):
        synthesise_event("Cello", 0, 4000, 0)


# The classes differ ------------------------------------------------------------------------------------


def features(sound: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean, spread and mean step of 32 log bands over the first 2 s at one level, and the length."""
    x = sound[: 2 * RATE].astype(np.float64)
    x /= np.sqrt(np.mean(x**2))
    frames = np.lib.stride_tricks.sliding_window_view(x, 512)[::256] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = np.unique(np.geomspace(2, 256, 40).astype(int))[-33:]
    bands = np.log(np.add.reduceat(power, edges[:-1], axis=1) + 1e-4)
    return np.concatenate([bands.mean(0), bands.std(0), np.abs(np.diff(bands, axis=0)).mean(0), [len(x) / RATE]])


def nearest_neighbour_accuracy(table: NDArray[np.float64], known: int) -> float:
    """Share of the recordings after the first `known` of a class whose nearest known one is of that class.

    `table` is (classes, recordings, features).
    """
    classes = len(table)
    scaled = (table - table[:, :known].mean((0, 1))) / (table[:, :known].std((0, 1)) + 1e-9)
    learnt = scaled[:, :known].reshape(classes * known, -1)
    asked = scaled[:, known:].reshape(-1, learnt.shape[1])
    nearest = ((asked[:, None] - learnt[None]) ** 2).sum(-1).argmin(1) // known
    return float(np.mean(nearest == np.repeat(np.arange(classes), len(asked) // classes)))


def test_event_classes_are_distinguishable() -> None:
    table = np.array([[features(synthesise_event(label, n, RATE, 0)) for n in range(7)] for label in event_labels()])
    assert nearest_neighbour_accuracy(table, known=5) > 0.75  # chance is 0.024


def test_scenes_are_distinguishable_and_pieces_of_a_place_are_alike() -> None:
    def piece(label: str, place: int, number: int) -> NDArray[np.float64]:
        return features(synthesise_scene(label, place, number, RATE, 2.0, 0))

    table = np.array([[piece(label, place, 0) for place in range(8)] for label in scene_labels()])
    assert nearest_neighbour_accuracy(table, known=5) > 0.5  # chance is 0.1
    of_one_label = np.array([[piece("tram", place, number) for number in range(4)] for place in range(6)])
    assert nearest_neighbour_accuracy(of_one_label, known=2) > 0.5  # which of 6 places; chance is 0.17


# The building blocks -----------------------------------------------------------------------------------


def test_modal_sum_is_the_sum_of_decaying_sines() -> None:
    f, decay, a = np.array([440.0, 1234.5, 7900.0]), np.array([0.3, 0.05, 1.0]), np.array([1.0, -0.5, 1.0])
    t = np.arange(1000)[:, None] / RATE
    expected = (a * np.exp(-t / decay) * np.sin(2 * np.pi * f * t))[:, :2].sum(1)  # 7900 Hz lies too near 8000
    np.testing.assert_allclose(modal(f, decay, a, 1000, RATE), expected, atol=1e-12)


def test_harmonics_are_sines_at_multiples_of_the_pitch() -> None:
    phase = 2 * np.pi * 300 / RATE * np.arange(1, 2001)
    expected = np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.25 * np.sin(3 * phase)
    np.testing.assert_allclose(harmonics(np.full(2000, 300.0), np.array([1, 0.5, 0.25]), RATE), expected, atol=1e-9)


def test_resonances_are_peak_filters_in_parallel_and_long_signals_show_no_seams() -> None:
    from scipy import signal

    noise = np.random.default_rng(0).standard_normal(5 * RATE)  # longer than a block
    bodies = (Resonance(300, 60), Resonance(2900, 400, -0.5))
    expected = 0.1 * noise
    for part in bodies:
        numerator, denominator = signal.iirpeak(part.hertz, part.hertz / part.width, RATE)
        expected += part.gain * signal.lfilter(numerator, denominator, noise)
    found = resonate(noise, RATE, bodies, direct=0.1)
    assert np.abs(found - expected).max() < 0.005 * expected.std()  # the ringing is cut off at -54 dB


def test_coloured_noise_has_its_power_around_its_centre_and_no_seams() -> None:
    noise = coloured_noise(np.random.default_rng(0), 4 * RATE, RATE, 1000, 0.3)
    assert noise.std() == pytest.approx(1, abs=0.05)
    power = np.abs(np.fft.rfft(noise)) ** 2
    f = np.fft.rfftfreq(len(noise), 1 / RATE)
    assert power[(f > 500) & (f < 2000)].sum() > 0.99 * power.sum()
    loudness = noise.reshape(-1, RATE // 10).std(axis=1)
    assert loudness.min() > 0.6


def test_settling_narrows_every_range_within_its_bounds() -> None:
    drum = Struck(Range(50, 100), MEMBRANE, Range(0.1, 0.3))
    one = narrowed(drum, np.random.default_rng(0), 0.04)
    assert 50 <= one.pitch.low < one.pitch.high <= 100
    assert one.pitch.high / one.pitch.low < 1.09
    assert one.ratios == MEMBRANE
    assert one != narrowed(drum, np.random.default_rng(1), 0.04)


def test_ratios_of_modes_follow_their_formulas() -> None:
    from scipy import optimize, special

    bar = [
        optimize.brentq(lambda x: np.cos(x) - 1 / np.cosh(x), (k + 0.4) * np.pi, (k + 0.6) * np.pi) for k in range(1, 8)
    ]
    np.testing.assert_allclose(FREE_BAR, (np.array(bar[:5]) / bar[0]) ** 2, atol=6e-4)
    np.testing.assert_allclose(TUBE, (np.array(bar[2:7]) / bar[3]) ** 2, atol=6e-4)
    zeros = np.sort(np.concatenate([special.jn_zeros(n, 4) for n in range(8)]))
    np.testing.assert_allclose(MEMBRANE, zeros[:11] / zeros[0], atol=6e-4)

    def clamped(x: float, n: int) -> float:
        return float(special.jv(n, x) * special.ivp(n, x) - special.iv(n, x) * special.jvp(n, x))

    grid = np.linspace(2, 10, 400)
    roots = sorted(
        optimize.brentq(clamped, a, b, args=(n,))
        for n in range(7)
        for a, b in itertools.pairwise(grid)
        if clamped(a, n) * clamped(b, n) < 0
    )
    np.testing.assert_allclose(CLAMPED_PLATE, (np.array(roots[:9]) / roots[0]) ** 2, atol=6e-4)
