"""Equalized neighbors: the function is kept, the ranges are equal, torch finds the same weights, and what stops a factor is left alone."""

import copy

import pytest
import torch
from torch import nn

from qtoolkit import lab
from qtoolkit.posttraining import absorb_high_bias, equalization_factors, equalize
from qtoolkit.quantizers import Affine, PerTensor, Scheme


def _lopsided(*layers: nn.Module, seed: int = 0) -> nn.Sequential:
    """Layers whose output channels have very different ranges."""
    torch.manual_seed(seed)
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        for layer in (module for module in model.modules() if isinstance(module, (nn.Linear, nn.Conv2d))):
            layer.reset_parameters()
            layer.weight *= torch.logspace(-2, 1, len(layer.weight))[torch.randperm(len(layer.weight))].view(-1, *[1] * (layer.weight.dim() - 1))
    return model.eval()


def _convolutions(**options) -> nn.Sequential:
    """A convolution, a depthwise one, one in groups, and a linear layer behind a flattened image."""
    return _lopsided(nn.Conv2d(3, 8, 3, **options), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.LeakyReLU(0.1), nn.MaxPool2d(2),
                     nn.Conv2d(8, 6, 1, groups=2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6 * 4, 5))


MODELS = {"linear": (lambda: _lopsided(nn.Linear(20, 30), nn.ReLU(), nn.Dropout(0.5), nn.Linear(30, 10, bias=False), nn.PReLU(), nn.Linear(10, 4)), (7, 20)),
          "convolutions": (_convolutions, (2, 3, 14, 14)), "no bias": (lambda: _convolutions(bias=False), (2, 3, 14, 14)),
          "nested": (lambda: nn.Sequential(_convolutions()[:3], nn.ReLU()).double().eval(), (2, 3, 14, 14))}


@pytest.mark.parametrize("name", MODELS)
def test_the_function_is_kept_and_the_model_untouched(name):
    make, shape = MODELS[name]
    model = make()
    before, x = copy.deepcopy(model.state_dict()), torch.randn(shape, dtype=torch.float64)
    equal = equalize(model)
    torch.testing.assert_close(equal(x), model(x), rtol=1e-9, atol=1e-12)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert any(not torch.equal(tensor, before[key]) for key, tensor in equal.state_dict().items())


def _ranges(first: nn.Module, second: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """What writes each channel and what reads it, one channel after the other."""
    channels, groups = len(first.weight), getattr(second, "groups", 1)
    share = second.weight.shape[1] // (channels // groups)
    written = torch.stack([first.weight[i].abs().max() for i in range(channels)])
    read = torch.stack([second.weight.chunk(groups)[i * groups // channels][:, i % (channels // groups) * share :][:, :share].abs().max()
                        for i in range(channels)])
    return written, read


def test_ranges_are_equal_in_every_channel():
    layers = [layer for layer in equalize(_convolutions()) if isinstance(layer, (nn.Conv2d, nn.Linear))]
    for first, second in zip(layers, layers[1:]):
        torch.testing.assert_close(*_ranges(first, second), rtol=1e-3, atol=0)
    unequal = [layer for layer in _convolutions() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert not torch.allclose(*_ranges(*unequal[:2]), rtol=0.5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layers", [lambda: (nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4)), lambda: (nn.Conv2d(3, 9, 3), nn.ReLU(), nn.Conv2d(9, 4, 3))])
def test_a_pair_equals_torch_cross_layer_equalization(layers):
    """torch takes the distance from the smallest to the largest weight; where each has its mirror image, that is twice ours on both sides."""
    from torch.ao.quantization._equalize import cross_layer_equalization

    model = _lopsided(*layers())
    with torch.no_grad():
        for layer, axis in ((model[0], 1), (model[2], 0)):
            layer.weight = nn.Parameter(torch.cat([layer.weight, -layer.weight], axis))
        model[2].bias = nn.Parameter(torch.zeros(8).double())
    equal, theirs = equalize(model), copy.deepcopy(model)
    cross_layer_equalization(theirs[0], theirs[2])
    for ours, other in zip(equal[::2], theirs[::2]):
        torch.testing.assert_close(ours.weight, other.weight)
        torch.testing.assert_close(ours.bias, other.bias)


def test_one_scale_for_a_tensor_is_enough_afterwards():
    """The reason for all this: the output error at 4 bits with one scale a tensor falls (by half here)."""
    model, x = _lopsided(nn.Linear(40, 60), nn.ReLU(), nn.Linear(60, 10)), torch.randn(200, 40, dtype=torch.float64)

    def error(network: nn.Sequential) -> float:
        rounded = copy.deepcopy(network)
        with torch.no_grad():
            for layer in rounded[::2]:
                layer.weight.copy_(Affine.fit(layer.weight, Scheme(bits=4, granularity=PerTensor())).fake(layer.weight))
        return (rounded(x) - model(x)).square().mean().item()

    assert error(equalize(model)) < 0.7 * error(model)


def test_a_channel_that_carries_nothing_keeps_its_weights():
    model = _lopsided(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].weight[1], model[2].weight[:, 2] = 0, 0
    equal = equalize(model)
    assert torch.equal(equal[2].weight[:, 1], model[2].weight[:, 1]) and torch.equal(equal[0].weight[2], model[0].weight[2])
    assert all(tensor.isfinite().all() for tensor in equal.state_dict().values())


@pytest.mark.parametrize("between", [nn.GELU(), nn.ReLU6(), nn.Sigmoid(), nn.BatchNorm1d(6)])
def test_what_does_not_let_a_factor_pass_is_left_alone(between):
    model = _lopsided(nn.Linear(5, 6), between, nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 3))
    equal = equalize(model)
    assert torch.equal(equal[0].weight, model[0].weight) and not torch.equal(equal[4].weight, model[4].weight)
    with pytest.raises(ValueError, match="no two layers of the model are neighbors"):
        equalize(model[:3])


def test_layers_that_are_not_neighbors_channel_by_channel_are_left_alone():
    """A Linear behind a convolution without Flatten reads columns, and behind a Linear with Flatten it reads rows first."""
    for layers in ((nn.Conv2d(3, 4, 1), nn.Linear(4, 2)), (nn.Linear(5, 4), nn.Flatten(), nn.Linear(12, 2)),
                   (nn.Conv2d(3, 4, 1), nn.Flatten(2), nn.Linear(4, 2))):
        with pytest.raises(ValueError, match="no two layers"):
            equalize(_lopsided(*layers))


def test_what_cannot_be_equalized_is_named():
    with pytest.raises(TypeError, match="Linear, expected an nn.Sequential"):
        equalize(nn.Linear(2, 2))
    shared = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="uses a layer twice"):
        equalize(nn.Sequential(shared, nn.ReLU(), shared))
    with pytest.raises(ValueError, match="second has shape"):
        equalization_factors(torch.ones(3), torch.ones(2))
    with pytest.raises(ValueError, match="smallest value -1"):
        equalization_factors(-torch.ones(3), torch.ones(3))


def test_what_the_relu_never_touches_moves_on_and_the_function_stays():
    """Outputs that are at least c above 0: exact. The activations between are smaller by c."""
    first, second = nn.Linear(10, 6).double(), nn.Linear(6, 3).double()
    x = torch.rand(1000, 10, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        first.bias.copy_(torch.tensor([9.0, 9.0, 9.0, 0.0, -3.0, 9.0]))
    hidden = first(x).detach()
    moved_first, moved_second = copy.deepcopy(first), copy.deepcopy(second)
    b1, b2 = absorb_high_bias(first, second, hidden.mean(0), hidden.std(0), sigmas=4)
    with torch.no_grad():
        moved_first.bias.copy_(b1), moved_second.bias.copy_(b2)
    high = torch.tensor([True, True, True, False, False, True])
    assert (hidden.amin(0)[high] > (first.bias - b1)[high]).all() and torch.equal(b1[~high], first.bias[~high])
    torch.testing.assert_close(moved_second(moved_first(x).relu()), second(hidden.relu()))
    assert (moved_first(x).amax(0) < 0.5 * hidden.amax(0))[high].all()


@pytest.mark.parametrize("second, flat", [(nn.Conv2d(4, 6, 3, groups=2), False), (nn.Linear(4 * 25, 6), True)])
def test_high_biases_move_into_convolutions_and_behind_a_flatten(second, flat):
    first, second, x = nn.Conv2d(2, 4, 1).double(), second.double(), torch.rand(3, 2, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        first.bias.fill_(10)
    hidden, turn = first(x).detach(), (lambda image: image.flatten(1) if flat else image)
    moved_first, moved_second = copy.deepcopy(first), copy.deepcopy(second)
    b1, b2 = absorb_high_bias(first, second, hidden.mean((0, 2, 3)), hidden.std((0, 2, 3)))
    with torch.no_grad():
        moved_first.bias.copy_(b1), moved_second.bias.copy_(b2)
    assert (b1 < 5).all()
    torch.testing.assert_close(moved_second(turn(moved_first(x).relu())), second(turn(hidden.relu())))


def test_biases_that_cannot_move_are_named():
    layer, ones = nn.Linear(3, 2), torch.ones(2)
    with pytest.raises(TypeError, match="ReLU, expected Linear or Conv2d"):
        absorb_high_bias(layer, nn.ReLU(), ones, ones)
    with pytest.raises(TypeError, match="the first with a bias"):
        absorb_high_bias(nn.Linear(3, 2, bias=False), layer, ones, ones)
    with pytest.raises(ValueError, match=r"std has shape \(3,\), expected \(2,\)"):
        absorb_high_bias(layer, nn.Linear(2, 2), ones, torch.ones(3))
    with pytest.raises(ValueError, match="2 outputs do not divide the 3 inputs"):
        absorb_high_bias(layer, layer, ones, ones)


def test_without_any_data_an_unbalanced_network_works_again():
    """LeNet-300-100 with its channels rescaled at random: the same function, but at 4 bits with one scale a tensor it fails.
    Equalization finds the way back without an image (data-free quantization, zero-shot level 1)."""
    model, test = copy.deepcopy(lab.trained("lenet-300-100")).eval(), lab.mnist("test")[:2000]
    unbalanced, dice = copy.deepcopy(model), torch.Generator().manual_seed(0)
    layers = [layer for layer in unbalanced if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for first, second in zip(layers, layers[1:]):
            factors = torch.exp(2 * torch.randn(len(first.weight), generator=dice))
            first.weight *= factors[:, None]
            first.bias *= factors
            second.weight /= factors

    def accuracy(network: nn.Sequential, bits: int | None = None) -> float:
        network = copy.deepcopy(network)
        for layer in (layer for layer in network if isinstance(layer, nn.Linear) and bits):
            layer.weight.data = Affine.fit(layer.weight.data, Scheme(bits=bits)).fake(layer.weight.data)
        with torch.no_grad():
            return (network(test.inputs()).argmax(1) == test.labels).float().mean().item()

    assert accuracy(unbalanced) == pytest.approx(accuracy(model), abs=2e-3)
    assert accuracy(unbalanced, 4) < accuracy(model, 4) - 0.1
    assert accuracy(equalize(unbalanced), 4) > accuracy(model, 4) - 0.01
