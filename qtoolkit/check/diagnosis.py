"""Which known mistake gives these numbers? Asked of the values alone: no code is compared, and none is in the key."""

from dataclasses import dataclass

from qtoolkit.check.values import AS_EXPECTED, AnyWrong, Raises, decode, difference, numbers

TYPES_ONLY = "the numbers are right; only their type is not the one that was asked for."

NOTHING = "your function returns nothing: it must end with a return."


@dataclass(frozen=True)
class _Known:
    """A mistake of the key, with what it gives in each case."""

    hint: str
    section: str
    outcomes: list


def diagnose(key: dict, got: list, faults: list[str | None]) -> tuple[str, str] | None:
    """The hint and section for the values `got` of an answer, whose faults are known (None: right); None without a diagnosis.

    First a mistake that gives the same values on all cases; then right numbers of a wrong type; then a mistake with the same
    numbers in another type; at last the one that explains most of the failing cases, for two mistakes at once.
    """
    expected = [decode(case["expected"]) for case in key["cases"]]
    known = [_Known(mistake["hint"], mistake["section"], [right if value == AS_EXPECTED else decode(value) for value, right in zip(mistake["outcomes"], expected)])
             for mistake in key["mistakes"]]
    tolerance = max(key["tolerance"], 1e-5)
    bare = [_bare(value) for value in got]
    if all(value is None for value in got):
        return NOTHING, ""
    if match := next((mistake for mistake in known if _agree(mistake.outcomes, got, faults, tolerance)), None):
        return match.hint, match.section
    if _agree([_bare(value) for value in expected], bare, faults, tolerance):
        return TYPES_ONLY, ""
    for mistake in known:
        if _agree([_bare(value) for value in mistake.outcomes], bare, faults, tolerance):
            return mistake.hint, mistake.section
    return _explains_most(known, expected, bare, faults, tolerance)


def _agree(wants: list, got: list, faults: list[str | None], tolerance: float) -> bool:
    """Whether the values are the wanted ones in every case; AnyWrong wants a fault."""
    if len(wants) != len(got):
        return False
    return all(fault is not None if isinstance(want, AnyWrong) else difference(want, value, tolerance) is None
               for want, value, fault in zip(wants, got, faults))


def _explains_most(known: list[_Known], expected: list, got: list, faults: list[str | None], tolerance: float) -> tuple[str, str] | None:
    """The one mistake that gives the wrong numbers of the first failing case, the one that is shown, or else of most others."""
    failing = [i for i, fault in enumerate(faults) if fault is not None]

    def explains(mistake: _Known, i: int) -> bool:
        want = mistake.outcomes[i]
        return (not isinstance(want, (AnyWrong, Raises)) and difference(_bare(want), got[i], tolerance) is None
                and difference(_bare(want), _bare(expected[i]), tolerance) is not None)

    explained = [[i for i in failing if explains(mistake, i)] for mistake in known]
    weights = [(failing[0] in cases, len(cases)) for cases in explained]
    best = [i for i, weight in enumerate(weights) if explained[i] and weight == max(weights)]
    if len(best) != 1:
        return None
    hint = f"{len(explained[best[0]])} of your {len(failing)} failing cases look like this: {known[best[0]].hint}"
    return hint, known[best[0]].section


def _bare(value):
    """Its numbers alone; None for a value that breaks when it is looked at."""
    try:
        return numbers(value)
    except Exception:
        return None
