"""Training for compression: distorted copies, a teacher's answers, and what is done after every step."""

import math

import pytest
import torch
from torch import nn

from qtoolkit.compression import GradualPruning
from qtoolkit.lab.augment import STRONG, WEAK, Augmentation, augmented
from qtoolkit.lab.retrain import Pool, answers, distillation_loss, held, pool_of, retrain, steps_of


def dots(count: int = 40) -> torch.Tensor:
    """Images with one bright square each, somewhere near the middle."""
    images = torch.zeros(count, 28, 28, dtype=torch.uint8)
    for index in range(count):
        row, column = 9 + index % 5, 9 + index % 7
        images[index, row:row + 6, column:column + 6] = 255
    return images


def test_no_distortion_is_the_image_itself():
    assert torch.equal(augmented(dots(), Augmentation(0, 0, 0, 0, 0), seed=0), dots())


def test_a_shift_moves_the_center_by_no_more_than_asked():
    moved = augmented(dots(), Augmentation(0, 0, 0, 2.0, 0), seed=1)

    def centers(images):
        weight = images.double()
        place = torch.arange(28.0, dtype=torch.float64)
        return torch.stack([(weight.sum(axis) * place).sum(1) / weight.sum((1, 2)) for axis in (1, 2)], 1)

    distance = (centers(moved) - centers(dots())).abs()
    assert distance.max() <= 2.01 and distance.max() > 1.5


def test_a_rotation_keeps_the_distance_from_the_middle():
    image = torch.zeros(30, 28, 28, dtype=torch.uint8)
    image[:, 4:6, 13:15] = 255                                    # 9 pixels above the middle
    turned = augmented(image, Augmentation(40, 0, 0, 0, 0), seed=2).double()
    place = torch.arange(28.0, dtype=torch.float64) - 13.5
    y, x = (turned.sum(2) * place).sum(1) / turned.sum((1, 2)), (turned.sum(1) * place).sum(1) / turned.sum((1, 2))
    torch.testing.assert_close(torch.hypot(x, y), torch.full((30,), 9.0, dtype=torch.float64), rtol=0, atol=0.15)
    assert (torch.atan2(x, -y).abs() * 180 / math.pi).max() <= 41


def test_copies_differ_and_repeat_with_the_seed():
    once, again, other = (augmented(dots(), STRONG, seed) for seed in (0, 0, 1))
    assert torch.equal(once, again) and not torch.equal(once, other) and once.dtype == torch.uint8
    assert (augmented(dots(), WEAK, 0).int() - dots().int()).abs().sum() < (once.int() - dots().int()).abs().sum()


def test_an_epoch_reads_one_copy():
    pool = Pool(torch.stack([torch.full((3, 2, 2), value, dtype=torch.uint8) for value in (0, 255)]), torch.tensor([0, 1, 2]))
    inputs, labels, teacher = pool.batch(epoch=3, rows=torch.tensor([2, 0]))
    assert inputs.shape == (2, 1, 2, 2) and inputs.min() == 1 and labels.tolist() == [2, 0] and teacher is None


def test_answers_are_the_mean_of_the_teachers():
    teachers = [nn.Sequential(nn.Flatten(), nn.Linear(784, 10)) for _ in range(2)]
    pool = pool_of(dots(), torch.zeros(40, dtype=torch.long), WEAK, copies=2)
    got = answers(teachers, pool, batch_size=7)
    x = pool.images[1].unsqueeze(1).float() / 255
    torch.testing.assert_close(got[1], (teachers[0](x) + teachers[1](x)).detach() / 2)


def test_the_loss_is_the_equation():
    logits, teacher, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([0])
    hard = -math.log(math.exp(2) / (math.exp(2) + 1))
    p, q = [math.exp(v / 2) / (1 + math.exp(0.5)) for v in (0, 1)], [math.exp(v / 2) / (1 + math.exp(1)) for v in (2, 0)]
    soft = sum(a * math.log(a / b) for a, b in zip(p, q))
    assert distillation_loss(logits, labels, teacher).item() == pytest.approx(0.1 * hard + 0.9 * 4 * soft)
    assert distillation_loss(logits, labels, None).item() == pytest.approx(hard)


def test_the_rate_rises_holds_and_falls():
    rates = [held(step, 1000) for step in range(1000)]
    assert rates[0] == 1 / 50 and rates[49:500] == [1.0] * 451 and rates[999] < 1e-4
    assert all(a >= b for a, b in zip(rates[500:], rates[501:])) and rates[750] == pytest.approx(0.5)


def test_training_reaches_its_density_and_repeats():
    def trained():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.ReLU(), nn.Linear(20, 5))
        pool = pool_of(dots(), torch.arange(40) % 5, None)
        schedule = GradualPruning(model, 0.1, stop=steps_of(pool, 30, 8) // 2, every=4)
        return retrain(model, pool, epochs=30, lr=1e-2, seed=5, batch_size=8, after_step=schedule.step), schedule

    (one, schedule), (other, _) = trained(), trained()
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))
    assert schedule.masks.density() == pytest.approx(0.1, abs=0.01) and not one.training
    x = dots().unsqueeze(1).float() / 255
    assert (one(x).argmax(1) == torch.arange(40) % 5).float().mean() > 0.9


def test_a_loss_that_blows_up_is_said():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 5))
    with pytest.raises(ArithmeticError, match="smaller learning rate"):
        retrain(model, pool_of(dots(), torch.arange(40) % 5, None), epochs=2, lr=float("inf"), seed=0, batch_size=8)
