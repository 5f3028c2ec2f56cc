"""The command line's frame: options of several values, one-line errors and exit statuses, quick help."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import ROOT

from remixbench.cli import COMMANDS, group, main, run
from remixbench.cli.options import ManyCommand, decibel, shard, spread
from remixbench.dataset.dataset import Dataset
from remixbench.errors import InputError, one_line
from remixbench.recipe import SNR_DECIMALS
from remixbench.systems import build_system

NAMES = dict.fromkeys(("--snr", "--fold"))


# --- options of several values


@pytest.mark.parametrize(
    ("given_", "spread_out"),
    [
        ("--snr 0 10 20", "--snr 0 --snr 10 --snr 20"),
        ("--snr -5 0", "--snr -5 --snr 0"),
        ("--snr=0 10", "--snr=0 --snr 10"),
        ("--snr 0 --snr 10", "--snr 0 --snr 10"),
        ("--snr 0 10 --jobs 2 --fold 1 2", "--snr 0 --snr 10 --jobs 2 --fold 1 --fold 2"),
        ("--snr 0 -q", "--snr 0 -q"),
        ("--snr 0 10 -- 20", "--snr 0 --snr 10 -- 20"),
        ("--snr", "--snr"),
        ("--snr -inf nan", "--snr -inf --snr nan"),
        ("--snr -.5 +1e1", "--snr -.5 --snr +1e1"),
        ("--jobs 2 3", "--jobs 2 3"),
        ("", ""),
    ],
)
def test_values_of_an_option_in_one_go(given_: str, spread_out: str) -> None:
    assert spread(given_.split(), NAMES) == spread_out.split()


@pytest.mark.parametrize(
    ("given_", "spread_out"),
    [
        ("--probe shift snr run another", "--probe shift --probe snr run another"),
        ("--probe shift run --probe snr", "--probe shift run --probe snr"),
        ("--probe shfit run", "--probe shfit run"),
    ],
)
def test_values_that_are_not_choices_are_arguments(given_: str, spread_out: str) -> None:
    assert spread(given_.split(), {"--probe": ("shift", "snr")}) == spread_out.split()


TOKENS = st.sampled_from(
    ["--snr", "--fold", "--jobs", "--snr=1", "--", "-q", "-5", "0", "ten", "", "-", "nan", "--x=1"]
)


@settings(deadline=None)
@given(st.lists(TOKENS, max_size=12))
def test_spreading_adds_only_names_and_changes_nothing_that_is_spread(tokens: list[str]) -> None:
    once = spread(tokens, NAMES)
    assert [token for token in once if token not in NAMES] == [token for token in tokens if token not in NAMES]
    assert spread(once, NAMES) == once


@settings(deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=5))
def test_any_ratios_come_through(values: list[float]) -> None:
    option = click.Option(["--snr"], multiple=True, type=decibel)
    command = click.Command("x", params=[option], callback=lambda snr: snr)
    arguments = spread(["--snr", *map(repr, values)], {"--snr": None})
    assert command.main(arguments, standalone_mode=False) == tuple(round(value, SNR_DECIMALS) + 0.0 for value in values)


@pytest.mark.parametrize("text", ["ten", "nan", "inf", "-inf", "101", "", "1,0", "0x10"])
def test_invalid_snrs(text: str) -> None:
    with pytest.raises(click.BadParameter, match=re.escape(f"'{text}' is not an SNR in dB; expected values such as")):
        decibel(text)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", "-1/2", "1 / 2", "\u0661/2", "1/10000000"])
def test_invalid_shards(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a shard of the work; expected I/N"):
        shard(text)


# --- errors


def failing(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must end with 2 and one line on standard error; returns the line."""
    assert run(["-q", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("remixbench: ")
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("maek", r"unknown command 'maek' \(did you mean 'make'\?\); commands: download, "),
        ("make --recpe mini", "no such option.*--recpe.*--recipe"),
        ("make --recipe remix2018", r"unknown recipe 'remix2018' \(did you mean 'remix2019'\?\)"),
        ("make --recipe nowhere.yaml", "nowhere.yaml: no such recipe file"),
        ("make --snr ten", "'ten' is not an SNR in dB; expected values such as 0 10 20"),
        ("make --snr 0 nan 20", "'nan' is not an SNR in dB"),
        ("make --snr 0 ten", "'ten' is not an SNR in dB"),
        ("make --snr", "--snr.*requires an argument"),
        ("make --fold 0", "'--fold'.*0 is not in the range x>=1"),
        ("make --fold one", "'--fold'.*'one' is not a valid integer"),
        ("make --recipe mini --fold 7", "--fold 7: the manifest has folds 1, 2, 3, 4"),
        ("make --recipe mini --clips-per-fold 9999", "--clips-per-fold 9999: fold 1 of the manifest has [0-9]+ clips"),
        ("make --clips-per-fold 0", "0 is not in the range x>=1"),
        ("make --jobs many", "'--jobs'.*'many' is not a valid integer"),
        ("make --recipe mini --jobs 0", "--jobs 0: expected a number of processes, or -1"),
        ("make --backend slurm", "'--backend'.*'slurm' is not one of"),
        ("make --recipe mini --scheduler tcp://x:1", "--scheduler tcp://x:1: needs --backend dask"),
        ("make --shard 3/2", "'3/2' is not a shard of the work"),
        ("make --audio-format mp3", "'mp3' is not one of"),
        ("make --recipe remix2019", "meta.csv: no such file; run `remixbench download tau2019` first"),
        ("make --recipe mini --manifest nowhere", "nowhere/clips.csv: no such file"),
        ("make --recipe mini --manifest x --replan", "--manifest and --replan exclude each other"),
        ("make extra", "unexpected extra argument"),
        ("plan --recipe mini", "missing option '--out'"),
        ("plan --out x", "missing option '--recipe'"),
        ("verify", "there is no data set yet; `remixbench make` makes one"),
        ("verify nothing", "no data set 'nothing' in .*; `remixbench make` makes one"),
        ("verify --deep -1", "-1 is not in the range"),
        ("--workspace", "--workspace.*requires an argument"),
        ("--no-such-option", "no such option"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = failing(arguments.split(), capsys)
    assert re.search(message, line, re.IGNORECASE), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mix__sample_rate": "fast"}, "tiny.yaml: mix.sample_rate: found 'fast'; expected an integer"),
        ({"mix__sample_raet": 1}, r"tiny.yaml: unknown key 'mix.sample_raet' \(did you mean 'sample_rate'\?\)"),
        ({"scenes": {"source": "fsdkaggle2018"}}, "source 'fsdkaggle2018' has events, not scenes; use tau2019"),
        ({"events": {"source": "tau2019"}}, "source 'tau2019' has scenes, not events; use fsdkaggle2018"),
        ({"events": {"source": "folder", "folder": "mine"}}, "mine: no such folder; the recipe's events name it"),
    ],
)
def test_custom_recipes_are_checked(
    changes: dict[str, Any], message: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny.write_recipe(tmp_path, tiny.changed(tiny.RECIPE, **changes))
    line = failing(["make", "--recipe", str(path), "--sources", str(corpus), "--out", str(tmp_path / "out")], capsys)
    assert re.search(message, line), line
    assert not (tmp_path / "out").exists()


def test_custom_manifests_are_checked(
    made: Dataset, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny.write_recipe(tmp_path, tiny.RECIPE)
    call = ["make", "--recipe", str(recipe), "--sources", str(corpus), "--out", str(tmp_path / "out"),
            "--manifest", str(tmp_path)]  # fmt: skip
    files = made.manifest.files()
    for name, old, new, message in (
        ("clips.csv", b"00003,1,", b"00003,one,", "clips.csv, line 5: fold: found 'one'"),
        ("events.csv", b"00001,0,", b"00001,3,", "events.csv, line 5: event_index is 3, expected 0"),
        ("events.csv", b",1.3,0.5", b",2.3,0.5", "clip 00000: onset 2.3 s lies beyond the clip of 2 s"),
        ("events.csv", b",1.3,0.5", b",1.3,5.0", "clip 00000: max_duration 5 s is above the recipe's plan.max_event"),
        ("events.csv", b".wav,", b".wave,", "1 of 41 recordings are not in it, the first .*.wave"),
        ("events.csv", b",Gong,", b",Song,", "the manifest calls it 'Song', the table of events 'Gong'"),
    ):
        for other, data in files.items():
            (tmp_path / other).write_bytes(data.replace(old, new, 1) if other == name else data)
        line = failing(call, capsys)
        assert re.search(message, line), line
    assert not (tmp_path / "out").exists()


def test_remix2019_with_other_tables_asks_for_replan(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = failing(["--workspace", str(tmp_path), "make", "--recipe", "remix2019", "--sources", str(corpus)], capsys)
    assert "is not the one that the manifest was made from" in line
    assert "--replan draws a manifest from them (marked as not comparable)" in line


def test_a_folder_that_is_not_a_data_set(copied: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    file = copied.path / "dataset.json"
    for text, message in (
        ("", "not readable as JSON"),
        ("[]", "expected a JSON object, found list"),
        ("{}", "format None, this version reads format 2"),
        (file.read_text().replace('"format": 2', '"format": 1'), "format 1, this version reads format 2"),
        (file.read_text().replace('"sample_rate": 8000', '"sample_rate": "x"'), "mix.sample_rate: found 'x'"),
        ("[" * 100_000, "not readable as JSON"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=re.escape(message)):
            Dataset.open(copied.path)
        assert run(["verify", str(copied.path)]) == 1  # a data set that was altered
        assert message in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_one_line(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny.write_recipe(tmp_path, tiny.RECIPE)
    (tmp_path / "out").write_text("a file")
    status = run(["-q", "make", "--recipe", str(recipe), "--sources", str(corpus), "--out", str(tmp_path / "out" / "x"),
                  "--jobs", "1"])  # fmt: skip
    assert status in (1, 2)
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("flags", [["-v"], ["--verbose"], ["-vq"], ["-q", "-v"]])
def test_verbose_shows_the_traceback(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*flags, "--workspace", str(tmp_path), "verify", "x"]) == 2
    error = capsys.readouterr().err
    assert "Traceback (most recent call last)" in error
    assert error.splitlines()[-1].startswith("remixbench: no data set 'x'")


def test_a_value_that_reads_like_the_flag_is_not_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--workspace", str(tmp_path), "score", "--name", "-v"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@settings(deadline=None)
@given(st.text(max_size=60))
def test_a_message_is_one_printable_line(text: str) -> None:
    assert one_line(text).isprintable()


# --- what it says and does


def test_in_an_empty_workspace_mini_is_made_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["--workspace", str(tmp_path), "make", "--clips-per-fold", "1", "--snr", "-5", "0", "--jobs", "1",
            "--no-features"]  # fmt: skip
    assert run(call) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'datasets' / 'mini'}\n"
    assert "recipe mini: the sources of remix2019 are not in" in captured.err
    assert "not comparable with published numbers" in captured.err
    assert sorted(path.name for path in (tmp_path / "datasets" / "mini").glob("snr_*")) == ["snr_-5", "snr_0"]
    assert run(call) == 0
    assert "4 clips ready at -5, 0 dB; nothing to do" in capsys.readouterr().err


def test_the_environment_names_the_workspace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMIXBENCH_WORKSPACE", str(tmp_path / "elsewhere"))
    assert str(tmp_path / "elsewhere") in failing(["verify"], capsys)


def test_main_exits_with_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, status in ((["--version"], 0), ([], 2), (["recipes"], 0), (["nonsense"], 2)):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == status


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    assert "Example: remixbench" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_options_alone_and_its_defaults_without_brackets_in_brackets(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Arguments are explained by the text; click would list them again, without a word."""
    assert run([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert not re.findall(r"default: \(|\(\(|\[\[", text)
    _, *sections = re.split(r"\n(?=\S)", text[text.index("\n  Example") :])
    listed = [line for section in sections for line in section.splitlines()[1:] if re.match(r"  \S", line)]
    assert listed
    assert all(line.startswith("  -") for line in listed)


@pytest.mark.parametrize("command", ["train", "score"])
def test_long_help_is_in_groups_that_name_their_options(command: str) -> None:
    loaded = group.get_command(click.Context(group), command)
    assert isinstance(loaded, ManyCommand)
    assert len(loaded.groups) > 2
    names = [name for group_names in loaded.groups.values() for name in group_names]
    options = [option.name for option in loaded.params if isinstance(option, click.Option)]
    assert sorted(names) == sorted(option for option in options if option)


def test_export_says_what_its_readers_need(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "exporting.md").read_text(encoding="utf-8")
    assert run(["export", "--help"]) == 0
    text = capsys.readouterr().out
    for package in ("torchcodec", "FFmpeg", "urllib3", "pyarrow"):
        assert package in text
        assert package in page


@pytest.mark.parametrize(
    "arguments", [["--help"], ["make", "--help"], ["verify", "--help"], ["--version"], ["recipes"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from remixbench.cli import run; status = run(sys.argv[1:]); "
        "heavy = {'torch', 'librosa', 'sklearn', 'scipy', 'pandas', 'numba', 'joblib'} & set(sys.modules); "
        "print(heavy, file=sys.stderr); sys.exit(status or bool(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_a_fault_of_our_own_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("remixbench.recipe.recipes", broken)
    assert run(["recipes"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "ZeroDivisionError" in said or "TypeError" in said
    assert run(["-v", "recipes"]) == 1
    assert "Traceback" in capsys.readouterr().err


# --- hints


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["train", "--lr", "0.1"], "no such option: --lr (did you mean '--learning-rate'?)"),
        (["train", "--learningrate", "0.1"], "no such option: --learningrate (did you mean '--learning-rate'?)"),
        (["train", "--resume"], "no option --resume: rerun the same command to resume"),
        (["train", "--workspace", "x"], "--workspace goes before the command: remixbench --workspace DIR train ..."),
        (["score", "-v"], "-v goes before the command: remixbench -v score ..."),
        (["make", "--output", "x"], "no such option: --output (did you mean '--out'?)"),
        (["make", "--lr", "1"], "no such option: --lr (see"),
    ],
)
def test_a_misspelt_option_names_the_right_one(
    arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hint in failing(arguments, capsys)


@pytest.mark.parametrize(("name", "meant"), [("2AP", "2ap"), ("2Ap-Aux", "2ap-aux"), ("GWRP", "gwrp"), ("gpa", "gap")])
def test_a_misspelt_system(name: str, meant: str) -> None:
    with pytest.raises(InputError, match=rf"unknown system '{name}' \(did you mean '{meant}'\?\)"):
        build_system(name, classes=2, frames=8, n_mels=16)


@pytest.mark.parametrize(
    "command",
    [
        *(f"score {rest}" for rest in (
            "tags.csv", "tags.csv --name X --snr 0 --fold 4", "no.csv --name X --snr 0 --fold 4", "run", "folder",
            "tags.csv --probe shift", "--probe shift", "tags.csv --shifted shift_0.1.csv --name X --snr 0 --fold 4",
            "tags.csv --submission out.json --name X --snr 0 --fold 4", "--add tags.csv", "--add submission.json",
            "--add no.json", "tags.csv --add no.json", "--remove X", "--remove X tags.csv", "--verify X tags.csv",
            "--compare A B", "--jobs 0",
        )),
        "report", "report --out page.html", "report --submissions folder --out page.html",
        "train", "train --system nothing", "train --dataset nothing", "train --system gap --rerun",
        "predict run noise.wav --out out", "predict folder noise.wav --out out", "predict run no.wav --out out",
        "separate run noise.wav --out out", "separate folder noise.wav --out out",
        "export --format audiofolder --out out", "export nothing --format lhotse --out out",
        "probe nothing", "probe code.py:X", "embed nothing", "embed code.py:X",
        "overlap ids.csv", "overlap ids.csv --encoder X", "overlap no.csv",
        "figure out.pdf", "show --clip 1", "verify", "verify nothing", "plan nothing", "plan recipe.yaml",
        "make nothing", "make recipe.yaml", "make mini --jobs 0",
    ],
)  # fmt: skip
def test_a_command_that_refuses_its_input_leaves_nothing_behind(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {
        "tags.csv": "filename,Bark\nx.wav,0.5\n", "shift_0.1.csv": "filename,Bark\nx.wav,0.5\n", "ids.csv": "id\n1\n",
        "noise.wav": "RIFF", "code.py": "X = 1\n", "recipe.yaml": "name: [\n", "folder/notes.txt": "",
        "run/run.json": "{}", "submission.json": '{"format": "remixbench submission", "version": 2}',
    }.items():  # fmt: skip
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(content)
    before = sorted(Path().rglob("*"))
    assert run(["--workspace", "workspace", *command.split()]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("out", ["taken", "taken/mini", "itself/mini"])
@pytest.mark.parametrize("command", ["plan", "make"])
def test_a_file_in_the_place_of_a_folder_is_named(
    command: str, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("x")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    line = failing(["--workspace", str(tmp_path), command, "--recipe", "mini", "--out", str(tmp_path / out)], capsys)
    assert f"{tmp_path / out.split('/')[0]}: is not a folder; choose another place, or move this file away" in line
    assert (tmp_path / "taken").read_text() == "x"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 8.00 GiB"),
        RuntimeError("could not create a primitive"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
)
def test_memory_that_runs_out_is_no_fault_of_ours(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("remixbench.dataset.dataset.find_folder", full)
    assert run(["verify"]) == 1
    assert capsys.readouterr().err == f"remixbench: not enough memory ({error}); finished files are intact\n"
