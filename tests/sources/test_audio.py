"""Recordings as they come: odd headers, streams without a length, files joined or cut, and stretches of long ones."""

from __future__ import annotations

import io
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from remixbench.dataset.mix import resample
from remixbench.errors import InputError
from remixbench.sources.audio import FileReader, open_audio, read_audio, read_stretch

RATE = 16000
GUID = bytes.fromhex("0100000000001000800000aa00389b71")


def noise(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0, 0.1, (samples, channels)).clip(-0.9, 0.9)
    return values[:, 0] if channels == 1 else values


def steps(bits: int = 16, samples: int = 1000) -> np.ndarray:
    return np.rint(noise(samples) * (2 ** (bits - 1) - 1)).astype(np.int32)


def chunk(name: bytes, content: bytes, size: int | None = None, pad: bool = True) -> bytes:
    return (
        name + struct.pack("<I", len(content) if size is None else size) + content + b"\0" * (pad and len(content) % 2)
    )


def wav(
    data: bytes, *, code: int = 1, channels: int = 1, bits: int = 16, align: int | None = None, before: bytes = b"",
    after: bytes = b"", riff: int | None = None, size: int | None = None, extension: bytes = b"",
) -> bytes:  # fmt: skip
    align = channels * bits // 8 if align is None else align
    fmt = struct.pack("<HHIIHH", code, channels, RATE, RATE * align, align, bits) + extension
    body = b"WAVE" + chunk(b"fmt ", fmt) + before + chunk(b"data", data, size, pad=False) + after
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


def encoded(samples: np.ndarray, format: str, subtype: str | None = None, rate: int = RATE, **options: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype, **options)
    return file.getvalue()


def read(tmp_path: Path, data: bytes, name: str = "x.wav") -> np.ndarray:
    (tmp_path / name).write_bytes(data)
    samples, _ = read_audio(tmp_path / name)
    return samples


PCM = steps().astype("<i2").tobytes()
EXPECTED = steps() / 2**15
ODD = wav(bytes(range(100, 201)), bits=8)  # 101 bytes of samples
INFO = b"INFO" + chunk(b"ISFT", b"hello")


# --- headers of WAV


@pytest.mark.parametrize(
    "data",
    [
        wav(PCM),
        wav(PCM, size=0xFFFFFFFF, riff=0xFFFFFFFF),  # ffmpeg into a pipe
        wav(PCM, size=0x7FFFF000, riff=0x7FFFF024),  # sox into a pipe
        wav(PCM, size=0x80000000, riff=0x80000024),  # arecord into a pipe
        wav(PCM, size=0x7FFFFFFF),
        wav(PCM, size=0, riff=0),  # ended before it could write the size
        wav(PCM, riff=200),
        wav(PCM, riff=200, before=chunk(b"bext", bytes(602))),
        wav(PCM, riff=200, after=chunk(b"bext", bytes(602))),
        wav(PCM, before=chunk(b"LIST", b"INFO" + b"ISFTabc")),
        wav(PCM, before=chunk(b"LIST", INFO[:-1])),
        wav(PCM, before=chunk(b"LIST", INFO[:-1], pad=False)),
        wav(PCM, before=chunk(b"LIST", INFO, size=4)),
        wav(PCM, before=chunk(b"junk", bytes(27), pad=False) + chunk(b"cue ", bytes(4))),
        wav(PCM, after=chunk(b"LIST", INFO[:-1], pad=False)),
        wav(PCM, after=chunk(b"LIST", INFO, size=5000)),
        wav(PCM + b"\1"),
        wav(PCM, align=0),
        wav(PCM, bits=12, align=2),
        wav(PCM, code=0xFFFE, extension=struct.pack("<HHI", 22, 16, 4) + GUID),
    ],
)
def test_samples_are_read_despite_wrong_headers(data: bytes, tmp_path: Path) -> None:
    assert np.array_equal(read(tmp_path, data), EXPECTED)


@pytest.mark.parametrize("place", ["upper", "lower"])
@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("channels", [1, 2])
def test_24_bits_in_4_bytes(place: str, extensible: bool, channels: int, tmp_path: Path) -> None:
    words = steps(24)
    data = (words << 8 if place == "upper" else words).astype("<i4").tobytes()
    extension = struct.pack("<HHI", 22, 24, 4) + GUID if extensible else b""
    code = 0xFFFE if extensible else 1
    found = read(tmp_path, wav(data, code=code, channels=channels, bits=24, align=4 * channels, extension=extension))
    assert np.array_equal(found, (words / 2**23).reshape(-1, channels).mean(axis=1))


def test_32_bits_of_which_24_are_valid(tmp_path: Path) -> None:
    extension = struct.pack("<HHI", 22, 24, 4) + GUID
    data = wav((steps(24) << 8).astype("<i4").tobytes(), code=0xFFFE, bits=32, extension=extension)
    assert np.array_equal(read(tmp_path, data), steps(24) / 2**23)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
@pytest.mark.parametrize("size", [None, 0xFFFFFFFF])
def test_every_coding_is_read_as_libsndfile_reads_it(subtype: str, size: int | None, tmp_path: Path) -> None:
    data = bytearray(encoded(noise(999, 2), "WAV", subtype))
    expected, _ = soundfile.read(io.BytesIO(bytes(data)), always_2d=True)
    if size is not None:
        place = data.index(b"data") + 4
        data[place : place + 4] = struct.pack("<I", size)
    assert np.array_equal(read(tmp_path, bytes(data)), (expected[:, 0] + expected[:, 1]) * 0.5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (wav(PCM)[:-1], "truncated, its header promises 2,000 bytes of samples, 1,999 are there"),
        (
            wav(PCM, before=chunk(b"LIST", INFO, size=100_000)),
            "not readable as audio, its chunk 'LIST' extends to the end",
        ),
        (wav(PCM, align=8), "not readable as audio, its header says 1 channel.s. of 16 bits in blocks of 8 bytes"),
        (wav(PCM, channels=0), "not readable as audio, its header says that it has no channels"),
        (wav(noise(1000).astype("<f4").tobytes(), bits=24, align=4), "24-bit samples in 4 bytes are in neither"),
        (wav(PCM) + wav(PCM), "holds a second recording after the first; split it into two files"),
        (wav(PCM, after=chunk(b"data", PCM)), "holds a second recording after the first"),
        (wav(PCM, after=chunk(b"LIST", INFO) + chunk(b"data", PCM)), "holds a second recording after the first"),
        (wav(PCM, after=chunk(b"LIST", INFO)) + wav(PCM), "holds a second recording after the first"),
        (ODD + ODD, "holds a second recording after the first"),
        (ODD + b"\0" + ODD, "holds a second recording after the first"),
        (wav(PCM, before=chunk(b"fmt ", struct.pack("<HHIIHH", 1, 2, RATE, 4 * RATE, 4, 16))), "two chunks 'fmt '"),
        (wav(PCM, code=0x55), "not readable as audio"),
        (wav(b""), "holds no samples"),
        (wav(b"", size=0xFFFFFFFF), "holds no samples"),
        (wav(PCM)[:40], "not readable as audio, its chunk 'fmt ' extends to the end"),
    ],
)
def test_what_a_header_leaves_open_is_refused_by_name(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"x.wav: .*{message}"):
        read(tmp_path, data)


# --- other containers


@pytest.mark.parametrize(
    ("format", "subtype", "suffix"),
    [
        ("AIFF", "PCM_16", "aiff"), ("AIFF", "FLOAT", "aif"), ("AU", "PCM_16", "au"), ("CAF", "PCM_16", "caf"),
        ("W64", "PCM_16", "w64"), ("RF64", "PCM_16", "rf64"), ("FLAC", "PCM_16", "flac"), ("OGG", "VORBIS", "ogg"),
        ("OGG", "OPUS", "opus"),
    ],
)  # fmt: skip
def test_containers_are_read_whole_or_refused(format: str, subtype: str, suffix: str, tmp_path: Path) -> None:
    data = encoded(noise(50_000), format, subtype)
    expected, _ = soundfile.read(io.BytesIO(data))
    assert np.array_equal(read(tmp_path, data, f"x.{suffix}"), expected)
    for kept in (len(data) // 2, len(data) - 100):
        with pytest.raises(InputError, match=rf"x.{suffix}: (truncated|not readable as audio \(.+\))"):
            read(tmp_path, data[:kept], f"x.{suffix}")


@pytest.mark.parametrize("format", ["FLAC", "OGG", "AIFF", "AU", "CAF", "W64", "RF64", "WAV"])
def test_two_recordings_in_one_file_are_refused(format: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.\w+: (holds|not readable as audio)"):
        read(tmp_path, encoded(noise(20_000), format) + encoded(noise(20_000), format), f"x.{format.lower()}")


@pytest.mark.parametrize("format", ["AU", "CAF", "RF64", "WAV", "AIFF"])
def test_data_after_a_recording_is_not_read(format: str, tmp_path: Path) -> None:
    data = encoded(noise(20_000), format)
    expected, _ = soundfile.read(io.BytesIO(data))
    assert np.array_equal(read(tmp_path, data + bytes(640), f"x.{format.lower()}"), expected)


def test_data_after_a_w64_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x.w64: has 640 bytes after its end, which would be decoded as samples"):
        read(tmp_path, encoded(noise(20_000), "W64") + bytes(640), "x.w64")


@pytest.mark.parametrize("content", [b"<html>not found</html>" * 300, bytes(5000), b"\xff" * 5000])
def test_a_file_that_is_not_an_mp3_is_reported_in_one_line(
    content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"x.mp3: not readable as audio, it has no MPEG frame with sound"):
        read(tmp_path, content, "x.mp3")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", ["au", "snd", "vox", "gsm"])
@pytest.mark.parametrize("data", [bytes(100) + encoded(noise(1000), "AU"), b"<html>" * 1000])
def test_what_only_its_suffix_calls_audio_is_refused(suffix: str, data: bytes, tmp_path: Path) -> None:
    """libsndfile takes it for samples without a header."""
    with pytest.raises(InputError, match=rf"x.{suffix}: not readable as audio, it does not begin as its suffix says"):
        read(tmp_path, data, f"x.{suffix}")


@pytest.mark.parametrize("format", ["NIST", "VOC", "AVR", "SVX", "IRCAM", "PVF", "PAF", "MAT5"])
def test_a_format_without_checks_is_refused(format: str, tmp_path: Path) -> None:
    """libsndfile reads the first half of such a file as if it were the whole."""
    data = encoded(noise(20_000), format, "PCM_16")
    for content in (data, data[: len(data) // 2]):
        with pytest.raises(InputError, match=rf"x.\w+: in the format {format}, in which a truncated file looks like"):
            read(tmp_path, content, f"x.{format.lower()}")


def test_samples_without_a_header_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x.RAW: not readable as audio, samples without a header"):
        read(tmp_path, bytes(1000), "x.RAW")


@pytest.mark.parametrize("suffix", ["wav", "aiff", "flac", "mp3", "opus"])
def test_an_empty_file_is_reported_as_empty(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"x.{suffix}: not readable as audio, it is empty; fetch"):
        read(tmp_path, b"", f"x.{suffix}")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_far_beyond_full_scale_are_read_or_refused(subtype: str, tmp_path: Path) -> None:
    scale = {"FLOAT": 1e38, "DOUBLE": 1e250}[subtype]
    expected = noise(2000) * scale
    soundfile.write(tmp_path / "x.wav", expected, 8000, subtype=subtype)
    if subtype == "FLOAT":  # their energy is a number
        assert np.allclose(read_audio(tmp_path / "x.wav")[0], expected, rtol=1e-6)
    else:
        with pytest.raises(InputError, match=r"x.wav: holds samples of up to \de\+\d+, expected about -1 to 1"):
            read_audio(tmp_path / "x.wav")


def test_a_flac_that_was_streamed_is_read_to_its_end(tmp_path: Path) -> None:
    data = bytearray(encoded(noise(50_000), "FLAC"))
    expected, _ = soundfile.read(io.BytesIO(bytes(data)))
    data[21] &= 0xF0  # the number of samples: not known
    data[22:26] = bytes(4)
    assert np.array_equal(read(tmp_path, bytes(data), "x.flac"), expected)


# --- MP3


MP3_RATE = 44100
TONE = np.sin(np.cumsum(np.linspace(0.02, 0.2, 10 * MP3_RATE))) * np.repeat([0.02, 0.5] * 5, MP3_RATE)


def mp3(samples: np.ndarray, mode: str = "VARIABLE", rate: int = MP3_RATE) -> bytes:
    return encoded(samples, "MP3", rate=rate, bitrate_mode=mode, compression_level=0.5)


def headless(data: bytes) -> bytes:
    """Return an MP3 without the frame that says how long it is."""
    return data[data.index(data[:2], 4) :]


def aligned(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the correlation of two signals; `found` may begin up to 3,000 samples later."""
    search = expected[20_000:30_000]
    lags = [float(np.corrcoef(found[20_000 + lag : 30_000 + lag], search)[0, 1]) for lag in range(3000)]
    best = int(np.argmax(lags))
    count = min(len(found) - best, len(expected))
    return float(np.corrcoef(found[best : best + count], expected[:count])[0, 1])


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT", "AVERAGE"])
def test_an_mp3_without_its_length_is_read_to_its_end(mode: str, tmp_path: Path) -> None:
    samples = read(tmp_path, headless(mp3(TONE, mode)), "x.mp3")
    assert len(TONE) <= len(samples) <= len(TONE) + 3 * 1152
    assert aligned(samples, TONE) > 0.98


@pytest.mark.parametrize("rate", [16000, 24000, 32000, 48000, 8000])
def test_at_every_rate(rate: int, tmp_path: Path) -> None:
    tone = TONE[: 3 * rate]
    samples = read(tmp_path, headless(mp3(tone, rate=rate)), "x.mp3")
    assert len(tone) <= len(samples) <= len(tone) + 4 * 1152


def test_mp3s_joined_end_to_end_are_read_one_after_the_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, two = mp3(TONE[:100_000]), mp3(TONE[100_000:250_000], "CONSTANT")
    tag = b"ID3\x03\0\0\0\0\x01\0" + bytes(128)
    parts = [read(tmp_path, part, "x.mp3") for part in (one, two)]
    for joint in (one + two, tag + one + tag + two + b"TAG" + bytes(125)):
        assert np.array_equal(read(tmp_path, joint, "x.mp3"), np.concatenate(parts))
    samples = read(tmp_path, headless(one) + headless(two), "x.mp3")
    assert 250_000 <= len(samples) <= 250_000 + 6 * 1152
    assert capfd.readouterr().err == ""


def test_a_whole_mp3_is_read_as_libsndfile_reads_it(tmp_path: Path) -> None:
    for data in (mp3(TONE), mp3(TONE, "CONSTANT"), mp3(np.stack([TONE, 0.5 * TONE], axis=1))):
        expected, _ = soundfile.read(io.BytesIO(data), always_2d=True)
        found = read(tmp_path, data, "x.mp3")
        assert len(found) == len(TONE)
        assert np.abs(found - expected.mean(axis=1)).max() < 1e-12


@pytest.mark.parametrize("change", [lambda data: data[: len(data) // 2], lambda data: headless(data)[:-50]])
def test_a_truncated_mp3_is_refused(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x.mp3: truncated, "):
        read(tmp_path, change(mp3(TONE)), "x.mp3")


def test_mp3s_of_two_rates_in_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x.mp3: holds parts with different sample rates"):
        read(tmp_path, mp3(TONE[:50_000]) + mp3(TONE[:50_000], rate=48000), "x.mp3")


# --- channels of opposite phase


@pytest.mark.parametrize("residue", [0.0, 1 / 2**15, 1e-3])
@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_cancel_each_other_are_refused(residue: float, channels: int, tmp_path: Path) -> None:
    signal = noise(30_000) * 2
    both = np.stack([signal, -signal] * (channels // 2), axis=1)
    both[:, 0] += residue
    with pytest.raises(InputError, match=r"x.wav: its channels are of opposite phase, .* (\d+ dB|silent)"):
        read(tmp_path, encoded(both, "WAV", "PCM_16"))


def test_wide_and_quiet_recordings_are_not_refused(tmp_path: Path) -> None:
    mid, side = noise(30_000) * 0.02, noise(30_000, seed=1)
    wide = np.stack([mid + side, mid - side], axis=1)
    assert np.any(read(tmp_path, encoded(wide, "WAV", "PCM_24")))
    assert np.any(read(tmp_path, encoded(noise(30_000, 2) * 1e-4, "WAV", "PCM_16")))
    late = np.stack([noise(30_000), -noise(30_000)], axis=1) * 0.01
    late[20_001:20_011] = 0.9  # heard between the samples at which one would look first
    assert np.abs(read(tmp_path, encoded(late, "WAV", "PCM_16"))).max() > 0.8


# --- stretches


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "mp3", "ogg", "opus"])
def test_a_stretch_resampled_is_that_of_the_whole(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    rate = 48000 if suffix == "opus" else 44100
    with soundfile.SoundFile(
        path, "w", rate, 2, format={"opus": "OGG"}.get(suffix), subtype={"opus": "OPUS"}.get(suffix)
    ) as file:
        for second in range(40):  # libsndfile overflows its stack if it is given much Vorbis at once
            file.write(noise(rate, 2, second))
    whole, _ = read_audio(path)
    whole = resample(whole, rate, RATE)
    for start in (0.0, 3.7, 30.0):
        stretch = FileReader(tmp_path).read_stretch(path.name, start, start + 10)
        assert not stretch.complete
        assert len(stretch.samples) <= 13 * rate
        found = resample(stretch.samples, rate, RATE)
        offset = stretch.first // rate * RATE
        part = slice(int(start * RATE), int((start + 10) * RATE))
        tolerance = 1e-7 if suffix in ("wav", "flac", "aiff") else 1e-3
        assert np.abs(found[part.start - offset : part.stop - offset] - whole[part]).max() < tolerance


def test_a_short_recording_is_read_whole(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", noise(15 * RATE), RATE)
    assert read_stretch(tmp_path / "x.wav", 2.5, 12.5).complete
    assert read_stretch(tmp_path / "x.wav", 12.5, 22.5).complete  # it ends before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts bytes read as Linux does")
def test_of_a_long_recording_only_the_stretch_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros((20 * 60 * RATE, 1)) + 0.1, RATE, subtype="PCM_16")
    with open_audio(tmp_path / "x.wav") as file:
        assert file.frames == 20 * 60 * RATE
    before = os.times().user
    assert len(read_stretch(tmp_path / "x.wav", 600, 610).samples) == 12 * RATE
    assert os.times().user - before < 0.2
