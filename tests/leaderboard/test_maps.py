"""Time-frequency maps from training to the leaderboard: what is written, what is refused, what the figures are."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fake_runs import accept_results
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from remixbench import find_dataset, make, score, train
from remixbench.dataset.dataset import Dataset
from remixbench.dataset.info import read_info, write_info
from remixbench.errors import InputError
from remixbench.files import content_digest
from remixbench.inference.system import load_system
from remixbench.leaderboard.evaluate import read_fold_reference
from remixbench.leaderboard.leaderboard import Leaderboard
from remixbench.leaderboard.record import Record, read_record
from remixbench.leaderboard.renderers import render
from remixbench.leaderboard.rows import Condition
from remixbench.leaderboard.separation import ideal_masks
from remixbench.scoring import METRICS
from remixbench.scoring.maps import read_maps
from remixbench.scoring.separation import OF_CLIPS, OF_EVENTS
from remixbench.scoring.types import event_table, make_reference
from remixbench.training.run_files import writing_maps

RUN = Path("runs/mini/gwrp/snr_20/fold_4/seed_0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run on eight clips that have stems at 20 dB and none at 0 dB."""
    workspace = tmp_path_factory.mktemp("maps")
    make(recipe="mini", snr=20, clips_per_fold=2, stems=True, jobs=1, workspace=workspace)
    make(recipe="mini", snr=0, clips_per_fold=2, jobs=1, workspace=workspace)
    train(workspace=workspace, system="gwrp", snr=[0, 20], epochs=1, device="cpu", precision="32", jobs=1)
    return workspace


@pytest.fixture
def workspace(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "work")
    return tmp_path / "work"


def dataset_of(workspace: Path) -> Dataset:
    return find_dataset(workspace, "mini")


def arrays_of(file: Path) -> dict[str, Any]:
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def scored(workspace: Path, *what: Any, **named: Any) -> Record:
    score(*what, workspace=workspace, dataset="mini", bootstrap=0, **named)
    place = "gwrp/snr_20/fold_4/seed_0" if not named else "*/snr_20/fold_4/submitted"
    (file,) = (workspace / "runs" / "mini").glob(f"{place}/metrics.json")
    return read_record(file)


def test_a_run_has_a_map_for_each_class_in_each_clip_of_the_fold(trained: Path) -> None:
    dataset = dataset_of(trained)
    stored = arrays_of(trained / RUN / "predictions" / "maps.npz")
    test = np.flatnonzero(dataset.folds == 4)
    pairs = [(row, k) for row in test for k in np.flatnonzero(dataset.weak[row])]
    assert stored["clip"].tolist() == [dataset.filenames[row] for row, _ in pairs]
    assert stored["label"].tolist() == [dataset.classes[k] for _, k in pairs]
    assert stored["maps"].dtype == np.uint16
    system = load_system(trained / RUN)
    for (row, k), steps in zip(pairs, stored["maps"], strict=True):
        maps = system.forward(np.array(dataset.features(20)[row])).tf_maps
        assert maps is not None
        np.testing.assert_allclose(steps, 65535 * maps[0, k].numpy(), atol=0.6)
        reached = (maps[0] >= 0.1).sum(dim=(1, 2)).tolist()
        assert stored["active_bins"][stored["filename"].tolist().index(dataset.filenames[row])].tolist() == reached
    assert not (trained / "runs/mini/gwrp/snr_0/fold_4/seed_0/predictions/maps.npz").exists()


def test_the_ideal_masks_are_of_the_stems_where_the_class_is_active(trained: Path) -> None:
    from remixbench.dataset.features import mel_magnitude

    dataset = dataset_of(trained)
    reference = read_fold_reference(dataset, 4).reference
    made = ideal_masks(dataset, reference, 20.0)
    features, rate = dataset.recipe.features, dataset.recipe.mix.sample_rate
    centres = (np.arange(dataset.recipe.frames) * features.hop_length + features.n_fft / 2) / rate
    place = 0
    for row, name in enumerate(reference.filenames):
        stems = soundfile.read(dataset.path / "snr_20" / "stems" / name, dtype="float32")[0]
        events, scene = (mel_magnitude(np.ascontiguousarray(stems[:, side]), features, rate) for side in (0, 1))
        with np.errstate(divide="ignore"):
            audible = 20 * np.log10(events / scene) + 5 > 0
        for k in np.flatnonzero(reference.weak[row]):
            times = [
                (on, off) for file, on, off, label in dataset.strong() if (file, label) == (name, dataset.classes[k])
            ]
            active = np.any([(centres >= on) & (centres < off) for on, off in times], axis=0)
            assert active.any()
            np.testing.assert_array_equal(made[place], audible & active[:, None])
            place += 1
    assert place == len(made)


def test_figures_stand_in_the_leaderboard_and_are_computed_once(workspace: Path) -> None:
    dataset = dataset_of(workspace)
    record = scored(workspace)
    stored = arrays_of(workspace / RUN / "predictions" / "maps.npz")
    ideal = ideal_masks(dataset, read_fold_reference(dataset, 4).reference, 20.0)
    expected = f1_score(ideal.ravel(), (np.rint(stored["maps"] / 257) / 255 >= 0.5).ravel())
    assert record.metrics["mask_f1"] == pytest.approx(expected, abs=1e-12)
    assert set(record.provenance.predictions) == {"tags.csv", "frames.npz", "maps.npz", "validation.npz"}
    # Kong et al.: every class of every clip, so that maps of classes that do not occur cost precision
    labels = [dataset.classes.index(label) for label in stored["label"].tolist()]
    found, made = np.rint(stored["maps"] / 257) >= 26, []
    for k in range(len(dataset.classes)):
        mine = [place for place, label in enumerate(labels) if label == k]
        tp, n_ref, n_sys = (found[mine] & ideal[mine]).sum(), ideal[mine].sum(), stored["active_bins"][:, k].sum()
        made.append(2 * tp / (n_ref + n_sys))
    assert record.metrics["mask_f1_macro[kong]"] == pytest.approx(np.mean(made), abs=1e-12)
    assert (record.settings["mask_threshold"], record.settings["mask_margin_db"]) == (0.5, 5.0)
    table = (workspace / "leaderboard" / "mini.md").read_text()
    at_0, at_20 = (table.split(f"## Detection at {snr} dB")[1].split("##")[0] for snr in (0, 20))
    assert "mask F1" in at_20
    assert "mask F1" not in at_0
    file = workspace / RUN / "metrics.json"
    before = file.stat().st_mtime_ns
    scored(workspace)
    assert file.stat().st_mtime_ns == before
    np.savez(workspace / RUN / "predictions" / "maps.npz", **(stored | {"maps": 255 * ideal.astype(np.uint8)}))
    accept_results(workspace / RUN)
    assert {scored(workspace).metrics[name] for name in ("mask_f1", "mask_ap", "mask_auc")} == {1.0}


def test_a_run_without_maps_and_a_data_set_without_stems_leave_it_blank(workspace: Path) -> None:
    folder = workspace / "datasets" / "mini"
    info = read_info(folder)
    write_info(folder, info.model_copy(update={"stems": ()}))
    assert "mask_f1" not in scored(workspace).metrics
    write_info(folder, info)
    assert "mask_f1" in scored(workspace).metrics  # stems made later are found
    (workspace / RUN / "predictions" / "maps.npz").unlink()
    assert "mask_f1" not in scored(workspace).metrics


def test_third_party_maps_in_any_order_and_as_floats(workspace: Path) -> None:
    stored = arrays_of(workspace / RUN / "predictions" / "maps.npz")
    order = np.random.default_rng(0).permutation(len(stored["clip"]))
    np.savez(
        workspace / "maps.npz",
        clip=np.array([name.removesuffix(".wav") for name in stored["clip"][order]]),
        label=stored["label"][order],
        maps=(stored["maps"][order] / 65535).astype(np.float32),
    )
    (workspace / "alone").mkdir()
    shutil.copy(workspace / "maps.npz", workspace / "alone")
    ours = scored(workspace)
    theirs = scored(workspace, workspace / "alone", name="Lab X", snr=20, fold=4)
    assert theirs.metrics.keys() - {"mask_f1_macro"} == {"mask_f1", "mask_ap", "mask_auc", *OF_EVENTS}
    assert all(theirs.metrics[name] == ours.metrics[name] for name in theirs.metrics)
    validation = workspace / RUN / "predictions" / "validation.npz"
    for files in ([workspace / "maps.npz"], [workspace / "maps.npz", validation]):
        with pytest.raises(
            InputError, match=r"waveforms need stems, which .*mini lacks at 0 dB; `remixbench make --stems`"
        ):
            scored(workspace, *files, name="Lab X", snr=0, fold=4)


def test_a_submission_with_maps_is_checked_as_far_as_there_are_stems(workspace: Path) -> None:
    folder = workspace / "mine"
    shutil.copytree(workspace / RUN / "predictions", folder)
    file = workspace / "mine.json"
    scored(workspace, folder, name="Lab X", snr=20, fold=4, submission=file)
    score(folder, workspace=workspace, dataset="mini", add=file)
    body = json.loads(file.read_text())
    record = body["records"][0]
    record["metrics"]["mask_f1"] = 0.99
    record["digest"] = content_digest(record)
    file.write_text(json.dumps(body | {"digest": content_digest(body)}))
    with pytest.raises(InputError, match=r"mask_f1 is 0.99, but its predictions give 0\.\d+; nothing was added"):
        score(folder, workspace=workspace, dataset="mini", add=file)
    shutil.rmtree(workspace / "runs")  # what was scored here with stems is evidence as well
    mini = workspace / "datasets" / "mini"
    write_info(mini, read_info(mini).model_copy(update={"stems": ()}))
    score(folder, workspace=workspace, dataset="mini", add=file)  # the rest is right, and this nobody can say


def test_a_missing_or_foreign_stem_is_reported(workspace: Path) -> None:
    name = dataset_of(workspace).filenames[-1]
    stem = workspace / f"datasets/mini/snr_20/stems/{name}"
    soundfile.write(stem, np.zeros((100, 2)), 8000)
    with pytest.raises(InputError, match=rf"{name}: its samples differ from stems_digests.csv; delete it, and run"):
        scored(workspace)
    stem.unlink()
    with pytest.raises(InputError, match=rf"{name}: missing; restore it, or run the `remixbench make`"):
        scored(workspace)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("label"), r"no array 'label' \(found clip, "),
        (lambda a: a.update(maps=a["maps"][:, 1:]), r"'maps' has shape .* expected uint8, uint16 or floats of"),
        (lambda a: a.update(maps=a["maps"].astype(np.int16)), r"'maps' has .* type int16"),
        (lambda a: a.update(maps=a["maps"].astype(np.float32)), r"clip '.*', class '.*', frame .*, band .* outside"),
        (lambda a: a.update(maps=np.full(a["maps"].shape, np.nan)), r"nan is not finite"),
        (lambda a: a.update(clip=np.arange(len(a["clip"]))), r"'clip' has shape .* strings as in 'maps'"),
        (lambda a: a.update(clip=np.array(["x.wav"] * len(a["clip"]))), r"'clip': row 0: no clip 'x\.wav'"),
        (lambda a: a.update(label=np.array(["Barc"] * len(a["label"]))), r"'label': row 0: .*did you mean 'Bark'"),
        (lambda a: a.update({k: a[k][:-1] for k in a}), r"1 of \d+ maps missing, first of class '.*' in clip '"),
        (lambda a: a.update({k: np.concatenate([a[k], a[k][:1]]) for k in a}), r"appears twice \(before at row 0"),
        (lambda a: a.update(active_bins=a["active_bins"] * 1.0), r"'active_bins' has shape .* type float64, expected"),
        (lambda a: a["active_bins"].fill(-1), r"'active_bins' has counts from -1 to -1, expected 0 to \d+, the"),
        (lambda a: a.update(active_bins=a["active_bins"].astype("u8") - 2**62), r"counts from \d+ to 1\d{19}, exp"),
        (lambda a: a.update(clip=np.array([{}] * len(a["clip"]), object)), r"not readable as an \.npz without pickled"),
    ],
)  # fmt: skip
def test_maps_that_cannot_be_scored(trained: Path, tmp_path: Path, change: Any, message: str) -> None:
    dataset = dataset_of(trained)
    arrays = arrays_of(trained / RUN / "predictions" / "maps.npz")
    size = arrays["maps"].shape[1:]
    change(arrays)
    np.savez(tmp_path / "maps.npz", **arrays)
    with pytest.raises(InputError, match=message) as error:
        read_maps(tmp_path / "maps.npz", read_fold_reference(dataset, 4).reference, size)
    assert "\n" not in str(error.value)


def test_maps_of_floats_are_read_map_by_map(tmp_path: Path) -> None:
    names, size = [f"{k:02d}.wav" for k in range(60)], (100, 64)
    weak = np.ones((60, 1), bool)
    reference = make_reference(names, ["Bark"], event_table([], [], [], []), np.full(60, 10.0), weak=weak)
    steps = np.random.default_rng(0).integers(0, 65536, (60, *size), dtype=np.uint16)
    arrays = {"clip": np.array(names)[::-1], "label": np.array(["Bark"] * 60)}
    np.savez_compressed(tmp_path / "maps.npz", **arrays, maps=steps[::-1] / 65535)
    np.savez_compressed(tmp_path / "fortran.npz", **arrays, maps=np.asfortranarray(steps[::-1] / 65535))
    np.savez_compressed(tmp_path / "swapped.npz", **arrays, maps=steps[::-1].astype(">u2"))
    tracemalloc.start()
    read = read_maps(tmp_path / "maps.npz", reference, size).maps
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(read, steps)
    assert peak < steps.nbytes * 4 / 2  # the floats alone are four times the steps that stay
    for name in ("fortran.npz", "swapped.npz"):
        np.testing.assert_array_equal(read_maps(tmp_path / name, reference, size).maps, steps)


@given(at=st.floats(0, 1), byte=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_broken_files_are_refused_or_read(trained: Path, tmp_path: Path, at: float, byte: int, cut: bool) -> None:
    file = trained / RUN / "predictions" / "maps.npz"
    data, reference = bytearray(file.read_bytes()), read_fold_reference(dataset_of(trained), 4).reference
    place = int(at * (len(data) - 1))
    data[place] = byte
    (tmp_path / "maps.npz").write_bytes(data[:place] if cut else data)
    whole = arrays_of(file)["maps"]
    try:
        read = read_maps(tmp_path / "maps.npz", reference, whole.shape[1:])
    except InputError:
        pass
    else:
        assert (len(read.clip), len(read.label)) == (len(whole), len(whole))
        np.testing.assert_array_equal(read.maps, whole)


def test_maps_are_written_some_at_a_time_the_same_bytes_each_time(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    active_bins, weak = np.arange(10).reshape(5, 2), np.array([[True, False]] * 5)
    for name, sizes in (("a", (5,)), ("b", (2, 0, 3))):
        with writing_maps(
            tmp_path / name, list("vwxyz"), ["Bark", "Bell"], np.ones(2, np.float32), weak, 7, 3
        ) as write:
            for part in (slice(sum(sizes[:i]), sum(sizes[: i + 1])) for i in range(len(sizes))):
                write(maps[part], active_bins[part])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    stored = arrays_of(tmp_path / "a")
    np.testing.assert_array_equal(stored["maps"], maps)
    assert stored["clip"].tolist() == stored["filename"].tolist() == list("vwxyz")
    assert stored["label"].tolist() == ["Bark"] * 5
    np.testing.assert_array_equal(stored["active_bins"], active_bins)


def test_what_of_a_submission_with_maps_is_verified(workspace: Path, tmp_path: Path) -> None:
    """With stems all but what rests on declared counts; without them nothing that needs stems, and all of the rest."""
    score(workspace=workspace, dataset="mini", bootstrap=5, submission=tmp_path / "x.json")
    predictions, host = workspace / RUN / "predictions", tmp_path / "host"
    shutil.copytree(workspace / "datasets", host / "datasets")
    declared = "mask_f1_macro[kong]"

    def at_20(board: Leaderboard) -> Condition:
        return board.find_row("gwrp").conditions[20.0]

    board = score(predictions, workspace=host, dataset="mini", add=tmp_path / "x.json")
    assert board.find_row("gwrp").evidence == "self-reported"  # at 0 dB without predictions
    assert at_20(board).state == "recomputed"
    assert at_20(board).not_verified == (declared,)
    score(workspace=host, dataset="mini", remove="gwrp")
    dataset = dataset_of(host)
    write_info(dataset.path, dataset.info.model_copy(update={"stems": ()}))
    shutil.rmtree(dataset.path / "snr_20" / "stems")
    board = score(predictions, workspace=host, dataset="mini", add=tmp_path / "x.json")
    condition = at_20(board)
    assert condition.state == "recomputed"
    unverified = {name for name in condition.metrics if not condition.verified(name)}
    of_masks = {"mask_f1", "mask_f1_macro", "mask_auc", "mask_ap", declared}
    assert {*of_masks, *OF_EVENTS, *OF_CLIPS} == unverified
    assert {"micro_ap", "frame_ap", "psds1"} <= {name for name in condition.metrics if condition.verified(name)}
    details = render(board, "md").split("## Detection at 20 dB")[1].split("## ")[0]
    (line,) = (line for line in details.splitlines() if line.startswith("| gwrp"))
    assert line.endswith(" recomputed |")
    assert line.count("?") == sum(METRICS[name].shown == "details" for name in unverified)


def test_declared_counts_of_a_third_party_are_not_verified(workspace: Path) -> None:
    score(workspace=workspace, dataset="mini", bootstrap=0)
    for name in ("tags.csv", "maps.npz"):
        shutil.copy(workspace / RUN / "predictions" / name, workspace / name)
    files = workspace / "tags.csv", workspace / "maps.npz"
    board = score(*files, workspace=workspace, dataset="mini", name="Lab X", snr=20, fold=4, bootstrap=0)
    assert board.find_row("Lab X").evidence == "ours"
    assert board.find_row("Lab X").conditions[20.0].not_verified == ("mask_f1_macro[kong]",)
    assert board.find_row("gwrp").conditions[20.0].not_verified == ()
