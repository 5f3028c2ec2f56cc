"""Recipes: the built-in ones, one's own, and every way to get one wrong as one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from remixbench.cli import run
from remixbench.errors import InputError
from remixbench.recipe import Features, Mix, Plan, Recipe, Source, load_recipe, parse_recipe, parse_snr, recipes


def test_the_built_in_recipes() -> None:
    assert set(recipes()) == {"mini", "remix2019", "remix2019-strict"}
    assert all(load_recipe(name).name == name for name in recipes())


def test_remix2019_is_the_default_in_all_but_name() -> None:
    content = {
        "name": "remix2019", "description": load_recipe("remix2019").description,
        "scenes": {"source": "tau2019"}, "events": {"source": "fsdkaggle2018", "verified_only": True},
    }  # fmt: skip
    assert parse_recipe(content, "test") == load_recipe("remix2019")


def test_frames_and_their_distance() -> None:
    recipe = load_recipe("remix2019")
    assert (recipe.frames, recipe.frame_seconds, recipe.mix.samples) == (311, 0.032, 320_000)


def test_a_recipe_is_immutable() -> None:
    with pytest.raises(ValidationError):
        load_recipe("mini").mix.sample_rate = 1  # type: ignore[misc]


def test_sections_made_in_python_have_the_defaults_of_yaml() -> None:
    content: dict[str, Any] = {"name": "own", "description": "mine"}
    scenes = {"source": "folder", "folder": "street"}
    events = {"source": "folder", "folder": "animals"}
    from_yaml = Recipe.model_validate(content | {"scenes": scenes, "events": events, "mix": {"sample_rate": 8000}})
    as_objects = Recipe(
        **content, scenes=Source.model_validate(scenes), events=Source.model_validate(events),
        mix=Mix(sample_rate=8000),
    )  # fmt: skip
    assert as_objects == from_yaml
    assert (as_objects.plan.method, as_objects.plan.scene_start, as_objects.features.fmax) == ("grouped", "drawn", 4000)
    chosen = Recipe(
        **content, scenes=Source.model_validate(scenes), events=Source.model_validate(events), mix=Mix(),
        plan=Plan(method="released"), features=Features(fmax=3000),
    )  # fmt: skip
    assert (chosen.plan.method, chosen.features.fmax) == ("released", 3000)


def test_an_snr_next_to_zero_is_zero() -> None:
    assert [str(parse_snr(value)) for value in ("-1e-7", "-0", 1e-9, "0.1234567")] == ["0.0", "0.0", "0.0", "0.123457"]


def test_a_recipe_written_out_is_read_as_the_same(tiny_recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe.model_dump(mode="json")))
    assert load_recipe(path) == tiny_recipe


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("remix2018", r"unknown recipe 'remix2018' \(did you mean 'remix2019'\?\); choose from mini, remix2019, "),
        ("zzz", "unknown recipe 'zzz'; choose from mini, "),
        ("nowhere.yaml", "nowhere.yaml: no such recipe file; `remixbench recipes` lists the built-in ones"),
        ("/", "/: is a folder, expected a file"),
    ],
)
def test_a_recipe_that_is_not_there(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixx": {}}, r"unknown key 'mixx' \(did you mean 'mix'\?\); the keys are name, description, "),
        (
            {"mix__sample_rat": 8000},
            r"unknown key 'mix.sample_rat' \(did you mean 'sample_rate'\?\); the keys are sample_rate, duration, ",
        ),
        ({"scenes__columns": {"lable": "x"}}, r"unknown key 'scenes.columns.lable' \(did you mean 'label'\?\)"),
        ({"mix__sample_rate": "fast"}, "mix.sample_rate: found 'fast'; expected an integer"),
        ({"mix__sample_rate": 8000.5}, "mix.sample_rate: found 8000.5; expected an integer"),
        ({"mix__sample_rate": 10}, "mix.sample_rate: found 10; expected greater than or equal to 4000"),
        ({"mix__duration": float("nan")}, "mix.duration: found nan; "),
        ({"mix__duration": None}, "mix.duration: found None; "),
        ({"mix__snrs": []}, r"mix.snrs: found \[\]; "),
        ({"mix__snrs": [0, float("inf")]}, "mix.snrs.1: found inf; "),
        ({"mix__level": "peak"}, "mix.level: found 'peak'; expected 'rms' or 'lufs'"),
        ({"plan": [1, 2]}, r"plan: found \[1, 2\]; expected keys with values"),
        (
            {"plan__polyphony": [1, 3]},
            r"plan.polyphony: found .*expected a number or a range; write a range as {range: \[1, 3\]}",
        ),
        ({"plan__polyphony": {"range": [3, 1]}}, r"plan.polyphony.range: found .*expected the lower bound first"),
        ({"plan__polyphony": {"range": [1, 30]}}, r"plan.polyphony.range.1: found 30; expected less than or"),
        ({"plan__polyphony": {"rnge": [1, 3]}}, r"unknown key 'plan.polyphony.rnge' \(did you mean 'range'"),
        (
            {"plan__polyphony": "many"},
            "plan.polyphony: found 'many'; expected a number or a range such as {range: \\[1, 3\\]}",
        ),
        ({"plan__polyphony": 4}, "plan: polyphony 4 needs as many onsets, found 3"),
        ({"plan__onsets": [0.1, 0.5, 1.3]}, "plan: onsets 0.1 and 0.5 s are closer than max_event 0.5 s, so events"),
        ({"plan__onsets": [1.3, 0.1, 1.7]}, "plan: .*onsets 1.3 and 1.7 s are closer than max_event 0.5 s"),
        (
            {"plan__method": "grouped", "plan__overlap": False, "plan__onsets": [0, 0, 1]},
            "plan: .*onsets 0 and 0 s are closer than max_event",
        ),
        ({"plan__onsets": [0.1, 0.7, 2.0]}, "an onset of 2 s lies beyond the clip of 2 s"),
        ({"plan__onsets": [0.1, -0.7, 1.0]}, "plan.onsets.*found -0.7; "),
        (
            {"plan__snr_spread": [5, -5], "plan__method": "grouped"},
            "plan.snr_spread.range: .*expected the lower bound first",
        ),
        ({"plan__snr_spread": [-5, 5]}, "plan: .*the 'released' draws have fixed polyphony and onsets"),
        ({"plan__validation": 0.1}, "plan: .*the 'released' draws have fixed polyphony and onsets"),
        ({"plan__seed": -1}, "plan.seed: found -1; "),
        ({"features__fmax": 4001}, "features.fmax 4001 Hz is above half of mix.sample_rate 8000 Hz; lower it"),
        ({"features__fmin": 4000}, "features.fmin 4000 is not below features.fmax 4000"),
        ({"features__n_fft": 16001}, "features.n_fft is longer than a clip"),
        ({"scenes__source": "tau2020"}, "scenes.source: found 'tau2020'; expected 'tau2019', "),
        ({"scenes__folder": "x"}, "scenes: .*key 'folder' and source 'folder' need each other"),
        ({"events__source": "folder"}, "events: .*key 'folder' and source 'folder' need each other"),
        ({"name": "a/b"}, "name: found 'a/b'; "),
        ({"name": ""}, "name: found ''; "),
        ({"description": 3}, "description: found 3; "),
        ({"description": ""}, "description: found ''; "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_key_or_value_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^mine.yaml: {message}") as caught:
        parse_recipe(tiny.changed(tiny.RECIPE, **changes), "mine.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected keys and values, found NoneType"),
        ("- 1\n- 2\n", "expected keys and values, found list"),
        ("name: [a\n", "line 2: not valid YAML"),
        ("name: a\nname: b\n", "line 2: not valid YAML .key 'name' is given twice."),
        (
            "name: a\nmix:\n  sample_rate: 1\n  sample_rate: 2\n",
            "line 4: not valid YAML .key 'sample_rate' is given twice.",
        ),
        ("name: a\n", "key 'description' is missing"),
        ("name: !!python/object:os.system x\n", "line 1: not valid YAML"),
        ("1: 2\n", "key .name. is missing"),
        ("? [a, b]\n: c\n", "line 1: not valid YAML"),
        ("? {a: b}\n: c\n", "line 1: not valid YAML"),
        ("a: &a [*a]\n", "unknown key 'a'"),
        ("name: 2020-13-45\n", "not readable as a recipe"),
        ("name: x\nplan: {seed: 0x" + "f" * 6000 + "}\n", "."),
        ("name: \ufffe\n", "."),
        ("\ttab: x\n", "line 1: not valid YAML"),
    ],
)
def test_a_file_that_is_no_recipe(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(str(path))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"name: \xff\xfe\n")
    with pytest.raises(InputError, match="not readable as a recipe"):
        load_recipe(path)


LINES = yaml.safe_dump(tiny.RECIPE).splitlines()
PIECES = st.sampled_from(
    ["null", "[]", "{}", "-1", "1e400", ".nan", "'", '"', "&a", "*a", "!!binary x", "? ", ": ", "- ", "\t", "0x",
     "<<: ", "2020-01-01", "~", "%", "|", "\x00", "\u2028", "yes", "!!set {a}", "{a: 1}", "!!timestamp x", "---"]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, len(LINES) - 1), st.integers(0, 30), PIECES), min_size=1, max_size=3))
def test_a_damaged_recipe_is_a_recipe_or_bad_input(changes: list[tuple[int, int, str]], tmp_path: Path) -> None:
    lines = list(LINES)
    for line, column, piece in changes:
        lines[line] = lines[line][:column] + piece + lines[line][column + len(piece) :]
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        recipe = load_recipe(path)
    except InputError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 (either outcome is right)
    else:
        assert recipe.frames >= 1


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=5,
)
KEYS = [key for section in ("", "plan", "mix", "features", "training", "scenes", "events")
        for key in ([section] if section else []) + [f"{section}__{k}" for k in tiny.RECIPE.get(section, {})]] + [
    "plan__polyphony", "plan__snr_spread", "scenes__columns", "name", "training__epochs", "new", "mix__new"
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(KEYS), JSONISH)
def test_any_value_anywhere_is_a_recipe_or_bad_input(key: str, value: Any) -> None:
    try:
        parse_recipe(tiny.changed(tiny.RECIPE, **{key: value}), "mine.yaml")
    except InputError as error:
        assert str(error).startswith("mine.yaml: ")  # noqa: PT017 (either outcome is right)


def test_the_command_lists_the_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["mini", "remix2019", "remix2019-strict"]
