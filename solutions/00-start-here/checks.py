"""Checks of chapter 00. For each exercise: cases, the reference, other right answers, and the mistakes that learners make.

`cases(generator)` draws the calls: seed 0 gives the visible ones, other seeds the hidden ones. The name of a case is what a
learner reads when it fails. A Mistake is a wrong answer, as learners type it, and the hint that names it; one without a hint
is made by machine and only has to be caught. `qt verify` proves all of it.
"""

import torch

from qtoolkit.check import Case, Exercise, Mistake

# ---------------------------------------------------------------- parameters and bytes


def parameters(sizes):
    count = sum(inputs * outputs + outputs for inputs, outputs in zip(sizes, sizes[1:]))
    return count, 4 * count


def size_cases(generator):
    a, b, c, d = torch.randint(2, 40, (4,), generator=generator).tolist()
    sizes = {
        "a single neuron": [3, 1],
        "one layer": [a + 2, a],
        "LeNet-300-100": [784, 300, 100, 10],
        "layers of equal size": [b, b, b],
        "a layer that widens": [2, c + 3, 3],
        "some network": [a, b, c, d],
    }
    return [Case(name, {"sizes": value}) for name, value in sizes.items()]


def _count(one_layer, width=4):
    """A family of answers: how many parameters a layer has, and how many bytes each."""
    def answer(sizes):
        count = sum(one_layer(a, b) for a, b in zip(sizes, sizes[1:]))
        return count, width * count
    return answer


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
    return count, count * torch.finfo(torch.float32).bits // 8


def _bias_of_the_picture(sizes):
    count = parameters(sizes)[0] + sizes[0]
    return count, 4 * count


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
        Mistake(_count(lambda a, b: a * b + 1), "you counted one bias for the whole layer. Each output has its own."),
        Mistake(_count(lambda a, b: a * b + b, 32), "your second number counts bits. A byte has 8 of them: a float32 has 4 bytes."),
        Mistake(_count(lambda a, b: a * b + b, 1), "your second number counts parameters. Each is a float32 of 4 bytes."),
        Mistake(_count(lambda a, b: a * b + b, 8), "you counted 8 bytes for each parameter: that is float64. torch stores float32."),
        Mistake(_bias_of_the_picture, "the input has no parameters of its own: its numbers come from the picture."),
        Mistake(lambda sizes: parameters(sizes)[0], "you returned one number. Return two: the parameters and their bytes."),
        Mistake(lambda sizes: parameters(sizes[:-1]), "the last layer is missing: n sizes make n - 1 layers."),
        Mistake(_count(lambda a, b: a + b)),
        Mistake(lambda sizes: parameters(sizes[::-1])),
        Mistake(lambda sizes: parameters(sizes[1:])),
        Mistake(lambda sizes: parameters(sizes)[::-1]),
    ),
)

# ---------------------------------------------------------------- error


def error_percent(scores, labels):
    if len(labels) == 0:
        raise ValueError("there is no picture: the error of nothing is not a number")
    return 100 * (scores.argmax(1) != labels).double().mean().item()


def score_cases(generator):
    def drawn(pictures, classes, wrong):
        scores = torch.randint(-40, 40, (pictures, classes), generator=generator) / 4 + torch.arange(classes) / 64  # no ties
        labels = scores.argmax(1)
        labels[:wrong] = (labels[:wrong] + 1) % classes
        return {"scores": scores, "labels": labels}

    return [
        Case("all right", drawn(3, 2, 0)),
        Case("one of four wrong", drawn(4, 3, 1)),
        Case("all wrong", drawn(2, 2, 2)),
        Case("negative scores", {"scores": -drawn(4, 3, 0)["scores"].abs() - 1, "labels": torch.tensor([0, 1, 2, 0])}),
        Case("a tie goes to the lower class", {"scores": torch.tensor([[1.0, 1, 0], [0, 2, 2], [3, 0, 0]]), "labels": torch.tensor([0, 1, 1])}),
        Case("ten classes", drawn(8, 10, 3)),
        Case("no picture at all", {"scores": torch.zeros(0, 10), "labels": torch.zeros(0, dtype=torch.int64)}),
    ]


def _refusing(wrong):
    """A wrong answer that treats the empty batch right."""
    def answer(scores, labels):
        if not len(labels):
            raise ValueError("no picture")
        return wrong(scores, labels)
    return answer


def _error_by_loop(scores, labels):
    if labels.numel() == 0:
        raise ValueError("empty")
    wrong = 0
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        wrong += row.index(max(row)) != label
    return 100 * wrong / len(labels)


def _error_by_max(scores, labels):
    if scores.shape[0] < 1:
        raise ValueError("empty")
    best = scores.max(dim=-1).indices
    return 100.0 - 100.0 * int((best == labels).sum()) / labels.numel()


def _error_by_sort(scores, labels):
    if not len(scores):
        raise ValueError("empty")
    order = scores.argsort(dim=1, descending=True, stable=True)[:, 0]
    return float((order != labels).sum()) * 100 / len(labels)


ERROR_PERCENT = Exercise(
    name="ch00.error_percent",
    title="Error",
    section="how-good-is-it",
    hints=("The network's answer is the class with the highest score. The error is the share of wrong answers, in percent.",
           "argmax along the axis of the classes gives one answer for each picture. Compare with the labels and average. "
           "What is the average of nothing?",
           "if len(labels) == 0: raise ValueError(...); return 100 * (scores.argmax(1) != labels).double().mean().item()."),
    cases=score_cases,
    reference=error_percent,
    alternatives=(_error_by_loop, _error_by_max, _error_by_sort),
    tolerance=1e-6,
    mistakes=(
        Mistake(_refusing(lambda s, y: 100 * (s.argmax(1) == y).double().mean().item()),
                "this is the accuracy, the share of right answers. The error is the share of wrong ones."),
        Mistake(_refusing(lambda s, y: (s.argmax(1) != y).double().mean().item()), "this is a fraction between 0 and 1. Return percent."),
        Mistake(_refusing(lambda s, y: float((s.argmax(1) != y).sum())),
                "this is the number of wrong answers. Divide by the number of pictures."),
        Mistake(_refusing(lambda s, y: 100 * (s.argmin(1) != y).double().mean().item()),
                "you took the class with the lowest score. The answer is the highest."),
        Mistake(_refusing(lambda s, y: 100 * (s.abs().argmax(1) != y).double().mean().item()),
                "you ignored the sign of the scores: -5 is lower than -1."),
        Mistake(_refusing(lambda s, y: 100 * float((s.argmax(1) != y).sum()) / s.shape[1]),
                "you divided by the number of classes. Divide by the number of pictures."),
        Mistake(_refusing(lambda s, y: 100 * (s.shape[1] - 1 - s.flip(1).argmax(1) != y).double().mean().item()),
                "in a tie you took the highest of the equal classes. Take the lowest, as argmax does."),
        Mistake(lambda scores, labels: 100 * (scores.argmax(1) != labels).double().mean().item(),
                "for no picture at all you return NaN, which would spread silently. Refuse: raise a ValueError."),
        Mistake(lambda scores, labels: error_percent(scores, labels) if len(labels) else 0.0,
                "for no picture at all you return a number. An error of nothing hides a mistake: raise a ValueError."),
        Mistake(lambda scores, labels: 100 * int((scores.argmax(1) != labels).sum()) / len(labels),
                "for no picture at all you divide by 0. Say what is wrong before that: raise a ValueError."),
        Mistake(_refusing(lambda s, y: 100 * float((s.argmax(1) != y).sum()) / (len(y) + 1))),
        Mistake(_refusing(lambda s, y: 100 * (s.argmax(1)[1:] != y[1:]).double().mean().item())),
        Mistake(_refusing(lambda s, y: 100 * (s.argmax(1) - y).double().mean().item())),
    ),
)

EXERCISES = [PARAMETERS, ERROR_PERCENT]
