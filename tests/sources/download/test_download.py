"""`remixbench download` as a whole, from a small mirror of both records."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from download_tools import (
    FSD,
    TAU,
    end_of_first_member,
    is_one_line,
    md5,
    on_disk,
    packed,
    quick,
    small_records,
    write_sums,
    zipped,
)
from faulty_server import Fault, FaultyServer
from filelock import FileLock

from remixbench.errors import InputError, RemixbenchError
from remixbench.sources.download import Downloaded, Estimate, disk_need, download
from remixbench.sources.download.check import check_sources, raise_if_invalid
from remixbench.sources.download.select import select
from remixbench.sources.published import published_source

TREE = small_records()
ARCHIVES = packed(TREE)
AUDIO_1 = f"/records/2589280/files/{TAU}.audio.1.zip"
AUDIO_2 = f"/records/2589280/files/{TAU}.audio.2.zip"
META = f"/records/2589280/files/{TAU}.meta.zip"
EVENTS = f"/records/2552860/files/{FSD}.audio_train.zip"


class Recorder:
    """A progress reporter that remembers what was reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bars: dict[str, list[int]] = {}

    def say(self, line: str) -> None:
        self.lines.append(line)

    def bar(self, label: str, total: int, unit: str) -> Recorder._Bar:
        return Recorder._Bar(self.bars.setdefault(label, [total]))

    class _Bar:
        def __init__(self, moves: list[int]) -> None:
            self.moves = moves

        def __enter__(self):  # type: ignore[no-untyped-def]
            return self.moves.append

        def __exit__(self, *_: object) -> None:
            pass


def fetch(server: FaultyServer, folder: Path, *names: str, **more: object) -> Downloaded:
    sums = write_sums(ARCHIVES, folder / "md5sums.txt")
    arguments = {"mirror": server.url, "checksums": sums, "retry_policy": quick()} | more
    return download(*names, workspace=folder, **arguments)  # type: ignore[arg-type]


def test_both_sources_arrive_as_their_readers_want_them(tmp_path: Path) -> None:
    recorded = Recorder()
    with FaultyServer(dict(ARCHIVES)) as server:
        done = fetch(server, tmp_path, progress=recorded)
        assert (server.count("HEAD"), server.count("GET")) == (5, 5)
    assert on_disk(tmp_path / "sources") == TREE
    assert len(done.fetched) == len(done.unpacked) == 5
    assert done.summary().endswith("5 archives fetched in 10 requests, 5 unpacked, 0 already present")
    # What it costs and the licences were said before; the bars end where they said they would.
    said = "\n".join(recorded.lines)
    assert "licence: free for non-commercial use with notice" in said
    assert "3 archives to fetch" in said
    assert "4 of 4 recordings of the table are present" in said
    assert recorded.bars["all archives"][0] == sum(map(len, ARCHIVES.values()))
    assert all(sum(moves[1:]) == moves[0] for moves in recorded.bars.values())


def test_a_second_download_sends_no_requests(tmp_path: Path) -> None:
    with FaultyServer(dict(ARCHIVES)) as server:
        fetch(server, tmp_path)
        asked = len(server.asked)
        done = fetch(server, tmp_path)
        assert len(server.asked) == asked
    assert (done.fetched, done.unpacked, len(done.ready), done.requests) == ((), (), 5, 0)


def test_only_missing_files_are_fetched_again(tmp_path: Path) -> None:
    with FaultyServer(dict(ARCHIVES)) as server:
        fetch(server, tmp_path)
        (tmp_path / "sources" / TAU / "audio/airport-lisbon-2-1-a.wav").unlink()
        (tmp_path / "sources" / TAU / "meta.csv").write_text("cut")
        done = fetch(server, tmp_path)
    assert set(done.fetched) == {f"{TAU}.audio.2.zip", f"{TAU}.meta.zip"}
    assert on_disk(tmp_path / "sources") == TREE


def test_folders_are_paths_or_strings(tmp_path: Path) -> None:
    sums = write_sums(ARCHIVES, tmp_path / "md5sums.txt")
    with FaultyServer(dict(ARCHIVES)) as server:
        download(workspace=str(tmp_path), mirror=server.url, checksums=str(sums), retry_policy=quick())
        again = download(sources=str(tmp_path / "sources"), mirror=server.url, checksums=str(sums))
    assert len(again.ready) == 5
    assert all(not check.failures for check in check_sources(workspace=str(tmp_path)))


def test_a_part_of_the_scenes(tmp_path: Path) -> None:
    with FaultyServer(dict(ARCHIVES)) as server:
        fetch(server, tmp_path, "tau2019", parts="2")
        assert {asked.path for asked in server.asked} == {META, AUDIO_2}
        assert len(on_disk(tmp_path / "sources")) == 3
        fetch(server, tmp_path)  # the rest
    assert on_disk(tmp_path / "sources") == TREE


def test_existing_archives_are_verified_and_used(tmp_path: Path) -> None:
    archives = tmp_path / "sources/archives"
    archives.mkdir(parents=True)
    for path, data in ARCHIVES.items():
        (archives / Path(path).name).write_bytes(data)
    with FaultyServer({}) as server:
        done = fetch(server, tmp_path)
        assert server.asked == []
    assert (done.fetched, len(done.unpacked)) == ((), 5)
    assert on_disk(tmp_path / "sources") == TREE


OTHERS = [b"not it" * 10_000, b"PK but another archive", ARCHIVES[AUDIO_1] + b"x", ARCHIVES[AUDIO_2][:2000], b""]


@pytest.mark.parametrize("found", OTHERS)
def test_an_archive_of_another_program_is_not_changed(found: bytes, tmp_path: Path) -> None:
    archives = tmp_path / "sources/archives"
    archives.mkdir(parents=True)
    path = archives / f"{TAU}.audio.2.zip"
    path.write_bytes(found)
    with FaultyServer(dict(ARCHIVES)) as server:
        with pytest.raises(RemixbenchError, match=r"audio\.2\.zip: .*move it away"):
            fetch(server, tmp_path)
        assert path.read_bytes() == found
        path.rename(tmp_path / "mine.zip")  # what the message says
        asked = sum(one.method == "GET" for one in server.asked)
        fetch(server, tmp_path)
        assert sum(one.method == "GET" for one in server.asked) - asked <= 1
    assert on_disk(tmp_path / "sources") == TREE


def test_a_server_without_the_notices_serves_the_recordings(tmp_path: Path) -> None:
    recorded = Recorder()
    archives = {path: data for path, data in ARCHIVES.items() if FSD in path}
    with FaultyServer(archives | listing(2552860, archives)) as server:
        done = download("fsdkaggle2018", workspace=tmp_path, mirror=server.url, retry_policy=quick(), progress=recorded)
        assert len(done.fetched) == len(done.unpacked) == 2
        assert any(line.startswith(f"{FSD}.doc.zip: not on the server") for line in recorded.lines)
    notice = {f"{FSD}.doc/readme.html": b"terms"}
    full = archives | {f"/records/2552860/files/{FSD}.doc.zip": zipped(notice)}
    with FaultyServer(full | listing(2552860, full)) as server:  # another server has it
        done = download("fsdkaggle2018", workspace=tmp_path, mirror=server.url, retry_policy=quick())
        assert done.fetched == (f"{FSD}.doc.zip",)
    assert (tmp_path / "sources" / FSD / f"{FSD}.doc" / "readme.html").read_bytes() == b"terms"


def test_sizes_that_only_the_record_knows_are_taken_from_its_list(tmp_path: Path) -> None:
    archives = {path: data for path, data in ARCHIVES.items() if FSD in path}
    recorded = Recorder()
    with FaultyServer(archives | listing(2552860, archives, size="size")) as server:
        download("fsdkaggle2018", workspace=tmp_path, mirror=server.url, retry_policy=quick(), progress=recorded)
        assert [asked.path for asked in server.asked if asked.method == "HEAD"] == [
            f"/records/2552860/files/{FSD}.doc.zip"  # which the list does not have
        ]
    assert recorded.bars["all archives"][0] == sum(map(len, archives.values()))


def test_kept_archives_stay_until_they_are_removed_by_hand(tmp_path: Path) -> None:
    with FaultyServer(dict(ARCHIVES)) as server:
        fetch(server, tmp_path, keep_archives=True)
        kept = {f"archives/{Path(path).name}": data for path, data in ARCHIVES.items()}
        assert on_disk(tmp_path / "sources") == TREE | kept
        fetch(server, tmp_path)
        assert on_disk(tmp_path / "sources") == TREE | kept
        shutil.rmtree(tmp_path / "sources" / TAU)
        asked = len(server.asked)
        fetch(server, tmp_path, keep_archives=True)  # unpacked again from the archives
        assert len(server.asked) == asked
        shutil.rmtree(tmp_path / "sources/archives")
        fetch(server, tmp_path, keep_archives=True)
        assert len(server.asked) == asked
    assert on_disk(tmp_path / "sources") == TREE


def test_a_mirror_with_other_archives_replaces_what_is_there(tmp_path: Path) -> None:
    other_tree = small_records(scenes_a_part=3, parts=(1, 2))
    other = packed(other_tree)
    with FaultyServer(dict(ARCHIVES)) as server:
        fetch(server, tmp_path)
    with FaultyServer(dict(other)) as server:
        sums = write_sums(other, tmp_path / "other.txt")
        done = fetch(server, tmp_path, "tau2019", checksums=sums)
    assert len(done.fetched) == 3
    assert on_disk(tmp_path / "sources") == other_tree


def test_archives_that_wget_saved_are_found_by_their_long_names(tmp_path: Path) -> None:
    archives = tmp_path / "sources/archives"
    archives.mkdir(parents=True)
    for path, data in ARCHIVES.items():
        (archives / (Path(path).name + "?download=1")).write_bytes(data)
    with FaultyServer(dict(ARCHIVES)) as server:
        assert fetch(server, tmp_path).fetched == ()
    assert on_disk(tmp_path / "sources") == TREE


@pytest.mark.parametrize("seed", range(12))
def test_whole_downloads_through_random_faults(seed: int, tmp_path: Path) -> None:
    import random

    from faulty_server import KINDS

    draw = random.Random(seed)
    kinds = [kind for kind in KINDS if kind != "stall"]
    scripts = {p: [Fault(draw.choice(kinds), draw.randrange(5000)) for _ in range(draw.randrange(4))] for p in ARCHIVES}
    with FaultyServer(dict(ARCHIVES), scripts, heads_fail_too=seed % 2 == 0) as server:
        policy = quick(seed, min_progress_bytes=1000, max_retry_after=1e6)
        for _ in range(6):
            try:
                fetch(server, tmp_path, jobs=1 + seed % 4, retry_policy=policy)
                break
            except RemixbenchError as error:
                is_one_line(error)
    assert on_disk(tmp_path / "sources") == TREE


def test_one_bad_archive_does_not_keep_the_others_away(tmp_path: Path) -> None:
    files = {path: data for path, data in ARCHIVES.items() if path != META}
    files[META] = ARCHIVES[META]
    with FaultyServer(files, {META: [Fault("flip", n) for n in range(3)]}) as server:
        with pytest.raises(RemixbenchError, match=rf"^{TAU}\.meta\.zip: MD5 is .*, expected "):
            fetch(server, tmp_path, jobs=1)
        assert {name: data for name, data in TREE.items() if name.endswith(".wav")}.items() <= on_disk(
            tmp_path / "sources"
        ).items()
        assert fetch(server, tmp_path).fetched == (f"{TAU}.meta.zip",)
    assert on_disk(tmp_path / "sources") == TREE


def test_when_the_server_is_gone_not_every_archive_is_tried(tmp_path: Path) -> None:
    scripts = {path: [Fault("500")] * 100 for path in ARCHIVES}
    with FaultyServer(dict(ARCHIVES), scripts) as server:
        with pytest.raises(RemixbenchError, match="gave up after 8 requests"):
            fetch(server, tmp_path, jobs=1)
        assert server.count("GET") == 2 * 8


def test_a_damaged_archive_names_itself_and_the_member(tmp_path: Path) -> None:
    data = bytearray(ARCHIVES[AUDIO_2])
    data[end_of_first_member(bytes(data)) - 10] ^= 0xFF
    files = dict(ARCHIVES) | {AUDIO_2: bytes(data)}
    sums = write_sums(files, tmp_path / "damaged.txt")
    found = r"audio\.2\.zip: member .*airport-lisbon-2-0-a\.wav is damaged \(Bad CRC-32\), although its MD5 was"
    with FaultyServer(files) as server, pytest.raises(RemixbenchError, match=found):
        fetch(server, tmp_path, checksums=sums)
    (tmp_path / "sources/archives" / Path(AUDIO_2).name).unlink()  # as the message says
    with FaultyServer(dict(ARCHIVES)) as server:
        fetch(server, tmp_path)
        assert {asked.path for asked in server.asked} == {AUDIO_2}
    assert on_disk(tmp_path / "sources") == TREE


def test_a_refused_archive_is_reported(tmp_path: Path) -> None:
    files = {path: data for path, data in ARCHIVES.items() if path != EVENTS}
    with FaultyServer(files) as server, pytest.raises(RemixbenchError, match="answered 404"):
        fetch(server, tmp_path)


Disk = namedtuple("Disk", "total used free")


def test_too_small_a_disk_is_reported_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(10**12, 10**12 - 40_000_000_000, 40_000_000_000))
    with FaultyServer({}) as server:
        pattern = r"sources: needs about 46\.\d GB of disk, 40\.0 GB are free; choose another disk .*--parts"
        with pytest.raises(RemixbenchError, match=pattern):
            download("tau2019", workspace=tmp_path, mirror=server.url, retry_policy=quick())
        assert server.asked == []


def test_a_disk_that_filled_up_meanwhile_is_reported_before_unpacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([10**9] + [10**6] * 9)
    with FaultyServer(dict(ARCHIVES)) as server:
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _: Disk(10**12, 0, next(answers)))
            with pytest.raises(RemixbenchError, match=r"audio\.1\.zip: needs about 5\.\d MB of disk, 1\.0 MB are free"):
                fetch(server, tmp_path, "tau2019", parts="1", jobs=1)
        asked = len(server.asked)
        fetch(server, tmp_path, "tau2019", parts="1")
        assert len(server.asked) == asked  # the archive was kept


def test_a_disk_that_fills_while_unpacking_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with FaultyServer(dict(ARCHIVES)) as server:
        with monkeypatch.context() as patch:
            patch.setattr("remixbench.sources.download.unzip._write", full)
            with pytest.raises(RemixbenchError, match=r"\.zip: the disk is full; free some space and run"):
                fetch(server, tmp_path)
        asked = server.count("GET")
        fetch(server, tmp_path)
        assert server.count("GET") - asked <= 3  # what was fetched was kept
    assert on_disk(tmp_path / "sources") == TREE


def test_what_the_disk_must_hold() -> None:
    items = select(("tau2019",), parts="1-3")
    loads = [Estimate(item, 100, 100, 150, False) for item in items if not item.archive.optional]
    assert disk_need(loads, keep=False, jobs=2) == 4 * 150 + 2 * 100
    assert disk_need(loads, keep=True, jobs=2) == 4 * 150 + 4 * 100


def test_nothing_is_fetched_if_the_question_is_declined(tmp_path: Path) -> None:
    questions: list[str] = []

    def answer(question: str) -> bool:
        questions.append(question)
        return False

    with FaultyServer(dict(ARCHIVES)) as server:
        with pytest.raises(RemixbenchError, match="not started"):
            fetch(server, tmp_path, confirm=answer)
        assert server.count("GET") == 0
    assert questions[0].startswith("Fetch ")
    assert on_disk(tmp_path / "sources") == {}


def test_two_downloads_do_not_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    with FileLock(tmp_path / "sources/.download.lock"), FaultyServer(dict(ARCHIVES)) as server:
        with pytest.raises(RemixbenchError, match="another download is running there"):
            fetch(server, tmp_path)
        assert server.asked == []


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "sources").write_text("a file")
    with pytest.raises(InputError, match="cannot be created"):
        download(workspace=tmp_path)


def test_zero_jobs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--jobs 0"):
        download(workspace=tmp_path, jobs=0)


def listing(record: int, data: dict[str, bytes], size: str = "bytes") -> dict[str, bytes]:
    files = [
        {"key": Path(path).name, "checksum": f"md5:{md5(content)}", size: len(content)}
        for path, content in data.items()
    ]
    return {f"/api/records/{record}": json.dumps({"files": files}).encode()}


def test_the_md5_of_the_record_overrides_that_of_a_third_party_with_a_message(tmp_path: Path) -> None:
    # The registry's MD5s of FSDKaggle2018 are not from the record; the small archives have others.
    archives = {path: data for path, data in ARCHIVES.items() if FSD in path}
    recorded = Recorder()
    with FaultyServer(archives | listing(2552860, archives)) as server:
        done = download("fsdkaggle2018", workspace=tmp_path, mirror=server.url, retry_policy=quick(), progress=recorded)
        assert len(done.fetched) == 2
        shutil.rmtree(tmp_path / "sources" / FSD)
        for path, data in archives.items():  # as if killed before they were unpacked
            (tmp_path / "sources/archives" / Path(path).name).write_bytes(data)
        done = download("fsdkaggle2018", workspace=tmp_path, mirror=server.url, retry_policy=quick())
        assert (done.fetched, len(done.unpacked)) == ((), 2)
        assert any("but the record lists it: accepted" in line for line in recorded.lines)
        asked = len(server.asked)
        again = download("fsdkaggle2018", workspace=tmp_path, mirror=server.url, retry_policy=quick())
        assert (len(again.ready), len(server.asked)) == (2, asked)


def test_a_published_md5_does_not_give_way_unless_asked(tmp_path: Path) -> None:
    size = next(a.size for a in published_source("tau2019").archives if a.part is None)
    archives = {META: ARCHIVES[META].ljust(size or 0, b"\0")}
    server = FaultyServer(archives | listing(2589280, archives))
    with server, pytest.raises(RemixbenchError, match="the record itself now lists"):
        download("tau2019", workspace=tmp_path, parts="1", mirror=server.url, retry_policy=quick(), jobs=1)
    assert not (tmp_path / "sources" / TAU / "meta.csv").exists()


def test_check_finds_invalid_recordings(tmp_path: Path) -> None:
    from download_tools import wav

    with FaultyServer(dict(ARCHIVES)) as server:
        fetch(server, tmp_path)
    sound = check_sources(workspace=tmp_path)
    assert [(c.source, c.checked, c.failures) for c in sound] == [("tau2019", 4, ()), ("fsdkaggle2018", 3, ())]
    raise_if_invalid(sound)
    audio = tmp_path / "sources" / TAU / "audio"
    (audio / "airport-lisbon-1-0-a.wav").unlink()
    (audio / "airport-lisbon-1-1-a.wav").write_bytes(wav(44100, 2, 3, 10.0, 1))
    (audio / "airport-lisbon-2-0-a.wav").write_bytes(TREE[f"{TAU}/audio/airport-lisbon-2-0-a.wav"][:-6000])
    shutil.rmtree(tmp_path / "sources/.receipts")  # else the sizes tell already
    events = tmp_path / "sources" / FSD / f"{FSD}.audio_train"
    (events / "00000000.wav").write_bytes(wav(44100, 2, 2, 1.0, 1))
    (events / "00000001.wav").write_bytes(wav(44100, 1, 2, 31.0, 1))
    (events / "00000002.wav").write_bytes(b"RIFF, I swear")
    scenes, events_checked = check_sources(workspace=tmp_path)
    assert [what for _, what in scenes.failures] == [
        "missing",
        "44100 Hz, expected 48000 Hz",
        "9.979 s long, expected 10 to 10 s",
    ]
    assert [what[:22] for _, what in events_checked.failures] == [
        "2 channels, expected 1",
        "31.000 s long, expecte",
        "does not open (Error o",
    ]
    assert scenes.summary().startswith(f"tau2019: 1 of 4 recordings are valid; {TAU}/audio/airport-lisbon-1-0-a")
    with pytest.raises(RemixbenchError, match="6 recordings are missing or invalid"):
        raise_if_invalid([scenes, events_checked])


def test_check_of_the_parts_that_were_downloaded(tmp_path: Path) -> None:
    with FaultyServer(dict(ARCHIVES)) as server:
        fetch(server, tmp_path, "tau2019", parts="2")
    assert len(check_sources("tau2019", workspace=tmp_path)[0].failures) == 2
    assert check_sources("tau2019", workspace=tmp_path, parts="2")[0].checked == 2
    with pytest.raises(InputError, match=r"audio\.1\.zip was not unpacked"):
        check_sources("tau2019", workspace=tmp_path, parts="1-2")
    with pytest.raises(InputError, match=r"no such file; run `remixbench download fsdkaggle2018` first"):
        check_sources("fsdkaggle2018", workspace=tmp_path)
