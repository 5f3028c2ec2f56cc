"""Reading checkpoints of the released code, and saying what is wrong with one."""

import pytest
import torch
from released_figures import FIGURES, released_weights

from remixbench.errors import InputError
from remixbench.systems import build_system, load_released
from remixbench.systems.released import released_name


def narrow(system: str, width: float, classes: int = 41) -> dict[str, torch.Tensor]:
    """Make a released checkpoint of other sizes: cut each tensor down to what our network of those sizes has."""
    checkpoint = released_weights(system)
    like = build_system(system, classes=classes, frames=311, n_mels=64, width=width).state_dict()
    return {
        released_name(system, name): checkpoint[released_name(system, name)][tuple(map(slice, tensor.shape))]
        for name, tensor in like.items()
        if not name.endswith(("num_batches_tracked", "attention.direction"))
    }


def message(system: str, checkpoint: dict) -> str:
    with pytest.raises(InputError) as caught:
        load_released(system, checkpoint)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("system", FIGURES)
def test_every_weight_finds_its_place_once(system):
    checkpoint = released_weights(system)
    ours = {
        name: tensor
        for name, tensor in load_released(system, checkpoint).state_dict().items()
        if not name.endswith(("num_batches_tracked", "attention.direction"))
    }
    assert len(ours) == len(checkpoint)
    assert sorted(tensor.sum().item() for tensor in ours.values()) == sorted(
        tensor.sum().item() for tensor in checkpoint.values()
    )


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
        lambda tensors: {"model": tensors, "epoch": 3},
        lambda tensors: {"state_dict": tensors},
        lambda tensors: tensors | {"bottleneck.conv_block1.bn1.num_batches_tracked": torch.tensor(7)},
    ],
    ids=["module prefix", "under model", "under state_dict", "num_batches_tracked"],
)
def test_usual_wrappings_are_taken_off(wrap):
    checkpoint = released_weights("gap")
    plain, wrapped = (load_released("gap", form).state_dict() for form in (checkpoint, wrap(checkpoint)))
    assert plain.keys() == wrapped.keys()
    assert all(torch.equal(plain[name], wrapped[name]) for name in plain)


@pytest.mark.parametrize("system", FIGURES)
def test_width_and_classes_are_read_from_the_tensors(system):
    network = load_released(system, narrow(system, 0.25, classes=7))
    assert not network.training
    output = network(torch.zeros(1, 311, 64))
    assert output.clip_scores.shape == (1, 7)
    expected = build_system(system, classes=7, frames=311, n_mels=64, width=0.25)
    assert sum(weight.numel() for weight in network.parameters()) == sum(
        weight.numel() for weight in expected.parameters()
    )


def test_2ap_leaves_the_decoder_of_a_checkpoint_out():
    checkpoint = narrow("2ap-aux", 0.25)
    x = torch.randn(1, 311, 64, generator=torch.Generator().manual_seed(1))
    with_decoder, without = (load_released(system, checkpoint)(x) for system in ("2ap-aux", "2ap"))
    assert without.reconstruction is None
    assert torch.equal(with_decoder.clip_scores, without.clip_scores)


def test_a_tensor_of_another_shape_is_named_with_both_shapes():
    checkpoint = released_weights("gap")
    checkpoint["bottleneck.conv_block1.conv1.weight"] = torch.zeros(33, 1, 3, 3)
    assert message("gap", checkpoint) == (
        "checkpoint for 'gap': tensor bottleneck.conv_block1.conv1.weight is [33, 1, 3, 3], expected [32, 1, 3, 3]"
    )


def test_a_missing_tensor_is_named():
    checkpoint = released_weights("2ap-aux")
    del checkpoint["dsa.fc_time_att.bias"]
    assert "dsa.fc_time_att.bias is missing, expected [311]" in message("2ap-aux", checkpoint)


def test_a_tensor_too_many_is_named():
    checkpoint = released_weights("gmp") | {"bottleneck.head.weight": torch.zeros(2, 3)}
    assert "bottleneck.head.weight [2, 3] has no place" in message("gmp", checkpoint)


@pytest.mark.parametrize(
    ("checkpoint", "said"),
    [
        ({}, "it holds no tensor"),
        ([torch.zeros(3)], "it is of type list, expected a state dict"),
        ({0: torch.zeros(3)}, "it holds 0 and 0 more"),
        ({"epoch": 3}, "epoch is of type int, expected a tensor"),
        ({"weight": torch.zeros(3)}, "weight"),
        ({"bottleneck.final_conv.bias": torch.zeros(())}, "is it another system's?"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(checkpoint, said):
    assert said in message("gap", checkpoint)


def test_another_systems_checkpoint_is_refused():
    assert "another system's" in message("gap", released_weights("atrous-ap"))


def test_a_system_without_a_released_checkpoint():
    assert "has no released checkpoint" in message("atrous-2ap-aux", {})
    assert "did you mean 'gwrp'?" in message("gwrpp", {})
