"""Ideal time-frequency masks of a clip, from its stems: the reference of time-frequency segmentation."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from remixbench.dataset.features import mel_magnitude
from remixbench.dataset.mix import FULL_SCALE, Stems
from remixbench.recipe import Features

KONG_MARGIN_DB = 5.0


def ideal_binary_mask(
    stems: Stems, features: Features, rate: int, margin_db: float = KONG_MARGIN_DB
) -> NDArray[np.bool_]:
    """Return where events are audible over the scene, (frames, bands).

    True where 20·log10(events / scene) + `margin_db` > 0, on mel magnitudes (Kong et al. 2019 with 5 dB).
    """
    events, scene = _magnitudes(stems, features, rate)
    mask: NDArray[np.bool_] = events * 10 ** (margin_db / 20) > scene
    return mask


def ideal_ratio_mask(stems: Stems, features: Features, rate: int) -> NDArray[np.float32]:
    """Return the events' share of the energy, E² / (E² + S²) of mel magnitudes, (frames, bands); 0 in silence."""
    events, scene = (magnitude**2 for magnitude in _magnitudes(stems, features, rate))
    total = events + scene
    ratio: NDArray[np.float32] = np.divide(events, total, out=np.zeros_like(total), where=total > 0)
    return ratio


def _magnitudes(stems: Stems, features: Features, rate: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    events, scene = (
        mel_magnitude(channel.astype(np.float32) / np.float32(FULL_SCALE), features, rate)
        for channel in (stems.events, stems.scene)
    )
    return events, scene


def ideal_class_masks(
    sources: NDArray[np.float32], rest: NDArray[np.float32], features: Features, rate: int, kind: Literal["IBM", "IRM"]
) -> NDArray[np.float32]:
    """Return the ideal masks by which each source is separated from the others and the rest, (sources, frames, n_mels).

    The ideal binary mask (IBM) gives each mel band of a frame to the loudest of all signals; the ideal ratio mask (IRM)
    gives each its share of the energy, E² / Σ E² of mel magnitudes. With the mask of the rest they sum to 1; all are 0
    in silence.

    Parameters
    ----------
    sources : (sources, samples).
    rest : (samples,), what belongs to none of them.
    """
    magnitudes = np.stack([mel_magnitude(signal, features, rate) for signal in (*sources, rest)])
    if kind == "IBM":
        loudest = magnitudes.argmax(axis=0)
        present = magnitudes.max(axis=0) > 0
        return np.stack([((loudest == k) & present).astype(np.float32) for k in range(len(sources))])
    energies = magnitudes[:-1] ** 2
    total = energies.sum(axis=0) + magnitudes[-1] ** 2
    masks: NDArray[np.float32] = np.divide(energies, total, out=np.zeros_like(energies), where=total > 0)
    return masks


def class_masks(mask: NDArray[np.bool_], active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Give each class its part of the events' mask: (frames, bands) and (frames, classes) -> (classes, frames, bands).

    `active` says in which frames a class sounds (strong labels); where two sound at once, both get the cell, since
    the stems do not tell them apart.
    """
    return active.T[:, :, None] & mask[None]


def active_frames(
    events: list[tuple[float, float, int]], classes: int, features: Features, rate: int, frames: int
) -> NDArray[np.bool_]:
    """Return in which frames each class sounds, (frames, classes).

    `events` are (onset, offset, class) in seconds; a frame counts where its window's centre is inside.
    """
    centres = (np.arange(frames) * features.hop_length + features.n_fft / 2) / rate
    active = np.zeros((frames, classes), dtype=bool)
    for onset, offset, label in events:
        active[(centres >= onset) & (centres < offset), label] = True
    return active
