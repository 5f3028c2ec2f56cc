"""The list of systems, what is wrong with a name or an option, and systems of other packages."""

import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch

from remixbench.cli import run
from remixbench.errors import InputError
from remixbench.systems import Option, available, build_system, list_systems, registry, resolve_options, spec

GOOD = """
import torch
from remixbench.systems import Option, Output

class Tiny(torch.nn.Module):
    def __init__(self, classes, bands, scale):
        super().__init__()
        self.layer = torch.nn.Linear(bands, classes)
        self.scale = scale

    def forward(self, x):
        frame_scores = torch.sigmoid(self.layer(x) * self.scale)
        return Output(frame_scores.mean(dim=1), frame_scores)

def tiny(classes, frames, n_mels, width, form, scale):
    return Tiny(classes, n_mels, scale)

tiny.description = "one layer"
tiny.alpha = 0.0
tiny.options = {"form": ("plain", "fancy"), "scale": Option(2.0, low=0, high=9)}

def wrong_shape(classes, frames, n_mels, width):
    return Tiny(classes + 1, n_mels, 1.0)

def no_module(classes, frames, n_mels, width):
    return 7

def no_output(classes, frames, n_mels, width):
    return torch.nn.Linear(n_mels, classes)

def odd(classes, frames, n_mels, width, steps):
    return Tiny(classes, n_mels, steps)

odd.options = {"steps": {1, 2}}

def number(classes, frames, n_mels, width, steps):
    return Tiny(classes, n_mels, steps)

number.options = {"steps": 3}

def fails(classes, frames, n_mels, width):
    raise ValueError("needs\\na licence")
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that installs a package with these entry points for the length of a test."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(package: str, entry_points: dict[str, str], code: str = GOOD) -> None:
        monkeypatch.delitem(sys.modules, package, raising=False)
        (tmp_path / f"{package}.py").write_text(code)
        about = tmp_path / f"{package}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {package}:{target}" for name, target in entry_points.items()]
        (about / "entry_points.txt").write_text("[remixbench.systems]\n" + "\n".join(lines) + "\n")

    return put


def message(name: str, **options) -> str:
    with pytest.raises(InputError) as caught:
        build_system(name, classes=3, frames=20, n_mels=8, width=0.25, options=options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_metadata_of_packages_is_read_again_only_after_an_installation(
    install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reads = []

    def counting(**group: str):
        reads.append(group)
        return entry_points(**group)

    monkeypatch.setattr(registry, "entry_points", counting)
    before = list_systems()
    for _ in range(3):
        assert list_systems() == before
    assert len(reads) <= 1
    install("latecomer", {"late": "tiny"})
    assert list_systems() == [*before, "late"]
    assert spec("late").package == "latecomer"
    install("second", {"later": "tiny"})
    assert list_systems() == [*before, "late", "later"]
    shutil.rmtree(tmp_path / "latecomer-1.0.dist-info")
    assert list_systems() == [*before, "later"]
    assert len(reads) <= 4


@pytest.mark.parametrize("width", [1e5, 1e9, 1e30])
def test_a_width_that_no_machine_has_room_for(width):
    with pytest.raises(InputError, match=r"system 'gap': 3 classes, 20 × 8 .* do not fit .* smaller --width"):
        build_system("gap", classes=3, frames=20, n_mels=8, width=width)


def test_the_list_needs_no_torch():
    code = (
        "import sys; from remixbench.systems import available; "
        "[spec.description for spec in available().values()]; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_only_systems_with_a_decoder_have_a_default_alpha():
    with_alpha = {name for name in list_systems() if spec(name).alpha}
    assert with_alpha == {"2ap-aux", "atrous-2ap-aux"}
    assert with_alpha == {name for name in list_systems() if spec(name).decoder}
    assert spec("2ap-aux").alpha == 0.001


def test_published_rows_are_those_of_the_papers_tables():
    assert [name for name, system in available().items() if system.published] == [
        "gap", "gmp", "gwrp", "atrous-ap", "2ap", "2ap-aux",
    ]  # fmt: skip


def test_options_are_filled_up_and_numbers_read():
    assert resolve_options("gap") == {"bias": "released"}
    assert resolve_options("gwrp", {"decay": "0.5"}) == {"bias": "released", "decay": 0.5}
    assert resolve_options("2ap-aux", {"attention": "paper"}) == {
        "bias": "released",
        "attention": "paper",
        "frame_scores": "oriented",
        "decoder_input": "features",
        "decoder_output": "relu",
    }


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("2ap-auxx", {}, "unknown system '2ap-auxx' (did you mean '2ap-aux'?); choose from 2ap, "),
        ("gap", {"decay": 0.5}, "unknown option 'decay' of system 'gap'; choose from bias"),
        ("gwrp", {"decai": 0.5}, "unknown option 'decai' of system 'gwrp' (did you mean 'decay'?)"),
        ("gwrp", {"decay": 0.0}, "option decay is '0.0', expected a number above 0, at most 1"),
        ("gwrp", {"decay": "nan"}, "option decay is 'nan', expected a number above 0, at most 1"),
        ("gwrp", {"decay": "fast"}, "option decay is 'fast', expected a number above 0, at most 1"),
        ("2ap", {"attention": "none"}, "option attention is 'none', expected released or paper"),
        ("2ap", {"decoder_input": "maps"}, "unknown option 'decoder_input' of system '2ap'"),
    ],
)
def test_a_wrong_name_or_option_is_named_with_what_there_is(name, options, said):
    assert said in message(name, **options)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"classes": 0}, "classes is 0, expected a whole number from 1 up"),
        ({"classes": None}, "classes is None, expected a whole number from 1 up"),
        ({"classes": 2.5}, "classes is 2.5, expected a whole number from 1 up"),
        ({"frames": -1}, "frames is -1, expected a whole number from 1 up"),
        ({"width": 0.0}, "width is 0.0, expected a number above 0"),
        ({"width": None}, "width is None, expected a number above 0"),
        ({"width": float("nan")}, "width is nan, expected a number above 0"),
    ],
)
def test_impossible_sizes(sizes, said):
    with pytest.raises(InputError, match=said):
        build_system("gap", **{"classes": 3, "frames": 20, "n_mels": 8} | sizes)


def test_a_system_of_another_package_is_listed_unimported_and_built(install):
    install("thirdpartypack", {"tiny": "tiny"})
    assert available()["tiny"].description == "of the package thirdpartypack"
    assert "thirdpartypack" not in sys.modules
    assert spec("tiny").description == "one layer"
    assert spec("tiny").options["form"] == Option("plain", choices=("plain", "fancy"))
    assert resolve_options("tiny", {"scale": "3"}) == {"form": "plain", "scale": 3.0}

    before = torch.random.get_rng_state()
    one, again, other = (
        build_system("tiny", classes=3, frames=20, n_mels=8, options={"form": "fancy"}, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    assert one.training
    assert one.scale == 2.0
    assert torch.equal(one.layer.weight, again.layer.weight)
    assert not torch.equal(one.layer.weight, other.layer.weight)
    assert "expected plain or fancy" in message("tiny", form="odd")


def test_a_whole_number_stays_whole_where_the_default_is_one():
    layers, gain = Option(2), Option(2.0)
    assert [type(layers.parse(value)) for value in ("3", 3.0, "3.5")] == [int, int, float]
    assert type(gain.parse(3)) is float
    assert layers.parse("inf") is layers.parse("many") is None


def test_an_option_of_a_package_may_be_a_plain_number(install):
    install("numberpack", {"number": "number"})
    assert resolve_options("number") == {"steps": 3.0}
    assert resolve_options("number", {"steps": "-4.5"}) == {"steps": -4.5}
    assert "option steps is 'many', expected a number" in message("number", steps="many")


def test_a_broken_package_harms_only_who_asks_for_its_system(install):
    install("brokenpack", {"broken": "net", "gone": "net"}, code="import no_such_library_at_all")
    assert "broken" in list_systems()
    build_system("gap", classes=3, frames=20, n_mels=8, width=0.25)
    said = message("broken")
    assert "the package brokenpack registers it as brokenpack:net, which cannot be imported" in said
    assert "No module named 'no_such_library_at_all'" in said


def test_the_list_has_options_of_packages_and_says_which_is_unusable(install, capsys):
    install("listedpack", {"tiny": "tiny"})
    install("brokenpack", {"broken": "net"}, code="import no_such_library_at_all")
    assert run(["systems"]) == 0
    lines = capsys.readouterr().out.splitlines()
    place = next(k for k, line in enumerate(lines) if line.startswith("tiny "))
    assert lines[place].endswith("  one layer")
    assert lines[place + 1].strip() == "form=plain (plain or fancy)"
    assert lines[place + 2].strip() == "scale=2.0 (a number above 0, at most 9)"
    broken = next(line for line in lines if line.startswith("broken "))
    assert "unusable: system 'broken': the package brokenpack registers it as brokenpack:net" in broken


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("wrong_shape", "its clip_scores are (2, 4), expected (2, 3)"),
        ("no_module", "it made a int, not a torch.nn.Module"),
        ("no_output", "its forward returns Tensor, expected remixbench.systems.Output"),
        ("odd", "its attributes cannot be read (ValueError: option {1, 2})"),
        ("fails", "ValueError: needs a licence"),
    ],
)
def test_a_system_that_breaks_the_contract_says_how(install, target, said):
    install("carelesspack", {"careless": target})
    assert said in message("careless")


def test_a_name_claimed_twice_is_an_error_for_that_name_alone(install):
    install("onepack", {"gap": "tiny", "same": "tiny"})
    install("otherpack", {"same": "tiny"})
    assert "the packages remixbench and onepack both register it; rename it, or uninstall onepack" in message("gap")
    assert "the packages onepack and otherpack both register it" in message("same")
    build_system("gmp", classes=3, frames=20, n_mels=8, width=0.25)
