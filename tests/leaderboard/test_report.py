"""The page by its bytes: what is in it, what is escaped, what is refused."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("jinja2", reason="the page needs jinja2")

import soundfile
import tiny
from fake_dataset import CLASSES, ONSETS, fake_dataset
from fake_leaderboard import FOLD, STRANGER, scored_workspace, write_run

from remixbench.dataset.dataset import Dataset
from remixbench.dataset.make import make
from remixbench.errors import InputError
from remixbench.leaderboard.board_tables import ranked_table
from remixbench.leaderboard.evaluate import read_fold_reference
from remixbench.leaderboard.leaderboard import Leaderboard, load_leaderboard, runs_of
from remixbench.leaderboard.record import FLAGS, Record
from remixbench.leaderboard.report import clips as page_clips
from remixbench.leaderboard.report import json_for_script, part, report
from remixbench.leaderboard.report.clips import fixed_serial, read_run_frames, separate_view
from remixbench.leaderboard.rows import Condition
from remixbench.leaderboard.score import score
from remixbench.leaderboard.table_maker import TableMaker
from remixbench.plots.view import view_clip
from remixbench.recipe import parse_recipe
from remixbench.training.train import train


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return scored_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def workspace(dataset: Dataset) -> Path:
    return dataset.path.parents[1]


@pytest.fixture(scope="module")
def page(workspace: Path) -> str:
    return report(workspace=workspace, clips=4).read_text(encoding="utf-8")


@pytest.fixture
def board(workspace: Path, dataset: Dataset) -> Leaderboard:
    return load_leaderboard(workspace, dataset)


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


class Elements(HTMLParser):
    """Gathers the names and attributes of all elements, and the content of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}", {}))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script":
            self.scripts[-1] += data


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    for tag, attributes in Elements(page).found:
        assert "src" not in attributes, tag
        assert not str(attributes.get("href", "#")).startswith(("http", "//")), tag


def test_the_policy_allows_the_scripts_of_the_page_and_nothing_else(page: str) -> None:
    elements = Elements(page)
    policy = next(a["content"] for _, a in elements.found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    run = [text for text in elements.scripts if not text.startswith("{")]
    assert sorted(allowed) == sorted(
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") for text in run
    )
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy


def test_a_third_partys_name_is_escaped(page: str) -> None:
    elements = Elements(page)
    assert STRANGER not in page
    assert "&lt;img src=x onerror=" in page
    assert not [tag for tag, _ in elements.found if tag == "img"]
    assert any(row["name"] == STRANGER for row in data_of(page)["rows"])


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_in_a_script_is_the_same_value_and_cannot_end_it(value: Any) -> None:
    text = json_for_script(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)


def test_every_main_metric_of_the_leaderboard_is_there(page: str, board: Leaderboard) -> None:
    cells = {a["data-value"] for tag, a in Elements(page).found if tag == "td" and "data-value" in a}
    for row in board.rows:
        for condition in row.conditions.values():
            for metric in ("micro_ap", "macro_ap", "macro_auc"):
                assert str(condition.metrics[metric].value) in cells


def test_no_two_columns_of_a_table_have_one_heading(page: str) -> None:
    tables = re.findall(r"<table.*?</table>", page, re.DOTALL)
    heads = [
        [
            " ".join(re.sub(r"<[^>]*>", "", head).split())
            for head in re.findall(r'<th scope="col".*?</th>', table, re.DOTALL)
        ]
        for table in tables
    ]
    assert all(len(set(each)) == len(each) for each in heads)
    assert any({"macro event F1", "macro event F1 (Kong et al.)"} <= set(each) for each in heads)


def test_the_navigation_names_the_sections_in_their_order() -> None:
    template = part("template.html")  # in which all sections are
    navigation = template.split('<nav aria-label="Sections">')[1].split("</nav>")[0]
    assert re.findall(r'href="#(\w+)"', navigation) == re.findall(r'<section id="(\w+)"', template)


def test_a_caption_that_repeats_its_heading_is_for_screen_readers_alone(page: str) -> None:
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", page)
    captions = re.findall(r"<caption([^>]*)>([^<]*)</caption>", page)
    assert [attributes for attributes, caption in captions if caption in headings] == [' class="sr"']


def test_ranked_tables_say_how_their_metrics_were_computed(page: str) -> None:
    results = page.split('<section id="results"')[1].split("</section>")[0]
    assert "post-processing median (main): threshold 0.5" in results
    assert "PSDS 1 and 2 take off the standard deviation" in results
    assert len(re.findall("[Nn]ot above chance, which", results)) <= 1  # below all tables, not with each


def test_published_rows_are_only_in_tables_of_their_data_set(page: str, board: Leaderboard) -> None:
    assert "VGGish, GAP" not in page
    assert "are in the tables of remix2019, the data set they are on" in page
    table = ranked_table(TableMaker(replace(board, comparable=True)), "Tagging", 20)
    assert table is not None
    (first,) = (line for line in table.lines if line.head == "VGGish, GAP")
    assert first.cells[0].text == "0.5067"


def test_the_page_is_the_same_bytes_every_time(page: str, workspace: Path, tmp_path: Path) -> None:
    again = report(workspace=workspace, clips=4, out=tmp_path / "again.html")
    assert again.read_text(encoding="utf-8") == page


def test_ogg_streams_get_one_serial_number_and_stay_valid(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    streams = []
    for _ in range(2):
        made = io.BytesIO()
        soundfile.write(made, samples, 8000, format="OGG", subtype="VORBIS")
        streams.append(made.getvalue())
    first, second = map(fixed_serial, streams)
    assert first == second
    assert fixed_serial(first) == first
    decoded = [soundfile.read(io.BytesIO(stream))[0] for stream in (streams[0], first)]
    np.testing.assert_array_equal(*decoded)


def test_learning_curves_are_the_histories(page: str) -> None:
    curves = data_of(page)["curves"]
    assert len(curves) == 8  # four systems at two SNRs; predictions have none
    assert {tuple(curve["validation_micro_ap"]) for curve in curves} == {(0.2, 0.4, 0.3)}
    assert {curve["epoch"] for curve in curves} == {2}
    assert curves[0]["test_micro_ap"] == [None, None, None]


def test_rows_that_differ_in_the_size_of_the_training_data_are_one_family(page: str) -> None:
    rows = data_of(page)["rows"]
    families = {row["name"]: (row["family"], row["fraction"]) for row in rows if row["name"].startswith("gap")}
    assert len({family for family, _ in families.values()}) == 1
    assert sorted(fraction for _, fraction in families.values()) == [0.5, 1.0]


def test_a_clip_carries_sound_picture_reference_and_scores(page: str, dataset: Dataset) -> None:
    shown = data_of(page)["clips"]
    assert len(shown) == 4
    assert {clip["snr"] for clip in shown} == {0, 20}
    for clip in shown:
        assert clip["fold"] == FOLD
        assert [event["onset"] for event in clip["events"]] == list(ONSETS)
        assert set(clip["sounds"]) == ({"mixture", "events", "scene"} if clip["snr"] == 20 else {"mixture"})
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(clip["sounds"]["mixture"])))
        assert (len(samples) / rate, rate) == (pytest.approx(2.0, abs=0.01), 8000)
        logmel = np.frombuffer(base64.b64decode(clip["logmel"]), np.uint8)
        assert logmel.size == dataset.recipe.frames * 16
        assert logmel.max() == 255
        assert len(clip["scores"]) == 4


def test_frame_scores_in_the_page_are_the_runs(page: str, dataset: Dataset, workspace: Path) -> None:
    clip = data_of(page)["clips"][0]
    folder = workspace / "runs" / "fake" / "gap" / f"snr_{clip['snr']:g}" / "fold_4" / "seed_0"
    row = dataset.filenames.index(f"{clip['id']}.wav")
    expected = read_run_frames(folder, dataset, [row])[0][:, [CLASSES.index(label) for label in clip["labels"]]]
    found = np.frombuffer(base64.b64decode(clip["scores"][0]["values"]), np.uint8).reshape(len(clip["labels"]), -1)
    assert pytest.approx(expected, abs=0.5 / 255 + 1e-6) == found.T / 255


def test_the_first_clip_of_each_snr_has_what_maps_take_out_of_it(page: str, dataset: Dataset) -> None:
    shown = data_of(page)
    assert [len(clip["separated"]) > 0 for clip in shown["clips"]] == [
        [other["snr"] for other in shown["clips"]].index(clip["snr"]) == at for at, clip in enumerate(shown["clips"])
    ]
    clip = shown["clips"][0]
    assert [each["label"] for each in clip["separated"]] == sorted({event["label"] for event in clip["events"]})
    for place, each in enumerate(clip["separated"]):
        assert each["stem"] is None  # this data set's stems are not in its dataset.json
        (separated,) = each["systems"]
        assert shown["rows"][separated["row"]]["name"].startswith("gwrp")
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(separated["sound"])))
        assert (len(samples) / rate, rate) == (pytest.approx(2.0, abs=0.01), 8000)
        logmel = np.frombuffer(base64.b64decode(separated["logmel"]), np.uint8).reshape(dataset.recipe.frames, 16)
        inside = np.arange(16) // 4 == place  # the four bands of its map
        assert logmel[:, inside].mean() > 3 * logmel[:, ~inside].mean()


def test_separated_classes_stand_beside_their_stems(made: Dataset) -> None:
    reference = read_fold_reference(made, FOLD).reference
    row = int(np.flatnonzero(made.folds == FOLD)[0])
    view = view_clip(made, row, 0.0)
    ones = np.full((len(view.labels), made.recipe.frames, made.recipe.features.n_mels), 65535, np.uint16)
    shown = separate_view(made, reference, view, {3: ones, 5: 0 * ones})
    assert [each["label"] for each in shown] == sorted(view.labels)
    for each in shown:
        assert [system["row"] for system in each["systems"]] == [3, 5]
        stem, shared, silent = (np.frombuffer(base64.b64decode(one["logmel"]), np.uint8).reshape(ones[0].shape)
                                for one in (each["stem"], *each["systems"]))  # fmt: skip
        assert silent.max() == 0 < min(shared.max(), stem.max())
        bar = next(bar for bar in view.bars if bar.label == each["label"])
        centres = view.scales.first_centre + np.arange(len(stem)) * view.scales.frame_seconds
        inside = (centres > bar.onset) & (centres < bar.offset)
        assert stem[inside].mean() > 2 * stem[~inside].mean()


def test_stems_are_left_out_where_the_page_would_grow_too_large(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_clips, "SOUND_BYTES", 1)
    made = report(workspace=workspace, clips=4, out=tmp_path / "small.html")
    shown = data_of(made.read_text(encoding="utf-8"))["clips"]
    assert {tuple(clip["sounds"]) for clip in shown} == {("mixture",)}
    assert [clip["stems_left_out"] for clip in shown] == [clip["snr"] == 20 for clip in shown]
    assert not any(clip["separated"] for clip in shown)
    assert sum(clip["separated_left_out"] for clip in shown) == 2


def test_without_clips_there_is_no_explorer(workspace: Path, tmp_path: Path) -> None:
    made = report(workspace=workspace, clips=0, out=tmp_path / "none.html").read_text(encoding="utf-8")
    assert data_of(made)["clips"] == []
    assert 'id="explorer"' not in made


def test_a_run_outside_the_workspace_is_never_read(
    board: Leaderboard, workspace: Path, tmp_path: Path, dataset: Dataset
) -> None:
    outside = str(write_run(tmp_path, dataset, "gap", 20, 1.0, 0.5))
    assert list(runs_of(board, workspace))

    def elsewhere(record: Record) -> Record:
        return record.model_copy(update={"provenance": record.provenance.model_copy(update={"run": outside})})

    def moved(condition: Condition) -> Condition:
        return replace(condition, records=tuple(map(elsewhere, condition.records)))

    rows = tuple(
        replace(row, conditions={snr: moved(each) for snr, each in row.conditions.items()}) for row in board.rows
    )
    assert list(runs_of(replace(board, rows=rows), workspace)) == []


def test_flags_say_what_they_mean(page: str) -> None:
    assert FLAGS["fraction"] in page
    assert 'id="flag-a"' in page


def test_without_records_the_page_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing is scored on data set 'fake' yet; `remixbench train` makes runs"):
        report(workspace=tmp_path, dataset=fake_dataset(tmp_path))


def test_an_edited_history_is_refused(workspace: Path, dataset: Dataset, tmp_path: Path) -> None:
    shutil.copytree(workspace, tmp_path, dirs_exist_ok=True)
    file = next((tmp_path / "runs").rglob("history.csv"))
    file.write_text(file.read_text().replace("0.4", "0.9"))
    with pytest.raises(InputError, match=r"history\.csv: was edited since it was written; restore it"):
        report(workspace=tmp_path, dataset=dataset)


def test_broken_frame_scores_name_the_file(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "frames.npz").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"frames\.npz: not readable as an \.npz"):
        read_run_frames(tmp_path, dataset, [0])


def test_missing_sounds_say_how_to_do_without(workspace: Path, dataset: Dataset, tmp_path: Path) -> None:
    place = dataset.path / "snr_20" / "audio"
    place.rename(tmp_path / "audio")
    try:
        with pytest.raises(InputError, match=r"\.wav: not there; .*; --clips 0 makes a page without clips"):
            report(workspace=workspace, out=tmp_path / "page.html")
    finally:
        (tmp_path / "audio").rename(place)


@pytest.mark.parametrize("clips", [-1, 1000])
def test_a_number_of_clips_that_cannot_be_is_refused(workspace: Path, clips: int) -> None:
    with pytest.raises(InputError, match="--clips"):
        report(workspace=workspace, clips=clips)


def test_the_command_prints_the_file(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from remixbench.cli import run

    out = tmp_path / "page.html"
    assert run(["--workspace", str(workspace), "-q", "report", "--clips", "0", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.usefixtures("one_thread")
def test_terms_and_notice_stand_beside_clips_that_can_be_played(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "sources")
    recipe = parse_recipe(tiny.RECIPE, "tiny")
    make(recipe=recipe, workspace=tmp_path, jobs=1, clips_per_fold=4, snr=10)
    train(workspace=tmp_path, system="gap", epochs=1, width=0.25, device="cpu")
    score(workspace=tmp_path, bootstrap=10)
    page = report(workspace=tmp_path, clips=1).read_text(encoding="utf-8")
    assert "Copyright Tampere University" in page
    assert "for non-commercial use only" in page
    assert "Copyright Tampere University" not in report(workspace=tmp_path, clips=0).read_text(encoding="utf-8")
