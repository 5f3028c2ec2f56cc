"""Arrays that others made: exactly the expected members, bounded memory, one line for whatever is wrong."""

import io
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from remixbench.errors import InputError
from remixbench.scoring.npz import CHUNK, open_npz, read_npz, strings

SIZES = {"scores": 1 << 20, "filename": 4096}
OPTIONAL = {"thresholds": 64}
ARRAYS = {"scores": np.arange(12, dtype=np.float32).reshape(3, 4), "filename": np.array(["a.wav", "b.wav", "c.wav"])}


def npy(array=None, **header):
    """Return the bytes of an .npy, or of a header alone."""
    stream = io.BytesIO()
    if header:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False} | header)
    else:
        np.lib.format.write_array(stream, np.asarray(array))
    return stream.getvalue()


MEMBERS = [(f"{key}.npy", npy(array)) for key, array in ARRAYS.items()]


def archive(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def refused(path):
    with pytest.raises(InputError) as error:
        read_npz(path, SIZES, OPTIONAL)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f4", ">f8", "<f2", "|u1", "<i8"])
def test_what_numpy_writes_is_read(tmp_path, save, order, kind):
    draw = np.random.default_rng(0)
    array = np.array(draw.integers(0, 100, (3, 5, 7)), dtype=kind, order=order)
    save(tmp_path / "a.npz", scores=array, filename=ARRAYS["filename"])
    read = read_npz(tmp_path / "a.npz", SIZES, OPTIONAL)
    np.testing.assert_array_equal(read["scores"], array)
    assert read["scores"].dtype == array.dtype
    assert strings(read["filename"]) == ["a.wav", "b.wav", "c.wav"]
    with open_npz(tmp_path / "a.npz", SIZES, OPTIONAL) as arrays:
        np.testing.assert_array_equal(np.stack(list(arrays.rows("scores"))), array)
        assert "thresholds" not in arrays


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,)])
def test_scalars_and_empty_arrays(tmp_path, shape):
    np.savez(tmp_path / "a.npz", scores=np.zeros(shape), filename=ARRAYS["filename"], thresholds=np.ones(2))
    read = read_npz(tmp_path / "a.npz", SIZES, OPTIONAL)
    assert read["scores"].shape == shape
    assert read["thresholds"].tolist() == [1, 1]


def test_arrays_larger_than_a_chunk(tmp_path):
    array = np.random.default_rng(0).integers(0, 9, CHUNK // 4).astype(np.int64)  # two chunks
    np.savez_compressed(tmp_path / "a.npz", scores=array)
    np.testing.assert_array_equal(read_npz(tmp_path / "a.npz", {"scores": array.nbytes})["scores"], array)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([*MEMBERS, ("scores", npy(shape=(10**6, 400)))], "has a member 'scores', expected scores, filename"),
        ([*MEMBERS, ("./scores.npy", MEMBERS[0][1])], "has a member './scores.npy'"),
        ([*MEMBERS, ("notes.txt", b"hello")], "has a member 'notes.txt'"),
        ([*MEMBERS, ("scores.npy/", b"")], "has a member 'scores.npy/'"),
        ([*MEMBERS, MEMBERS[0]], "has two members 'scores.npy'; keep one"),
        (MEMBERS[:1], "no array 'filename' (found scores)"),
        ([("scores", MEMBERS[0][1]), MEMBERS[1]], "no array 'scores' (found scores, filename)"),
        ([("scores.npy", b""), MEMBERS[1]], "not readable as an .npz"),
        ([("scores.npy", b"\x93NUMPY\x01\x00\xff\xff{"), MEMBERS[1]], "not readable as an .npz"),
        ([("scores.npy", npy(shape=(3, 4))), MEMBERS[1]], "'scores' ends after 0 of 48 bytes"),
        ([("scores.npy", MEMBERS[0][1] + b"\0"), MEMBERS[1]], "'scores' continues after its last value"),
        ([("scores.npy", npy(shape=(10**9, 10**9))), MEMBERS[1]], "needs 4,000,000,000,000,000,000 bytes"),
        ([("scores.npy", npy(shape=(-1, -1))), MEMBERS[1]], "expected sizes of 0 or more"),
        ([("scores.npy", npy(shape=(3,), descr="|O")), MEMBERS[1]], "without pickled objects ('scores'"),
        ([("scores.npy", npy(shape=(1,), descr=[("x", "<f4")])), MEMBERS[1]], "expected numbers or text"),
        ([("scores.npy", npy(shape=(1,), descr="<c8")), MEMBERS[1]], "complex64, expected numbers or text"),
        ([("scores.npy", npy(shape=(1,), descr="<U900000")), MEMBERS[1]], "needs 3,600,000 bytes"),
        ([("scores.npy", npy(shape=(1 << 28,), descr="<U0")), MEMBERS[1]], "needs 1,073,741,824 bytes"),
        ([("scores.npy", npy(shape=(1 << 28,), descr="|S0")), MEMBERS[1]], "needs 268,435,456 bytes"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_is_wrong_with_an_archive_is_named(tmp_path, members, message):
    assert message in refused(archive(tmp_path / "a.npz", members))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_numpy_does_not_write_is_refused(tmp_path, method):
    assert "compressed otherwise than by numpy" in refused(archive(tmp_path / "a.npz", MEMBERS, method))


def test_a_changed_value_is_noticed(tmp_path):
    np.savez(tmp_path / "a.npz", scores=np.arange(20_000, dtype=np.float32), filename=ARRAYS["filename"])
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[data.index(np.float32(11_111).tobytes())] ^= 1
    (tmp_path / "a.npz").write_bytes(data)
    assert "Bad CRC-32 for file 'scores.npy'" in refused(tmp_path / "a.npz")
    with open_npz(tmp_path / "a.npz", SIZES) as arrays, pytest.raises(InputError, match=r"a\.npz: .*Bad CRC-32"):
        list(arrays.rows("scores"))


def peak_of(path):
    tracemalloc.start()
    refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_header_that_claims_gigabytes_takes_no_memory(tmp_path):
    size = 200 << 20
    start = b"\x93NUMPY\x02\x00" + struct.pack("<I", size) + b" " * size
    archive(tmp_path / "a.npz", [("scores.npy", start), MEMBERS[1]])
    assert (tmp_path / "a.npz").stat().st_size < 1 << 20
    assert peak_of(tmp_path / "a.npz") < 8 << 20


def test_a_member_of_the_same_name_without_suffix_takes_no_memory(tmp_path):
    # numpy.load(...)["scores"] prefers a member without suffix, whatever the size of the one with it
    bomb = npy(shape=(50 << 20,)) + bytes(200 << 20)
    archive(tmp_path / "a.npz", [*MEMBERS, ("scores", bomb)])
    assert peak_of(tmp_path / "a.npz") < 8 << 20


def test_a_long_table_of_contents_takes_no_memory(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        for i in range(30_000):
            file.writestr(f"{i}.npy", b"")
    assert "bytes at once" in refused(tmp_path / "a.npz")
    assert peak_of(tmp_path / "a.npz") < 8 << 20


def test_an_encrypted_member_is_refused(tmp_path):
    archive(tmp_path / "a.npz", MEMBERS)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    (tmp_path / "a.npz").write_bytes(data)
    assert "is encrypted" in refused(tmp_path / "a.npz")


def test_errors_of_the_caller_are_not_taken_for_a_broken_archive(tmp_path):
    archive(tmp_path / "a.npz", MEMBERS)
    with pytest.raises(ZeroDivisionError), open_npz(tmp_path / "a.npz", SIZES):
        1 / 0  # noqa: B018


def test_an_absent_file_and_a_folder(tmp_path):
    assert refused(tmp_path / "a.npz").endswith("no such file")
    (tmp_path / "b.npz").mkdir()
    assert "is a folder, expected a file" in refused(tmp_path / "b.npz")


def test_reading_needs_the_memory_of_the_array_once(tmp_path):
    code = (
        "import resource, sys, pathlib\n"
        "from remixbench.scoring.npz import read_npz\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "read_npz(path, {'scores': 1 << 30})\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    np.savez(tmp_path / "a.npz", scores=np.ones(32 << 20, np.float32))
    grown = int(
        subprocess.run([sys.executable, "-c", code, tmp_path / "a.npz"], check=True, capture_output=True).stdout
    )
    assert grown * 1024 < 1.2 * (128 << 20)
