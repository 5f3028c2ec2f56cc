"""Writing a run's time-frequency maps, some clips at a time, so that they are never in memory together."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from remixbench.files import atomic_path

LEVEL = 1
"""Of compression: higher levels take several times as long and save a few per cent."""


@contextmanager
def writing_maps(
    path: Path, clip: Sequence[str], label: Sequence[str], frames: int, bands: int
) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """Write `maps.npz`, compressed: `clip` and `label` (pairs,) strings, `maps` (pairs, frames, bands) uint8.

    Yields a function that takes the maps in that order, any number at a time. The same maps give the same bytes.
    """
    with (
        atomic_path(path) as beside,
        zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive,
    ):
        for name, values in (("clip", clip), ("label", label)):
            with _entry(archive, name) as stream:
                np.lib.format.write_array(stream, np.array(values), allow_pickle=False)
        with _entry(archive, "maps") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(clip), frames, bands)}
            np.lib.format.write_array_header_1_0(stream, header)
            yield lambda maps: _write(stream, maps)


def _entry(archive: zipfile.ZipFile, name: str) -> Any:
    info = zipfile.ZipInfo(f"{name}.npy")  # its date is fixed
    info.compress_type = zipfile.ZIP_DEFLATED
    return archive.open(info, "w", force_zip64=True)


def _write(stream: Any, maps: NDArray[np.uint8]) -> None:
    stream.write(np.ascontiguousarray(maps).tobytes())
