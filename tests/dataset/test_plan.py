"""Plans: the released draws from the published tables, the strict ones without leaks, and draws of one's own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from remixbench.cli import run
from remixbench.dataset.groups import origins
from remixbench.dataset.leakage import classes_without_clips, coverage_lines
from remixbench.dataset.manifest import Manifest, read_manifest
from remixbench.dataset.plan import draw_manifest
from remixbench.errors import InputError
from remixbench.recipe import data_folder, parse_recipe
from remixbench.sources.audio import FileReader
from remixbench.sources.catalogue import Catalogue

ROWS_SHA256 = "38104a63840c476556966addf81243d3ad4b5cad1ec4a9600e8758ffe16ea851"


def test_the_frozen_manifest_of_mini_is_what_plan_writes(tmp_path: Path) -> None:
    assert run(["plan", "--recipe", "mini", "--sources", str(tmp_path), "--out", str(tmp_path / "mini")]) == 0
    frozen = {path.name: path.read_bytes() for path in (data_folder("manifests") / "mini").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "mini").iterdir()} == frozen


@pytest.mark.parametrize("name", ["remix2019", "remix2019-strict", "mini"])
def test_the_sums_of_the_frozen_manifests_are_those_of_their_files(name: str) -> None:
    files = {path.name: path.read_bytes() for path in (data_folder("manifests") / name).iterdir()}
    sums = dict(line.split()[::-1] for line in files.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def test_the_released_rows_have_the_published_digest() -> None:
    manifest = read_manifest(data_folder("manifests") / "remix2019")
    lines = []
    for clip in manifest.clips:
        values = [f"{clip.id}.wav", str(clip.fold), clip.scene_file]
        for event in clip.events:
            values += [event.file, event.label, str(event.onset)]
        lines.append(",".join(values) + "\n")
    assert lines[0] == (
        "00000.wav,1,street_pedestrian-paris-265-8036-a.wav,c724bd21.wav,Finger_snapping,0.5,"
        "368137a8.wav,Bass_drum,3.0,26d25b30.wav,Gunshot_or_gunfire,5.5\n"
    )
    assert len(lines) == 8000
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == ROWS_SHA256


# --- remix2019-strict


@pytest.fixture(scope="module")
def strict() -> Manifest:
    return read_manifest(data_folder("manifests") / "remix2019-strict")


def test_strict_roles(strict: Manifest) -> None:
    for fold in (1, 2, 3, 4):
        roles = [clip.roles[fold - 1] for clip in strict.clips]
        assert {role: roles.count(role) for role in set(roles)} == {"test": 2000, "train": 5400, "validation": 600}
        assert all((role == "test") == (clip.fold == fold) for role, clip in zip(roles, strict.clips, strict=True))


def test_strict_roles_share_no_location_or_origin(strict: Manifest, published: Path) -> None:
    table = pd.read_csv(published / tiny.FSD_TABLE).sort_values(["label", "freesound_id"])
    # a new origin begins with a new label, or 100 or more after the id before
    begins = (table["label"] != table["label"].shift()) | (table["freesound_id"].diff() >= 100)
    origin = dict(zip(table["fname"], begins.cumsum(), strict=True))
    for fold in range(4):
        places: dict[str, set[str]] = {}
        sounds: dict[int, set[str]] = {}
        for clip in strict.clips:
            places.setdefault(clip.scene_location, set()).add(clip.roles[fold])
            for event in clip.events:
                sounds.setdefault(origin[event.file], set()).add(clip.roles[fold])
        assert {len(roles) for roles in places.values()} == {1}
        assert {len(roles) for roles in sounds.values()} == {1}


def check_onsets(manifest: Manifest, longest: float, clip_seconds: float, overlap: bool) -> None:
    for clip in manifest.clips:
        events = clip.events
        assert [event.onset for event in events] == sorted(event.onset for event in events)
        for k, event in enumerate(events):
            assert 0 <= event.onset <= clip_seconds - longest
            for other in events[:k]:
                if not overlap or other.label == event.label:
                    assert round(event.onset - other.onset, 9) >= longest


def test_strict_onsets_cover_the_clip_and_events_of_a_class_never_overlap(strict: Manifest) -> None:
    check_onsets(strict, 2.0, 10.0, overlap=True)
    onsets = [event.onset for clip in strict.clips for event in clip.events]
    assert min(onsets) < 0.01
    assert max(onsets) > 7.99
    # uniform but for what same classes push apart
    shares = [sum(k <= onset < k + 1 for onset in onsets) / len(onsets) for k in range(8)]
    assert max(shares) - min(shares) < 0.02
    assert len({len(clip.events) for clip in strict.clips}) == 1


def test_strict_uses_exactly_the_verified_recordings(strict: Manifest, published: Path) -> None:
    table = pd.read_csv(published / tiny.FSD_TABLE)
    assert set(strict.event_files) == set(table["fname"][table["manually_verified"] == 1])


# --- recipes of one's own


def catalogue(rows: list[tuple[str, str, str]], gap: int = 0) -> Catalogue:
    """Return a catalogue of (label, place, origin) rows: of scenes where there are places, else of events."""
    table = pd.DataFrame(
        [
            {"file": f"{k}.wav", "label": label, "location": place, "origin": origin, "verified": True,
             "licence": "CC0", "url": ""}
            for k, (label, place, origin) in enumerate(rows)
        ]
    )  # fmt: skip
    scenes = table[["file", "label", "location"]]
    events = table[["file", "label", "verified", "origin", "licence", "url"]]
    return Catalogue("made up", scenes if rows[0][1] else events, "", FileReader(Path()), gap)


SCENES = catalogue([(f"scene{k % 3}", f"place{k}", "") for k in range(24)])
EVENTS = catalogue([(f"event{k % 5}", "", str(1000 * k)) for k in range(60)])


def drawn(**changes: Any) -> Manifest:
    return draw_manifest(parse_recipe(tiny.changed(tiny.STRICT, **changes), "test"), SCENES, EVENTS)


def test_the_same_recipe_and_tables_give_the_same_plan_and_another_seed_another() -> None:
    assert drawn().digest == drawn().digest
    assert drawn(plan__seed=8).digest != drawn().digest


def test_polyphony_is_drawn_from_its_range() -> None:
    manifest = drawn(plan__polyphony={"range": [1, 3]}, plan__clips_per_fold=40)
    counts = [len(clip.events) for clip in manifest.clips]
    assert {n: counts.count(n) for n in set(counts)}.keys() == {1, 2, 3}
    assert min(counts.count(n) for n in (1, 2, 3)) > 30


def test_without_overlap_events_never_overlap() -> None:
    manifest = drawn(plan__overlap=False, plan__clips_per_fold=100)
    check_onsets(manifest, 0.5, 2.0, overlap=False)
    assert {len(clip.events) for clip in manifest.clips} == {3}


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 0.6), st.integers(0, 2**32 - 1), st.booleans())
def test_onsets_keep_their_rules_for_any_length(longest: float, seed: int, overlap: bool) -> None:
    manifest = drawn(plan__max_event=longest, plan__seed=seed, plan__overlap=overlap, plan__clips_per_fold=10)
    check_onsets(manifest, longest, 2.0, overlap)


def test_the_spread_of_ratios_is_drawn_for_each_event() -> None:
    offsets = [e.snr_offset for clip in drawn(plan__snr_spread=[-5, 5]).clips for e in clip.events]
    assert all(-5 <= offset <= 5 for offset in offsets)
    assert len(set(offsets)) > 60


def test_validation_parts_are_spread_over_the_fold() -> None:
    for part in (1, 2, 3, 6):
        roles = [clip.roles[1] for clip in drawn(plan__validation=0.34).first(part, [1]).clips]
        assert roles.count("validation") == int(part * 0.34)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 12)), min_size=1, max_size=40),
    st.lists(st.tuples(st.sampled_from("XYZ"), st.integers(0, 2000)), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.34]),
    st.integers(0, 1000),
    st.sampled_from([0, 100]),
)
def test_roles_never_share_a_location_or_origin(
    scenes: list[tuple[str, int]], events: list[tuple[str, int]], validation: float, seed: int, gap: int
) -> None:
    recipe = parse_recipe(tiny.changed(tiny.STRICT, plan__seed=seed, plan__folds=2, plan__validation=validation), "x")
    try:
        manifest = draw_manifest(
            recipe,
            catalogue([(label, f"place{place}", "") for label, place in scenes]),
            catalogue([(label, "", str(number)) for label, number in events], gap),
        )
    except InputError as error:
        assume("use fewer folds or more recordings" not in str(error) and "do not fit" not in str(error))
        raise
    for fold in (0, 1):
        roles: dict[object, set[str]] = {}
        for clip in manifest.clips:
            role = clip.roles[fold] if clip.roles else str(clip.fold)
            roles.setdefault(clip.scene_location, set()).add(role)
            for event in clip.events:
                label, number = events[int(event.file.removesuffix(".wav"))]
                roles.setdefault(number, set()).add(role)
                for other, neighbour in events:
                    if other == label and abs(neighbour - number) < gap:
                        roles.setdefault((min(number, neighbour), max(number, neighbour), label), set()).add(role)
        assert {len(shared) for shared in roles.values()} == {1}, roles


def test_origins_are_chains_of_neighbouring_numbers_of_one_label() -> None:
    ids = ["100", "150", "249", "349", "1000", "abc", "abc", "151", "9" * 5000]
    labels = ["a", "a", "a", "a", "a", "a", "a", "b", "a"]
    named = origins(labels, ids, 100)
    assert named[0] == named[1] == named[2]  # 50 and 99 apart
    assert named[3] != named[2]  # 100 apart
    assert named[4] not in named[:4]
    assert named[5] == named[6]
    assert named[7] not in named[:7]  # another label
    assert named[8] not in named[:8]
    assert origins(labels[::-1], ids[::-1], 100) == named[::-1]


def test_an_origin_is_one_over_all_labels_and_numbers_are_names_without_a_gap() -> None:
    labels, ids = ["a", "b", "a", "b", "c"], ["1", "1", "2", "2", "3"]
    assert len(set(origins(labels, ids))) == 3
    named = origins(labels, ids)
    assert named[0] == named[1] != named[2] == named[3]
    # 1 and 2 are neighbours under label a, and so are one under label b as well
    assert len(set(origins(labels, ids, 100))) == 2
    # the same samples under two names join what they belong to
    assert len(set(origins(labels, ids, 0, [[0, 4]]))) == 2


def test_people_with_all_classes_are_in_one_fold_each_and_every_class_in_every_fold() -> None:
    people = [(label, "", who) for who in ("1", "2", "3", "4") for label in ("cough", "knock", "laugh") for _ in "xy"]
    for seed in range(5):
        recipe = parse_recipe(tiny.changed(tiny.STRICT, plan__seed=seed, plan__folds=2, plan__validation=0.0), "x")
        manifest = draw_manifest(recipe, SCENES, catalogue(people))
        folds_of: dict[str, set[int]] = {}
        for clip in manifest.clips:
            for event in clip.events:
                folds_of.setdefault(people[int(event.file.removesuffix(".wav"))][2], set()).add(clip.fold)
        assert {len(folds) for folds in folds_of.values()} == {1}
        assert classes_without_clips(manifest, ("cough", "knock", "laugh")) == {}


def test_a_class_of_two_people_is_in_two_folds_although_they_have_other_classes_too() -> None:
    people = [("common", "", str(k)) for k in range(8)] + [("rare", "", "0"), ("rare", "", "1")]
    for seed in range(10):
        recipe = parse_recipe(tiny.changed(tiny.STRICT, plan__seed=seed, plan__folds=2, plan__validation=0.0,
                                           plan__clips_per_fold=40), "x")  # fmt: skip
        manifest = draw_manifest(recipe, SCENES, catalogue(people))
        assert classes_without_clips(manifest, ("common", "rare")) == {}


def test_classes_missing_from_a_role_are_reported() -> None:
    people = [("common", "", str(k)) for k in range(8)] + [("rare", "", "0")]
    recipe = parse_recipe(tiny.changed(tiny.STRICT, plan__folds=2, plan__clips_per_fold=40), "x")
    manifest = draw_manifest(recipe, SCENES, catalogue(people))
    fold = next(clip.fold for clip in manifest.clips for event in clip.events if event.label == "rare")
    absent = classes_without_clips(manifest, ("common", "rare"))
    assert absent["train"] == {"rare": [fold]}
    assert absent["test"] == {"rare": [3 - fold]}
    assert absent["validation"]["rare"]
    lines = coverage_lines(manifest, ("common", "rare"))
    assert lines[0].startswith(f"classes without training clips: rare (fold {fold}); no system can learn them")
    assert len(lines) == 3


def test_scenes_are_reused_if_there_are_fewer_than_clips() -> None:
    recipe = parse_recipe(tiny.changed(tiny.RECIPE, plan__clips_per_fold=20), "x")
    manifest = draw_manifest(recipe, SCENES, EVENTS)
    files = [clip.scene_file for clip in manifest.clips]
    assert len(set(files[:24])) == 24
    assert files[24:48] == files[:24]


def test_a_fold_without_events_is_bad_input() -> None:
    few = Catalogue("made up", EVENTS.table.iloc[:3], "", EVENTS.reader)
    with pytest.raises(InputError, match="has no usable event among the 3"):
        draw_manifest(parse_recipe(tiny.RECIPE, "x"), SCENES, few)
    with pytest.raises(InputError, match="only 3 origins of events for 8 parts"):
        draw_manifest(parse_recipe(tiny.STRICT, "x"), SCENES, few)


def test_too_many_events_of_one_class_are_bad_input() -> None:
    same = Catalogue("made up", EVENTS.table.assign(label="one"), "", EVENTS.reader)
    with pytest.raises(InputError, match="do not fit into 2 s without two of one class overlapping or touching"):
        draw_manifest(parse_recipe(tiny.changed(tiny.STRICT, plan__polyphony=4), "x"), SCENES, same)


def test_events_of_one_class_that_fit_are_placed() -> None:
    same = Catalogue("made up", EVENTS.table.assign(label="one"), "", EVENTS.reader)
    for seed in range(3):
        changes = {"plan__seed": seed, "plan__polyphony": 4, "plan__max_event": 0.49, "plan__clips_per_fold": 12}
        manifest = draw_manifest(parse_recipe(tiny.changed(tiny.STRICT, **changes), "x"), SCENES, same)
        check_onsets(manifest, 0.4901, 2.0, overlap=True)
        assert {len(clip.events) for clip in manifest.clips} == {4}
    # of two classes, which may overlap, each as many as fit
    two = Catalogue("made up", EVENTS.table.assign(label=["x", "y"] * 30), "", EVENTS.reader)
    changes = {"plan__polyphony": 5, "plan__max_event": 0.39, "plan__clips_per_fold": 12}
    check_onsets(draw_manifest(parse_recipe(tiny.changed(tiny.STRICT, **changes), "x"), SCENES, two), 0.39, 2.0, True)
