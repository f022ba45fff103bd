"""Checks of chapter 00. For each exercise: cases, the reference, other right answers, and the mistakes that learners make."""

import torch

from qtoolkit.check import Case, Exercise, Mistake

# ---------------------------------------------------------------- parameters and bytes


def parameters(sizes):
    count = sum(inputs * outputs + outputs for inputs, outputs in zip(sizes, sizes[1:]))
    return count, 4 * count


def size_cases(generator):
    drawn = torch.randint(2, 40, (4,), generator=generator).tolist()
    sizes = {"a single neuron": [3, 1], "one layer": [4, 2], "LeNet-300-100": [784, 300, 100, 10], "layers of equal size": [5, 5, 5], "a layer that widens": [2, 7, 3], "some network": drawn}
    return [Case(name, {"sizes": list(value)}) for name, value in sizes.items()]


def _count(one_layer, width=4):
    return lambda sizes: ((n := sum(one_layer(a, b) for a, b in zip(sizes, sizes[1:]))), width * n)


def _by_torch(sizes):
    layers = [torch.nn.Linear(a, b, device="meta") for a, b in zip(sizes, sizes[1:])]
    count = sum(p.numel() for layer in layers for p in layer.parameters())
    return count, count * 4


def _by_loop(sizes):
    count = 0
    for i in range(1, len(sizes)):
        count += (sizes[i - 1] + 1) * sizes[i]
    return count, 32 * count // 8


def _by_parts(sizes):
    weights = sum(sizes[i] * sizes[i + 1] for i in range(len(sizes) - 1))
    count = weights + sum(sizes[1:])
    return (count, count * torch.finfo(torch.float32).bits // 8)


PARAMETERS = Exercise(
    name="ch00.parameters",
    title="Parameters and bytes",
    section="three-matrices",
    hints=("A dense layer is a matrix and a vector. Count both, for every pair of neighboring sizes.",
           "A layer from a inputs to b outputs has a * b weights and one bias for each output. A float32 has 32 bits; how many bytes is that?",
           "count = sum(a * b + b for a, b in zip(sizes, sizes[1:])); return count, 4 * count."),
    cases=size_cases,
    reference=parameters,
    alternatives=(_by_torch, _by_loop, _by_parts),
    mistakes=(
        Mistake(_count(lambda a, b: a * b), "the biases are missing: each output has one."),
        Mistake(_count(lambda a, b: a * b + a), "you counted a bias for each input. A layer adds one bias to each output."),
        Mistake(_count(lambda a, b: a * b + b, 32), "your second number counts bits. A byte has 8 of them: a float32 has 4 bytes."),
        Mistake(_count(lambda a, b: a * b + b, 1), "your second number counts parameters. Each is a float32 of 4 bytes."),
        Mistake(_count(lambda a, b: a * b + b, 8), "you counted 8 bytes for each parameter: that is float64. torch stores float32."),
        Mistake(lambda sizes: ((n := sum(a * b + b for a, b in zip(sizes, sizes[1:])) + sizes[0]), 4 * n), "the input layer has no parameters: its numbers come from the picture."),
        Mistake(lambda sizes: parameters(sizes)[0], "you returned one number. Return two: the parameters and their bytes."),
        Mistake(_count(lambda a, b: a * b + 1)), Mistake(_count(lambda a, b: a + b)), Mistake(lambda sizes: parameters(sizes[::-1])), Mistake(lambda sizes: parameters(sizes[:-1])),
    ),
)

# ---------------------------------------------------------------- error


def error_percent(scores, labels):
    if len(labels) == 0:
        raise ValueError("there is no picture: the error of nothing is not a number")
    return 100 * (scores.argmax(1) != labels).double().mean().item()


def score_cases(generator):
    drawn = torch.randn(8, 10, generator=generator)
    labels = drawn.argmax(1)
    labels[:3] = (labels[:3] + torch.tensor([1, 3, 5])) % 10
    rows = {"all right": ([[0.1, 2.0], [3.0, -1.0]], [1, 0]), "one of four wrong": ([[5.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 0.0, 9.0], [1.0, 0.0, 0.0]], [0, 1, 2, 2]),
            "all wrong": ([[0.0, 1.0], [0.0, 1.0]], [0, 0]), "negative scores": ([[-5.0, -1.0], [-1.0, -5.0], [-2.0, -3.0]], [1, 0, 1])}
    cases = [Case(name, {"scores": torch.tensor(s), "labels": torch.tensor(y)}) for name, (s, y) in rows.items()]
    cases.append(Case("ten classes", {"scores": drawn, "labels": labels}))
    return [*cases, Case("no picture at all", {"scores": torch.zeros(0, 10), "labels": torch.zeros(0, dtype=torch.int64)})]


def _judge(wrong):
    def answer(scores, labels):
        if not len(labels):
            raise ValueError
        return wrong(scores, labels)
    return answer


def _rate_loop(scores, labels):
    if labels.numel() == 0:
        raise ValueError("empty")
    wrong = 0
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        wrong += row.index(max(row)) != label
    return 100 * wrong / len(labels)


def _rate_max(scores, labels):
    if scores.shape[0] < 1:
        raise ValueError("empty")
    best = scores.max(dim=-1).indices
    return 100.0 - 100.0 * int((best == labels).sum()) / labels.numel()


def _rate_sort(scores, labels):
    if not len(scores):
        raise ValueError("empty")
    order = scores.argsort(dim=1, descending=True, stable=True)[:, 0]
    return float((order != labels).sum()) * 100 / len(labels)


ERROR_PERCENT = Exercise(
    name="ch00.error_percent",
    title="Error",
    section="how-good-is-it",
    hints=("The network's answer is the class with the highest score. The error is the share of wrong answers, in percent.",
           "argmax along the axis of the classes gives one answer for each picture. Compare with the labels and average. What is the average of nothing?",
           "if len(labels) == 0: raise ValueError(...); return 100 * (scores.argmax(1) != labels).double().mean().item()."),
    cases=score_cases,
    reference=error_percent,
    alternatives=(_rate_loop, _rate_max, _rate_sort),
    tolerance=1e-6,
    mistakes=(
        Mistake(_judge(lambda s, y: 100 * (s.argmax(1) == y).double().mean().item()), "this is the accuracy, the share of right answers. The error is the share of wrong ones."),
        Mistake(_judge(lambda s, y: (s.argmax(1) != y).double().mean().item()), "this is a fraction between 0 and 1. Return percent."),
        Mistake(_judge(lambda s, y: float((s.argmax(1) != y).sum())), "this is the number of wrong answers. Divide by the number of pictures."),
        Mistake(_judge(lambda s, y: 100 * (s.argmin(1) != y).double().mean().item()), "you took the class with the lowest score. The answer is the highest."),
        Mistake(_judge(lambda s, y: 100 * (s.abs().argmax(1) != y).double().mean().item()), "you ignored the sign of the scores: -5 is lower than -1."),
        Mistake(_judge(lambda s, y: 100 * float((s.argmax(1) != y).sum()) / s.shape[1]), "you divided by the number of classes. Divide by the number of pictures."),
        Mistake(lambda scores, labels: error_percent(scores, labels) if len(labels) else 0.0, "for no picture at all you return a number. An error of nothing hides a mistake: raise a ValueError."),
        Mistake(_judge(lambda s, y: 100 * float((s.argmax(1) != y).sum()) / (len(y) + 1))), Mistake(_judge(lambda s, y: 100 * (s.argmax(1)[1:] != y[1:]).double().mean().item())),
        Mistake(_judge(lambda s, y: 100 * (s.argmax(1) - y).double().mean().item())),
    ),
)

EXERCISES = [PARAMETERS, ERROR_PERCENT]
