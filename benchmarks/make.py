"""What `remixbench make` costs, as ratios against two references in the same run.

    python benchmarks/make.py SOURCES [--clips-per-fold 50]

SOURCES is a sources directory in the layout of TAU 2019 and FSDKaggle2018. Measured at one process each, whole data
set with log-mel at 0, 10 and 20 dB, remix2019 drawn anew from the tables in SOURCES:

* plain: one clip and ratio after the other as the released procedure reads: decode, average, resample with librosa,
  scale, mix, write through libsndfile, read back, scipy's spectrogram, mel. Nothing is kept between ratios.
* floor: decode, resample, mix, write, log-mel with the libraries that `make` uses, each event and scene once, and
  nothing else: no digests, levels, records, atomic writes, checks or processes.
* make: `remixbench.make` with one job, then with two; peak memory of its processes, also at half the clips.

Prints a JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import resource
import shutil
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

SNRS = (0.0, 10.0, 20.0)
RATE = 32000


def plain(manifest: Any, scenes: Path, events: Path, out: Path) -> None:
    """Make mixtures and log-mel as one would write it down from the description of the released code."""
    import librosa
    import numpy as np
    import soundfile
    from scipy.signal import spectrogram

    def load(path: Path) -> Any:
        samples, rate = soundfile.read(path)
        if samples.ndim > 1:
            samples = np.mean(samples, axis=-1)
        return librosa.resample(samples, orig_sr=rate, target_sr=RATE, res_type="soxr_hq"), len(samples) / rate

    def rms(samples: Any) -> float:
        return float(np.sqrt(np.mean(samples**2)))

    bank = librosa.filters.mel(sr=RATE, n_fft=2048, n_mels=64, fmin=50, fmax=16000)
    for snr in SNRS:
        features = []
        for clip in manifest.clips:
            scene, _ = load(scenes / clip.scene_file)
            scene = scene / rms(scene)
            laid = np.zeros(len(scene))
            for event in clip.events:
                samples, seconds = load(events / event.file)
                samples = samples / rms(samples) * 10 ** (snr / 20)
                offset = event.onset + min(seconds, event.max_duration)
                first, last = int(event.onset * RATE), int(offset * RATE)
                laid[first:last] = samples[: last - first]
            both = np.stack([laid, scene], axis=1)
            both /= np.max(np.abs(both))
            path = out / f"{clip.id}.wav"
            soundfile.write(path, both, RATE, subtype="PCM_16")
            stored, _ = soundfile.read(path)
            _, _, magnitude = spectrogram(
                np.mean(stored, axis=-1), window=np.hamming(2048), nperseg=2048, noverlap=1024, detrend=False,
                mode="magnitude",
            )  # fmt: skip
            features.append(np.log(magnitude.T @ bank.T + 1e-8).astype(np.float32))
        np.save(out / f"logmel_{snr:g}.npy", np.stack(features))


def floor(manifest: Any, scenes: Path, events: Path, out: Path) -> None:
    """Do the indispensable work, in float32, with the fastest libraries of `make`, and nothing else."""
    import librosa
    import numpy as np
    import soxr
    from scipy.fft import rfft

    def decode(path: Path) -> Any:
        with wave.open(str(path)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            data = file.readframes(file.getnframes())
        count = len(data) // width
        if width == 2:
            samples = np.frombuffer(data, "<i2").astype(np.float64)
        else:
            samples = (np.ndarray((count,), "<i4", b"\0" + data, strides=(3,)) >> 8).astype(np.float64)
        if channels == 2:
            samples = (samples[0::2] + samples[1::2]) * 0.5
        seconds = len(samples) / rate
        out = soxr.resample(samples, rate, RATE, quality="HQ")
        return out / math.sqrt(float(np.dot(out, out)) / len(out)), seconds

    bank = np.ascontiguousarray(librosa.filters.mel(sr=RATE, n_fft=2048, n_mels=64, fmin=50, fmax=16000).T)
    window = np.hamming(2048)
    window = (window / np.sqrt(np.sum(window**2))).astype(np.float32)
    kept = {file: decode(events / file) for file in manifest.event_files}
    kept = {file: (samples[: 2 * RATE + 1].copy(), seconds) for file, (samples, seconds) in kept.items()}
    features = {snr: np.empty((len(manifest.clips), 311, 64), np.float32) for snr in SNRS}
    for row, clip in enumerate(manifest.clips):
        scene, _ = decode(scenes / clip.scene_file)
        for snr in SNRS:
            laid = np.zeros(len(scene))
            for event in clip.events:
                samples, seconds = kept[event.file]
                first = int(event.onset * RATE)
                last = int((event.onset + min(seconds, event.max_duration)) * RATE)
                laid[first:last] = samples[: last - first] * 10 ** (snr / 20)
            peak = max(laid.max(), -laid.min(), scene.max(), -scene.min())
            total = np.floor(laid * (32768 / peak)) + np.floor(scene * (32768 / peak))
            mono = np.rint(total * 0.5).astype(np.int16)
            with wave.open(str(out / f"{clip.id}_{snr:g}.wav"), "wb") as file:
                file.setparams((1, 2, RATE, 0, "NONE", ""))
                file.writeframes(mono.tobytes())
            signal = (total * (0.5 / 32768)).astype(np.float32)
            framed = np.lib.stride_tricks.sliding_window_view(signal, 2048)[::1024]
            magnitude = np.abs(rfft(framed * window, axis=1))
            features[snr][row] = np.log(magnitude @ bank + np.float32(1e-8))
    for snr in SNRS:
        np.save(out / f"logmel_{snr:g}.npy", features[snr])


def ours(sources: Path, clips_per_fold: int, jobs: int, out: Path) -> None:
    import remixbench

    remixbench.make(
        recipe="remix2019",
        replan=True,
        clips_per_fold=clips_per_fold,
        sources=sources,
        snr=SNRS,
        jobs=jobs,
        out=out / "d",
    )


def _measured(pipe: Any, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Run one piece of work in a process of its own; send its seconds and peak memory in MB (it, its largest child)."""
    from joblib.externals.loky import get_reusable_executor
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        start = time.perf_counter()
        work(*arguments)
        seconds = time.perf_counter() - start
    get_reusable_executor().shutdown()  # workers count once they have ended
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    pipe.send(
        {
            "seconds": round(seconds, 2),
            "cpu_seconds": round(sum(u.ru_utime + u.ru_stime for u in usage), 2),
            "peak_mb": round(usage[0].ru_maxrss / 1024),
            "peak_mb_of_a_worker": round(usage[1].ru_maxrss / 1024),
        }
    )


def measure(work: Callable[..., None], *arguments: Any) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(sender, work, arguments))
    process.start()
    sender.close()
    try:
        usage: dict[str, Any] = receiver.recv()
    finally:
        process.join()
    return usage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path)
    parser.add_argument("--clips-per-fold", type=int, default=50)
    parser.add_argument("--only", nargs="*", choices=["plain", "floor", "make"], default=["plain", "floor", "make"])
    arguments = parser.parse_args()

    from remixbench.dataset.plan import draw_manifest
    from remixbench.recipe import load_recipe
    from remixbench.sources import fsdkaggle2018, tau2019

    sources = arguments.sources.resolve()
    recipe = load_recipe("remix2019")
    manifest = draw_manifest(recipe, tau2019.scenes(sources), fsdkaggle2018.events(sources))
    manifest = manifest.first(arguments.clips_per_fold)
    scenes, events = sources / tau2019.AUDIO, sources / fsdkaggle2018.AUDIO
    units = len(manifest.clips) * len(SNRS)
    work = Path(tempfile.mkdtemp(prefix="remixbench-benchmark-"))
    try:
        result: dict[str, Any] = {
            "clips": len(manifest.clips), "snrs": len(SNRS), "cores": os.cpu_count(), "machine": platform.machine(),
            "python": platform.python_version(),
        }  # fmt: skip

        def record(name: str, function: Callable[..., None], *rest: Any) -> None:
            folder = work / name
            folder.mkdir()
            result[name] = measure(function, *rest, folder)
            result[name]["ms_a_clip_and_snr"] = round(result[name]["seconds"] / units * 1e3, 2)
            shutil.rmtree(folder)

        if "plain" in arguments.only:
            record("plain", plain, manifest, scenes, events)
        if "floor" in arguments.only:
            record("floor", floor, manifest, scenes, events)
        if "make" in arguments.only:
            record("make", ours, sources, arguments.clips_per_fold, 1)
            record("make_2_jobs", ours, sources, arguments.clips_per_fold, 2)
            units //= 2
            record("make_half", ours, sources, arguments.clips_per_fold // 2, 1)
        for kind in ("seconds", "cpu_seconds"):  # on a busy machine the processor's time is the steadier of the two
            times = {name: usage[kind] for name, usage in result.items() if isinstance(usage, dict)}
            if {"plain", "make"} <= set(times):
                result[f"plain_over_make, {kind}"] = round(times["plain"] / times["make"], 2)
            if {"floor", "make"} <= set(times):
                result[f"make_over_floor, {kind}"] = round(times["make"] / times["floor"], 2)
        if "make" in result:
            result["make_over_make_2_jobs, seconds"] = round(
                result["make"]["seconds"] / result["make_2_jobs"]["seconds"], 2
            )
        print(json.dumps(result, indent=2))
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
