"""Folded batch norms: against torch's own fusion, and the cases that must be refused."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from qtoolkit.posttraining import fold_batch_norms


def _lived_in(norm: nn.Module, seed: int = 0) -> nn.Module:
    """A batch norm whose statistics and parameters are not the initial ones."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
        tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return norm


def _network(groups: int = 1, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(4, 8, 3, groups=groups, bias=bias), _lived_in(nn.BatchNorm2d(8, eps=1e-3)), nn.ReLU()).eval()


@pytest.mark.parametrize("groups, bias", [(1, True), (1, False), (4, False)])
def test_a_folded_convolution_equals_torch_fusion(groups, bias):
    model = _network(groups, bias)
    folded, fused = fold_batch_norms(model), fuse_conv_bn_eval(copy.deepcopy(model[0]), model[1])
    torch.testing.assert_close(folded[0].weight, fused.weight)
    torch.testing.assert_close(folded[0].bias, fused.bias)
    assert type(folded[1]) is nn.Identity


def test_a_folded_linear_equals_torch_fusion():
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(5, 6), _lived_in(nn.BatchNorm1d(6))).eval()
    folded, fused = fold_batch_norms(model), fuse_linear_bn_eval(copy.deepcopy(model[0]), model[1])
    torch.testing.assert_close(folded[0].weight, fused.weight)
    torch.testing.assert_close(folded[0].bias, fused.bias)


def test_the_function_is_kept_and_the_model_untouched():
    inner = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(8, 8, 3, bias=False), _lived_in(nn.BatchNorm2d(8), 3))
    model = nn.Sequential(*_network(), inner).eval()
    before, x = {name: tensor.clone() for name, tensor in model.state_dict().items()}, torch.randn(2, 4, 9, 9)
    folded = fold_batch_norms(model)
    torch.testing.assert_close(folded(x), model(x))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)] == []


def test_a_batch_norm_without_parameters_is_folded():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, affine=False)).eval()
    model[1].running_var.fill_(4.0)
    x = torch.randn(1, 1, 3, 3)
    torch.testing.assert_close(fold_batch_norms(model)(x), model(x))


class Branch(nn.Module):
    """conv and norm side by side in a module that is no Sequential: who says that one feeds the other?"""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)

    def forward(self, x):
        y = self.conv(x)
        return y + self.norm(y)


def _shared() -> nn.Sequential:
    conv = nn.Conv2d(2, 2, 1)
    return nn.Sequential(conv, nn.BatchNorm2d(2), conv, nn.ReLU())


@pytest.mark.parametrize("model, complaint", [
    (Branch(), "must directly follow"),
    (_shared(), "used in several places"),
    (nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)), "must directly follow"),
    (nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.BatchNorm2d(2)), "must directly follow"),
    (nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)), "no running statistics"),
])
def test_what_cannot_be_folded_is_refused_by_name(model, complaint):
    with pytest.raises(ValueError, match=complaint):
        fold_batch_norms(model.eval())


def test_training_mode_and_other_things_are_refused():
    with pytest.raises(ValueError, match="model.eval"):
        fold_batch_norms(_network().train())
    with pytest.raises(TypeError, match="torch.nn.Module"):
        fold_batch_norms({"weight": torch.ones(2)})
