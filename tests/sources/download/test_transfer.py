"""One file over a network that breaks: it arrives whole and verified, or there is one clear line and no file."""

from __future__ import annotations

import json
import random
import ssl
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import requests
import urllib3
from download_tools import is_one_line, md5, quick, quick_client
from faulty_server import KINDS, Fault, FaultyServer

from remixbench.errors import RemixbenchError
from remixbench.sources.download.http import (
    USER_AGENT,
    DownloadCancelled,
    FatalDownloadError,
    HttpClient,
    ListedFile,
    RateLimiter,
    RetryPolicy,
    describe_error,
    parse_listing,
    retry_after,
)
from remixbench.sources.download.select import RemoteFile
from remixbench.sources.download.transfer import fetch
from remixbench.sources.published import published_source

PATH = "/records/1/files/a.zip"
DATA = random.Random(0).randbytes(50_000)


def remote(server: FaultyServer, size: int | None = None, data: bytes = DATA, source: str = "tau2019") -> RemoteFile:
    published = published_source(source)
    archive = replace(published.archives[0], file="a.zip", md5=md5(data))
    listing = server.url + "/api/records/1"
    return RemoteFile(published, archive, server.url + PATH, listing, md5(data), size)


def get(server: FaultyServer, folder: Path, client: HttpClient | None = None, **more: object) -> str:
    what = remote(server, **more)  # type: ignore[arg-type]
    return fetch(what, folder / "a.zip", client or quick_client(), lambda _: None)


def whole_and_alone(folder: Path, data: bytes = DATA) -> bool:
    return [p.name for p in folder.iterdir()] == ["a.zip"] and (folder / "a.zip").read_bytes() == data


@pytest.mark.parametrize("at", [0, 1, 20_000, 49_999])
@pytest.mark.parametrize("kind", KINDS)
def test_one_fault_of_each_kind_is_survived(kind: str, at: int, tmp_path: Path) -> None:
    # The first answer breaks off, so that the fault meets a request for the rest.
    waits: list[float] = []
    at = min(at, 100) if kind in ("429", "503", "429-date") else at
    with FaultyServer({PATH: DATA}, {PATH: [Fault("drop", 10_000), Fault(kind, at)]}) as server:
        get(server, tmp_path, quick_client(quick(waits=waits)))
    assert whole_and_alone(tmp_path)
    if kind in ("429", "503", "429-date") and at > 1:
        assert max(waits) > at - 2  # the server was obeyed


def test_a_broken_transfer_resumes(tmp_path: Path) -> None:
    with FaultyServer({PATH: DATA}, {PATH: [Fault("drop", 10_000), Fault("drop", 20_000)]}) as server:
        get(server, tmp_path)
        ranges = [asked.headers.get("Range") for asked in server.asked]
        validators = {asked.headers.get("If-Range") for asked in server.asked[1:]}
    assert ranges == [None, "bytes=10000-", "bytes=30000-"]
    assert len(validators) == 1
    assert validators != {None}


@pytest.mark.parametrize("kind", ["wrong-start", "wrong-total", "wrong-end", "no-range-header", "new-etag-206"])
def test_a_wrong_rest_of_the_file_is_not_even_read(kind: str, tmp_path: Path) -> None:
    # The file starts again, without its MD5 having to tell.
    with FaultyServer({PATH: DATA}, {PATH: [Fault("drop", 10_000), Fault(kind)]}) as server:
        get(server, tmp_path)
        assert [asked.headers.get("Range") for asked in server.asked] == [None, "bytes=10000-", None]
    assert whole_and_alone(tmp_path)


def test_a_file_sent_re_encoded_is_not_read(tmp_path: Path) -> None:
    with FaultyServer({PATH: DATA}, {PATH: [Fault("gzip")]}) as server:
        get(server, tmp_path)
        assert [asked.path for asked in server.asked] == [PATH, PATH]
    assert whole_and_alone(tmp_path)


def test_a_later_call_resumes_an_earlier_one(tmp_path: Path) -> None:
    broken = [Fault("drop", 30_000)] + [Fault("500")] * 8
    with FaultyServer({PATH: DATA}, {PATH: broken}) as server:
        with pytest.raises(FatalDownloadError, match=r"^a\.zip: gave up after 8 requests .* answered 500 .* is kept"):
            get(server, tmp_path)
        assert (tmp_path / "a.zip.part").read_bytes() == DATA[:30_000]
        get(server, tmp_path)
        assert server.asked[-1].headers["Range"] == "bytes=30000-"
    assert whole_and_alone(tmp_path)


def test_a_whole_part_needs_no_request(tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(DATA)
    with FaultyServer({PATH: DATA}) as server:
        get(server, tmp_path)
        assert server.asked == []
    assert whole_and_alone(tmp_path)


def test_the_partial_file_of_another_file_is_not_resumed(tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"x" * 20_000)
    (tmp_path / "a.zip.part.json").write_text(json.dumps({"md5": "0" * 32, "etag": None, "total": 20_000}))
    with FaultyServer({PATH: DATA}) as server:
        get(server, tmp_path)
        assert len(server.asked) == 1
        assert "Range" not in server.asked[0].headers


@pytest.mark.parametrize("state", [None, "", "[]", "\x00"])
@pytest.mark.parametrize("data", [b"mine" * 5000, DATA[:20_000], DATA + b"x"])
def test_a_partial_file_of_another_program_is_left_unchanged(state: str | None, data: bytes, tmp_path: Path) -> None:
    part = tmp_path / "a.zip.part"
    part.write_bytes(data)
    if state is not None:
        (tmp_path / "a.zip.part.json").write_text(state)
    with FaultyServer({PATH: DATA}) as server:
        with pytest.raises(RemixbenchError, match=r"a\.zip\.part: remixbench did not write it .* move it away"):
            get(server, tmp_path)
        assert part.read_bytes() == data
        assert server.asked == []
        part.rename(tmp_path / "mine")
        get(server, tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == DATA


def test_a_file_replaced_between_two_tries_is_not_mixed_with_its_older_self(tmp_path: Path) -> None:
    with FaultyServer({PATH: DATA}, {PATH: [Fault("old", 30_000)]}) as server:
        get(server, tmp_path)
        # The old version's ETag makes the server send the new one whole.
        assert [asked.headers.get("If-Range") for asked in server.asked] == [None, '"old"']
    assert whole_and_alone(tmp_path)


@pytest.mark.parametrize("seed", range(220))
def test_random_fault_sequences(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    data = draw.randbytes(draw.choice([0, 1, 4096, draw.randrange(60_000)]))
    kinds = [kind for kind in KINDS if kind != "stall" or draw.random() < 0.3]  # stalls cost time
    script = [Fault(draw.choice(kinds), draw.randrange(len(data) + 2)) for _ in range(draw.randrange(1, 12))]
    size = len(data) if draw.random() < 0.5 else None
    with FaultyServer({PATH: data}, {PATH: list(script)}, etags=draw.random() < 0.7) as server:
        for _attempt in range(3):
            try:
                get(server, tmp_path, quick_client(quick(seed, max_retry_after=1e6)), size=size, data=data)
            except RemixbenchError as error:
                assert not (tmp_path / "a.zip").exists()
                is_one_line(error)
            else:
                break
        else:
            pytest.fail(f"three runs did not get past {script}")
    assert whole_and_alone(tmp_path, data)


def test_wrong_bytes_never_get_the_name(tmp_path: Path) -> None:
    with FaultyServer({PATH: DATA}, {PATH: [Fault("flip", 5), Fault("flip", 6), Fault("flip", 7)]}) as server:
        with pytest.raises(
            RemixbenchError, match=r"MD5 is [0-9a-f]{32}, expected [0-9a-f]{32}; fetched 3 times .* \(proxy"
        ):
            get(server, tmp_path)
        assert server.count() == 3 + 3  # each time the record's own list is looked at
    assert not (tmp_path / "a.zip").exists()
    assert (tmp_path / "a.zip.part").read_bytes() == b""


def test_a_replaced_file_is_distinguished_from_corruption_in_transit(tmp_path: Path) -> None:
    with FaultyServer({PATH: DATA[::-1]}) as server, pytest.raises(RemixbenchError, match="the same each time"):
        get(server, tmp_path)


def listing(data: bytes) -> bytes:
    return json.dumps({"files": [{"key": "a.zip", "size": len(data), "checksum": f"md5:{md5(data)}"}]}).encode()


def test_a_file_that_its_record_lists_is_reported_but_not_taken(tmp_path: Path) -> None:
    new = DATA[::-1]
    with FaultyServer({PATH: new, "/api/records/1": listing(new)}) as server:
        with pytest.raises(RemixbenchError, match=r"the record itself now lists .* give its MD5 with --checksums"):
            get(server, tmp_path)
        assert server.count() == 2  # it was not fetched again in vain
        assert not (tmp_path / "a.zip").exists()
        # as the message says; the bytes are not fetched again
        assert get(server, tmp_path, data=new) == md5(new)


@pytest.mark.parametrize("kind", ["429", "500", "mute", "drop"])
def test_the_list_of_a_record_is_retried_before_a_complete_archive_is_thrown_away(kind: str, tmp_path: Path) -> None:
    new = DATA[::-1]
    scripts = {"/api/records/1": [Fault(kind, 3)] * 2}
    with FaultyServer({PATH: new, "/api/records/1": listing(new)}, scripts) as server:
        assert get(server, tmp_path, source="fsdkaggle2018") == md5(new)
        assert [asked.path for asked in server.asked] == [PATH, *["/api/records/1"] * 3]
    assert whole_and_alone(tmp_path, new)


def test_an_archive_is_kept_while_the_list_of_its_record_cannot_be_read(tmp_path: Path) -> None:
    new = DATA[::-1]
    scripts = {"/api/records/1": [Fault("500")] * 8}
    with FaultyServer({PATH: new, "/api/records/1": listing(new)}, scripts) as server:
        with pytest.raises(FatalDownloadError, match="gave up after 8 requests"):
            get(server, tmp_path, source="fsdkaggle2018")
        assert (tmp_path / "a.zip.part").read_bytes() == new
        assert get(server, tmp_path, source="fsdkaggle2018") == md5(new)
        assert server.count() == 1 + 8 + 1  # the archive itself was fetched once


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"files": 3}', b'{"files": [{}]}', b'{"files": [{"key": "b.zip"}]}'])
def test_a_malformed_listing_is_ignored(answer: bytes, tmp_path: Path) -> None:
    server = FaultyServer({PATH: DATA[::-1], "/api/records/1": answer})
    with server, pytest.raises(RemixbenchError, match="fetched 3 times"):
        get(server, tmp_path)


@pytest.mark.parametrize(
    "entry",
    [
        {"key": "a.zip", "checksum": "md5:SUM", "size": 3}, {"filename": "a.zip", "checksum": "SUM", "filesize": 3},
        {"key": "a.zip", "checksum": "SUM"}, {"filename": "a.zip", "checksum": "md5:SUM"},
    ],
)  # fmt: skip
def test_the_list_of_a_record_is_read_in_each_form_seen(entry: dict[str, object]) -> None:
    entry = entry | {"checksum": str(entry["checksum"]).replace("SUM", "A" * 32)}
    size = entry.get("size", entry.get("filesize"))
    assert parse_listing(json.dumps({"files": [entry]}).encode()) == {"a.zip": ListedFile("a" * 32, size)}
    rest = {key: value for key, value in entry.items() if key not in ("key", "filename")}
    by_name = {"files": {"entries": {"a.zip": rest}}}
    assert parse_listing(json.dumps(by_name).encode()) == {"a.zip": ListedFile("a" * 32, size)}


# --- wrong answers


def wrong_answers() -> dict[str, tuple[bytes, dict[str, str]]]:
    page = b"<html>please log in</html>"
    return {
        "a page": (page, {"Content-Type": "text/html"}),
        "a page of no type": (b"\n <!DOCTYPE html>" + bytes(100_000), {}),
        "a page as a file": (b"sign in" + bytes(90_000), {"Content-Type": "application/octet-stream"}),
        "a short one as a file": (b"sign in", {"Content-Type": "application/octet-stream"}),
        "JSON": (b'{"message": "log in"}', {"Content-Type": "application/json"}),
    }


@pytest.mark.parametrize("answer", list(wrong_answers()))
@pytest.mark.parametrize("known", [True, False])
def test_a_partial_file_survives_any_wrong_answer(answer: str, known: bool, tmp_path: Path) -> None:
    data = b"PK\x03\x04" + DATA
    body, headers = wrong_answers()[answer]
    size = len(data) if known else None
    faults = [Fault("drop", 30_000)] + [Fault("500")] * 8
    with FaultyServer({PATH: data}, {PATH: faults}) as server, pytest.raises(FatalDownloadError):
        get(server, tmp_path, size=size, data=data)
    with FaultyServer({PATH: body}, headers=headers) as server, pytest.raises(RemixbenchError, match="is kept"):
        get(server, tmp_path, size=size, data=data)
    assert (tmp_path / "a.zip.part").read_bytes() == data[:30_000]
    with FaultyServer({PATH: data}) as server:
        get(server, tmp_path, size=size, data=data)
        assert server.asked[0].headers["Range"] == "bytes=30000-"
    assert whole_and_alone(tmp_path, data)


@pytest.mark.parametrize("kind", ["chunked", "ignore-range"])
def test_a_partial_file_survives_another_archive_of_unknown_or_other_length(kind: str, tmp_path: Path) -> None:
    data, other = b"PK\x03\x04" + DATA, b"PK\x03\x04" + bytes(90_000)
    faults = [Fault("drop", 30_000)] + [Fault("500")] * 8
    with FaultyServer({PATH: data}, {PATH: faults}) as server, pytest.raises(FatalDownloadError):
        get(server, tmp_path, data=data)
    with FaultyServer({PATH: other}, {PATH: [Fault(kind)] * 20}) as server, pytest.raises(RemixbenchError):
        get(server, tmp_path, data=data)
    with FaultyServer({PATH: data}) as server:
        get(server, tmp_path, data=data)
        assert server.asked[0].headers["Range"] == "bytes=30000-"
    assert whole_and_alone(tmp_path, data)


def test_a_login_page_is_called_one(tmp_path: Path) -> None:
    server = FaultyServer({PATH: b"<html>"}, headers={"Content-Type": "text/html"})
    with server, pytest.raises(FatalDownloadError, match="sent a web page instead of the file, perhaps the login"):
        get(server, tmp_path, size=None)
    assert not (tmp_path / "a.zip").exists()


def test_without_ranges_received_bytes_are_compared_not_rewritten(tmp_path: Path) -> None:
    moves: list[int] = []
    script = [Fault("drop", 30_000), Fault("ignore-range")]
    with FaultyServer({PATH: DATA}, {PATH: script}) as server:
        fetch(remote(server), tmp_path / "a.zip", quick_client(), moves.append)
    assert whole_and_alone(tmp_path)
    assert all(move > 0 for move in moves)  # nothing was given up


def test_errors_of_tls_and_proxies_say_what_to_set() -> None:
    unverified = requests.exceptions.SSLError(
        urllib3.exceptions.MaxRetryError(None, "/", ssl.SSLCertVerificationError("self-signed certificate"))  # type: ignore[arg-type]
    )
    assert "the certificate of the server is not trusted (" in describe_error(unverified)
    assert "self-signed certificate" in describe_error(unverified)
    assert "set REQUESTS_CA_BUNDLE" in describe_error(unverified)
    refused = requests.exceptions.ProxyError(OSError("Tunnel connection failed: 407 Proxy Authentication Required"))
    assert "407 Proxy Authentication Required" in describe_error(refused)
    assert "check HTTPS_PROXY" in describe_error(refused)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (requests.exceptions.SSLError("certificate verify failed"), "is not trusted"),
        (requests.exceptions.ProxyError(OSError("Tunnel connection failed: 407 Proxy Authentication Required")),
         "the proxy cannot be used .*407"),
        (requests.exceptions.ProxyError(ssl.SSLCertVerificationError("[SSL: CERTIFICATE_VERIFY_FAILED]")),
         "the proxy cannot be used"),
        (requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support."), "malformed .*SOCKS"),
    ],
)  # fmt: skip
def test_an_error_of_settings_is_not_tried_again(
    error: Exception, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fails(*_: object, **__: object) -> None:
        asked.append(1)
        raise error

    monkeypatch.setattr(requests.Session, "request", fails)
    with FaultyServer({PATH: DATA}) as server, pytest.raises(FatalDownloadError, match=message):
        get(server, tmp_path)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("REQUESTS_CA_BUNDLE", "/nowhere.pem", "/nowhere.pem; correct REQUESTS_CA_BUNDLE"),
        ("REQUESTS_CA_BUNDLE", __file__, "the file of certificates holds none"),
        ("HTTPS_PROXY", "http://", "the proxy's is malformed .*HTTPS_PROXY"),
        ("HTTPS_PROXY", "foo://127.0.0.1:1", "the proxy's is malformed .*scheme foo"),
        ("HTTPS_PROXY", "http://127.0.0.1:99999", "the proxy's is malformed .*99999"),
        ("LANG", "C", "does not speak TLS as expected .*check the address"),
    ],
)
def test_wrong_tls_and_proxy_settings_are_reported_immediately(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    with FaultyServer({PATH: DATA}) as server, pytest.raises(FatalDownloadError, match=message):
        quick_client().listed_files(server.url.replace("http:", "https:") + PATH, "a.zip")


def test_the_user_agent_names_the_program_alone() -> None:
    assert USER_AGENT.startswith("remixbench/")
    assert "requests" not in USER_AGENT
    assert "urllib" not in USER_AGENT


def test_a_missing_file_is_reported_without_retries(tmp_path: Path) -> None:
    with FaultyServer({}) as server:
        with pytest.raises(RemixbenchError, match=r"answered 404 .*; check the address, or use another --mirror"):
            get(server, tmp_path)
        assert server.count() == 1


def test_an_unreachable_server_is_given_up(tmp_path: Path) -> None:
    waits: list[float] = []
    with FaultyServer({}) as server:
        pass
    with pytest.raises(FatalDownloadError, match="could not be reached"):
        get(server, tmp_path, quick_client(quick(waits=waits)))
    # It waits longer each time: twice the one before, and by chance up to as much again.
    assert len(waits) == 7
    assert all(2.0**n <= wait <= 2.0 ** (n + 1) for n, wait in enumerate(waits[:6]))
    assert 60 <= waits[6] <= 120


def test_a_wait_beyond_reason_is_not_waited(tmp_path: Path) -> None:
    server = FaultyServer({PATH: DATA}, {PATH: [Fault("429", 99_999)]})
    with server, pytest.raises(FatalDownloadError, match=r"answered 429 .* asks to retry in 99999 s"):
        get(server, tmp_path)


def test_slow_progress_is_not_failure(tmp_path: Path) -> None:
    # 12 breaks, more than the tries allow, but each brings 4 KiB.
    with FaultyServer({PATH: DATA}, {PATH: [Fault("drop", 4096)] * 12}) as server:
        get(server, tmp_path)
    assert whole_and_alone(tmp_path)


def test_a_server_without_ranges_that_breaks_off_each_time_is_given_up(tmp_path: Path) -> None:
    with FaultyServer({PATH: DATA}, {PATH: [Fault("chunked-drop", 40_000)] * 100}) as server:
        with pytest.raises(FatalDownloadError):
            get(server, tmp_path)
        assert server.count() < 20


def test_progress_adds_up(tmp_path: Path) -> None:
    moves: list[int] = []
    script = [Fault("drop", 30_000), Fault("ignore-range"), Fault("flip", 3), Fault("drop", 10_000)]
    with FaultyServer({PATH: DATA}, {PATH: script}) as server:
        fetch(remote(server), tmp_path / "a.zip", quick_client(), moves.append)
    assert sum(moves) == len(DATA)


def test_requests_name_the_program(tmp_path: Path) -> None:
    with FaultyServer({PATH: DATA}) as server:
        get(server, tmp_path)
        headers = server.asked[0].headers
    assert headers["User-Agent"].startswith("remixbench/")
    assert headers["Accept-Encoding"] == "identity"


def test_an_interrupt_keeps_the_part(tmp_path: Path) -> None:
    cancel, policy = threading.Event(), quick()
    client = HttpClient(policy, RateLimiter(policy, cancel), lambda _: None)
    moved = 0

    def advance(by: int) -> None:
        nonlocal moved
        moved += by
        if moved > 100_000:
            cancel.set()

    data = DATA * 20
    with FaultyServer({PATH: data}, pace=0.0005) as server:
        with pytest.raises(DownloadCancelled):
            fetch(remote(server, data=data), tmp_path / "a.zip", client, advance)
        part = (tmp_path / "a.zip.part").read_bytes()
        assert part == data[: len(part)]
        assert len(part) == moved
        get(server, tmp_path, data=data)
        assert server.asked[-1].headers["Range"] == f"bytes={len(part)}-"
    assert whole_and_alone(tmp_path, data)


def test_the_size_of_a_file_is_asked_for_with_patience(tmp_path: Path) -> None:
    script = [Fault("503", 3), Fault("mute"), Fault("500")]
    with FaultyServer({PATH: DATA}, {PATH: script}, heads_fail_too=True) as server:
        assert quick_client().content_length(server.url + PATH, "a.zip") == len(DATA)
        with pytest.raises(RemixbenchError, match=r"^a\.zip: the server answered 404"):
            quick_client().content_length(server.url + "/elsewhere", "a.zip")


def test_retry_after_is_a_number_or_a_date() -> None:
    now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    assert retry_after("17", now) == 17
    assert retry_after(format_datetime(now + timedelta(seconds=90), usegmt=True), now) == 90
    assert retry_after(format_datetime(now - timedelta(seconds=90), usegmt=True), now) == 0
    for nothing in (None, "", "soon", "-5", "1e9", "９", "9" * 400):
        assert retry_after(nothing, now) is None


def test_a_pause_asked_of_one_thread_holds_for_all_and_ends_with_an_interrupt() -> None:
    cancel = threading.Event()
    limiter = RateLimiter(RetryPolicy(), cancel)
    limiter.pause(3600)
    threading.Timer(0.05, cancel.set).start()
    with pytest.raises(DownloadCancelled):
        limiter.acquire()
