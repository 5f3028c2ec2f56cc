"""The networks' forward pass, their options, first weights, precision and loss, against first principles."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from remixbench.errors import InputError
from remixbench.systems import Output, build_system, list_systems
from remixbench.systems.cost import count_cost
from remixbench.systems.models import (
    AttentionPooling,
    TwoStepAttention,
    avg_pool3x3,
    max_pooling,
    mean_pooling,
    rank_pooling,
    scaled,
)
from remixbench.training.evaluate import evaluating
from remixbench.training.trainer import loss

CLASSES, FRAMES, N_MELS = 5, 155, 32
SYSTEMS = ["gap", "gmp", "gwrp", "atrous-ap", "2ap", "2ap-aux", "atrous-2ap-aux"]
WITH_DECODER = ["2ap-aux", "atrous-2ap-aux"]


def small(system: str, seed: int = 0, **options) -> torch.nn.Module:
    return build_system(system, classes=CLASSES, frames=FRAMES, n_mels=N_MELS, width=0.25, options=options, seed=seed)


def clips(count: int = 2, seed: int = 3) -> torch.Tensor:
    return torch.randn(count, FRAMES, N_MELS, generator=torch.Generator().manual_seed(seed))


def evaluate(network: torch.nn.Module) -> Output:
    with torch.no_grad():
        return network.eval()(clips())


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


# What every system keeps


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("system", SYSTEMS)
def test_shapes_types_and_ranges(system, training):
    output = small(system).train(training)(clips())
    shapes = {name: None if field is None else tuple(field.shape) for name, field in output._asdict().items()}
    attends = system not in ("gap", "gmp", "gwrp")
    two_step = "2ap" in system
    assert shapes == {
        "clip_scores": (2, CLASSES),
        "frame_scores": (2, FRAMES, CLASSES),
        "tf_maps": None if two_step and training else (2, CLASSES, FRAMES, N_MELS),
        "reconstruction": (2, FRAMES, N_MELS) if system in WITH_DECODER else None,
        "frequency_attention": (2, CLASSES, FRAMES, N_MELS) if attends else None,
        "time_attention": (2, CLASSES, FRAMES) if attends else None,
        "raw_frame_scores": (2, FRAMES, CLASSES) if two_step else None,
    }
    assert {field.dtype for field in output if field is not None} == {torch.float32}
    for scores in (output.clip_scores, output.frame_scores, output.tf_maps):
        if scores is not None:
            assert scores.min() >= 0
            assert scores.max() <= 1
    if attends:
        torch.testing.assert_close(output.frequency_attention.sum(3), torch.ones(2, CLASSES, FRAMES))
        torch.testing.assert_close(output.time_attention.sum(2), torch.ones(2, CLASSES))


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_weight_learns(system):
    network = small(system)
    targets = torch.eye(CLASSES)[:2]
    loss(network(clips()), targets, clips(), 0.001 if system in WITH_DECODER else 0.0).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_clip_is_scored_alike_alone_and_in_company(system):
    network = small(system).eval()
    with torch.no_grad():
        together, alone = network(clips()), network(clips()[1:])
    torch.testing.assert_close(together.clip_scores[1:], alone.clip_scores, atol=1e-6, rtol=0)


@pytest.mark.parametrize("system", SYSTEMS)
def test_bfloat16_autocast_stays_close_and_returns_float32(system):
    exact = evaluate(small(system))
    with torch.autocast("cpu", torch.bfloat16):
        rough = evaluate(small(system).to(memory_format=torch.channels_last))
    assert {field.dtype for field in rough if field is not None} == {torch.float32}
    assert (rough.clip_scores - exact.clip_scores).abs().max() <= 1e-2
    assert not torch.equal(rough.clip_scores, exact.clip_scores)  # else nothing ran in bfloat16


@pytest.mark.parametrize("system", SYSTEMS)
def test_channels_last_changes_nothing(system):
    plain, last = evaluate(small(system)), evaluate(small(system).to(memory_format=torch.channels_last))
    for one, other in zip(plain, last, strict=True):
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("system", ["2ap", "2ap-aux", "atrous-2ap-aux"])
def test_two_step_systems_say_what_size_they_were_made_for(system):
    with pytest.raises(
        InputError, match="input of 156 × 32 frames × mel bands, but this network was made for 155 × 32"
    ):
        small(system)(torch.zeros(1, FRAMES + 1, N_MELS))


# First weights


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_seed_means_one_set_of_weights_and_leaves_the_global_generator_alone(system):
    before = torch.random.get_rng_state()
    one, again, other = (small(system, seed).state_dict() for seed in (4, 4, 5))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("system", SYSTEMS)
def test_first_weights_are_as_released(system):
    for name, weight in small(system).state_dict().items():
        if name in ("pooling.attention.weight", "attention.direction") or name.endswith(
            ("running_mean", "num_batches_tracked")
        ):
            assert (weight == 0).all()
        elif ".bn" in name and name.endswith(("weight", "running_var")):
            assert (weight == 1).all()
        elif name.startswith("attention."):
            bound = 1 / math.sqrt(FRAMES if "time" in name else N_MELS)
            assert 0.9 * bound < weight.abs().max() <= bound
        elif weight.ndim == 1:
            assert (weight == 0).all()
        else:
            bound = math.sqrt(6 / weight[0].numel())
            assert weight.abs().max() <= bound
            if weight.numel() > 500:
                assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_systems_that_share_parts_share_their_first_weights():
    two_step, with_decoder = small("2ap").state_dict(), small("2ap-aux").state_dict()
    assert all(torch.equal(weight, with_decoder[name]) for name, weight in two_step.items())


def test_width_scales_every_layer_but_the_ends():
    shapes = {name: tuple(weight.shape) for name, weight in small("2ap-aux").state_dict().items()}
    assert shapes["encoder.block1.conv1.weight"] == (8, 1, 3, 3)
    assert shapes["encoder.block4.conv2.weight"] == (64, 64, 3, 3)
    assert shapes["class_maps.weight"] == (CLASSES, 64, 1, 1)
    assert shapes["decoder.block4.conv1.weight"] == (1, 8, 3, 3)
    assert [scaled(32, width) for width in (0.01, 0.25, 0.3, 1, 2)] == [4, 8, 10, 32, 64]


@pytest.mark.parametrize(
    ("system", "parameters"), [("2ap", 1_385_561), ("atrous-2ap-aux", 1_821_222), ("gap", 587_593)]
)
def test_parameters_at_full_width(system, parameters):
    network = build_system(system, classes=41, frames=311, n_mels=64)
    assert sum(weight.numel() for weight in network.parameters()) == parameters


# Pooling


def test_rank_pooling_by_hand():
    maps = torch.tensor([[[[0.1, 0.8], [0.4, 0.2]]]])
    expected = (0.8 + 0.5 * 0.4 + 0.25 * 0.2 + 0.125 * 0.1) / (1 + 0.5 + 0.25 + 0.125)
    assert rank_pooling(maps, 0.5).item() == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.5, 1.0))
def test_rank_pooling_lies_between_mean_and_maximum(seed, decay):
    maps = torch.rand(1, 2, 7, 3, generator=torch.Generator().manual_seed(seed))
    pooled = rank_pooling(maps, decay)
    assert (pooled >= mean_pooling(maps) - 1e-6).all()
    assert (pooled <= max_pooling(maps) + 1e-6).all()


def test_attention_pooling_by_its_formula():
    pooling = AttentionPooling(3, 4)
    features = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0)) * 4
    x = features.numpy()
    attention, classification = (
        np.einsum("bitf,ci->bctf", x, layer.weight.detach().numpy()[:, :, 0, 0])
        + layer.bias.detach().numpy()[:, None, None]
        for layer in (pooling.attention, pooling.classification)
    )
    a = np.clip(sigmoid(attention), 0.1, 0.9)
    p = softmax(classification, axis=1)
    output = pooling(features)
    weights = a / a.sum(axis=(2, 3), keepdims=True)
    expected = sigmoid((weights * np.log(p)).sum(axis=(2, 3)))
    assert output.clip_scores.detach().numpy() == pytest.approx(expected, abs=1e-6)
    assert output.clip_scores.max() <= 0.5
    assert output.tf_maps.detach().numpy() == pytest.approx(p * a, abs=1e-6)
    assert output.frame_scores.detach().numpy() == pytest.approx((p * a).mean(axis=3).swapaxes(1, 2), abs=1e-6)
    joint = output.frequency_attention * output.time_attention.unsqueeze(3)
    assert joint.detach().numpy() == pytest.approx(weights, abs=1e-6)


@pytest.mark.parametrize("form", ["released", "paper"])
def test_two_step_attention_by_its_formula(form):
    step = TwoStepAttention(6, 5, form=form).eval()
    maps = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0)) * 3

    def one_step(z: np.ndarray, classification: torch.nn.Linear, attention: torch.nn.Linear) -> tuple:
        values, weights = (
            z @ layer.weight.detach().numpy().T + layer.bias.detach().numpy() for layer in (classification, attention)
        )
        if form == "paper":
            return values, softmax(sigmoid(weights), axis=-1)
        return sigmoid(values), softmax(weights, axis=-1)

    by_band, over_bands = one_step(maps.numpy(), step.frequency_classification, step.frequency_attention)
    by_frame = (by_band * over_bands).sum(axis=3)
    over_time, over_frames = one_step(by_frame, step.time_classification, step.time_attention)
    clip = (over_time * over_frames).sum(axis=2)
    if form == "paper":
        clip, by_frame, by_band = sigmoid(clip), sigmoid(by_frame), sigmoid(by_band)
    expected = Output(
        clip_scores=clip,
        frame_scores=by_frame.swapaxes(1, 2),
        tf_maps=by_band * over_bands / over_bands.max(axis=3, keepdims=True),
        frequency_attention=over_bands,
        time_attention=over_frames,
        raw_frame_scores=by_frame.swapaxes(1, 2),
    )
    for found, field in zip(step(maps), expected, strict=True):
        if field is not None:
            assert found.detach().numpy() == pytest.approx(field, abs=1e-6)


def test_average_counts_its_padding_and_has_the_right_gradient():
    x = torch.randn(2, 3, 7, 5, dtype=torch.float64, requires_grad=True)
    assert avg_pool3x3(torch.full((1, 1, 3, 3), 9.0))[0, 0].tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]
    along = torch.randn_like(x)
    (ours,) = torch.autograd.grad(avg_pool3x3(x), x, along)
    (torchs,) = torch.autograd.grad(F.avg_pool2d(x, 3, stride=1, padding=1), x, along)
    torch.testing.assert_close(ours, torchs)


# Direction of two-step attention


def turned(step: TwoStepAttention) -> TwoStepAttention:
    """Make the attention whose z falls where that of `step` rises, and whose clip scores are the same.

    sigmoid(-x) = 1 - sigmoid(x), so negated frequency layers give 1 - z (as logits, in the paper's form: -z), and
    W (1 - z) + b = -W z + (b + W 1).
    """
    twin = TwoStepAttention(FRAMES, N_MELS, form=step.form).eval()
    twin.load_state_dict(step.state_dict())
    with torch.no_grad():
        for weight in twin.frequency_classification.parameters():
            weight.neg_()
        for layer in (twin.time_classification, twin.time_attention):
            if step.form == "released":
                layer.bias += layer.weight.sum(dim=1)
            layer.weight.neg_()
    return twin


@pytest.mark.parametrize("form", ["released", "paper"])
def test_attention_trained_to_fall_gives_the_same_oriented_scores(form):
    rising = small("2ap", attention=form).eval()
    falling = small("2ap", attention=form).eval()
    falling.attention = turned(rising.attention)
    for network in (rising, falling):
        network.calibrate([clips(4, seed=1), clips(3, seed=2)])
    assert {rising.attention.direction.item(), falling.attention.direction.item()} == {1.0, -1.0}
    one, other = evaluate(rising), evaluate(falling)
    for field in ("clip_scores", "frame_scores", "tf_maps"):
        torch.testing.assert_close(getattr(one, field), getattr(other, field), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(one.raw_frame_scores, 1 - other.raw_frame_scores, atol=1e-5, rtol=1e-4)


def test_oriented_scores_rise_with_the_clip_scores_and_are_gated_by_them():
    network = small("2ap")
    network.calibrate([clips(4, seed=1)])
    assert network.training  # the mode is left as it was
    output = evaluate(network)
    z = output.raw_frame_scores
    turned_z = z if network.attention.direction > 0 else 1 - z
    torch.testing.assert_close(output.frame_scores, turned_z * output.clip_scores.unsqueeze(1))
    assert (output.tf_maps <= output.clip_scores[:, :, None, None] + 1e-6).all()


def test_the_direction_is_that_in_which_the_clip_scores_rise():
    network = small("2ap").eval()
    batch = clips(4, seed=1)
    network.calibrate([batch])
    step = network.attention
    with torch.no_grad():
        z = step._pool_frequency(network.class_maps(network.encoder(batch.unsqueeze(1))))[2]
        rise = step._pool_time(z + 1e-3)[0].sum() - step._pool_time(z - 1e-3)[0].sum()
    assert step.direction.item() == torch.sign(rise).item()


def test_raw_frame_scores_stay_available():
    raw = small("2ap", frame_scores="raw")
    raw.calibrate([clips(4)])
    output = evaluate(raw)
    assert torch.equal(output.frame_scores, output.raw_frame_scores)
    before = evaluate(small("2ap"))  # no direction yet
    assert torch.equal(before.frame_scores, before.raw_frame_scores)


# Options: each changes what it should and nothing else


def changed(system: str, **options) -> set[str]:
    """Name the outputs that an option changes, the weights being drawn from the same seed."""
    default, other = evaluate(small(system)), evaluate(small(system, **options))
    return {
        name
        for name, one, two in zip(Output._fields, default, other, strict=True)
        if one is not None and not torch.equal(one, two)
    }


@pytest.mark.parametrize("system", WITH_DECODER)
def test_options_of_the_decoder_change_the_reconstruction_alone(system):
    assert changed(system, decoder_output="linear") == {"reconstruction"}
    assert changed(system, decoder_input="maps") == {"reconstruction"}
    assert small(system, decoder_input="maps").state_dict()["decoder.block1.conv1.weight"].shape[1] == CLASSES


def test_without_the_last_relu_the_reconstruction_reaches_below_zero():
    # in training mode batch norm centres what the last ReLU gets
    with_relu, without = (small("2ap-aux", decoder_output=word)(clips()).reconstruction for word in ("relu", "linear"))
    assert with_relu.min() >= 0
    assert without.min() < 0
    assert (without <= with_relu + 1e-6).all()


@pytest.mark.parametrize("system", ["2ap", *WITH_DECODER])
def test_the_papers_attention_leaves_weights_and_reconstruction_as_they_are(system):
    assert changed(system, attention="paper") == set(Output._fields) - {"reconstruction"}
    released, paper = (small(system, attention=form).state_dict() for form in ("released", "paper"))
    assert released.keys() == paper.keys()
    assert all(torch.equal(released[name], paper[name]) for name in released)


def test_decay_changes_the_clip_scores_alone_and_meets_mean_and_maximum():
    assert changed("gwrp", decay=0.99) == {"clip_scores"}
    assert changed("gwrp", decay="0.9998") == set()
    mean, largest, as_mean, as_largest = (
        evaluate(network).clip_scores
        for network in (small("gap"), small("gmp"), small("gwrp", decay=1), small("gwrp", decay=1e-9))
    )
    torch.testing.assert_close(as_mean, mean)
    torch.testing.assert_close(as_largest, largest)


# Loss


def test_loss_by_hand():
    scores = torch.tensor([[0.9, 0.2]])
    reconstruction = torch.tensor([[[1.0, -1.0]]])
    output = Output(scores, scores.unsqueeze(1), reconstruction=reconstruction)
    targets, given_input = torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.0, 1.0]]])
    entropy = -(math.log(0.9) + math.log(0.8)) / 2
    assert loss(output, targets, given_input, 0.0).item() == pytest.approx(entropy)
    assert loss(output, targets, given_input, 0.1).item() == pytest.approx(entropy + 0.1 * (1 + 4) / 2)


def test_loss_is_float32_and_finite_under_autocast_with_certain_scores():
    scores = torch.tensor([[0.0, 1.0]])
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(Output(scores, scores.unsqueeze(1)), torch.tensor([[1, 1]]), torch.zeros(1, 1, 1), 0.0)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(50)  # torch limits a logarithm to -100


def test_loss_wants_a_decoder_for_alpha():
    with pytest.raises(InputError, match=r"alpha is 0\.1, but this system has no decoder"):
        loss(evaluate(small("gap")), torch.zeros(2, CLASSES), clips(), 0.1)


def test_the_list_is_complete():
    assert list_systems()[: len(SYSTEMS) + 2] == [*SYSTEMS, "crnn", "crnn-sep"]


# The first bias


@pytest.mark.parametrize(
    ("system", "other"),
    [(name, "released") for name in ("gap", "gwrp", "2ap", "2ap-aux", "atrous-2ap-aux")]
    + [("crnn", "random"), ("crnn-sep", "random")],
)
def test_with_the_prior_clip_scores_begin_at_the_mean_label(system, other):
    prior = torch.full((CLASSES,), 0.05)

    def first_scores(**options: str) -> float:
        network = small(system, **options)
        network.set_prior(prior)
        with torch.no_grad():
            return float(network.eval()(clips(8)).clip_scores.mean())

    assert first_scores(bias=other) > 0.3  # a long way from the mean label
    assert first_scores(bias="prior") == pytest.approx(0.05, abs=0.03)


def test_with_the_prior_rare_classes_begin_lower_where_each_class_has_a_bias():
    prior = torch.tensor([0.01, 0.02, 0.1, 0.2, 0.4])
    for system in ("gap", "gmp", "gwrp", "atrous-ap", "crnn"):
        network = small(system, bias="prior")
        network.set_prior(prior)
        with torch.no_grad():
            scores = network.eval()(clips(16)).clip_scores.mean(dim=0)
        assert scores[-1] > 2 * scores[0], system


@pytest.mark.parametrize("system", SYSTEMS)
def test_as_released_the_prior_changes_nothing(system):
    network, told = small(system), small(system)
    told.set_prior(torch.full((CLASSES,), 0.01))
    assert all(torch.equal(one, two) for one, two in zip(network.parameters(), told.parameters(), strict=True))


def test_scores_need_no_decoder():
    network = small("2ap-aux").eval()
    network.decoder.register_forward_hook(lambda *_: pytest.fail("the decoder was run"))
    with evaluating(network):
        scored = network(clips())
    assert scored.reconstruction is None
    assert count_cost(network, FRAMES, N_MELS).macs == count_cost(small("2ap"), FRAMES, N_MELS).macs
    network = small("2ap-aux").eval()
    with evaluating(network, reconstruct=True):
        whole = network(clips())
    assert whole.reconstruction.shape == (2, FRAMES, N_MELS)
    assert torch.equal(whole.clip_scores, scored.clip_scores)
    assert network.reconstructs
