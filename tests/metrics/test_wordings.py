"""The worst of several wordings, chosen on one half of the images and judged by the other."""

import numpy as np

from clip_robustness.metrics.groups import halves
from clip_robustness.metrics.outcomes import Outcomes
from clip_robustness.metrics.wordings import worst_wording


def outcomes(columns):
    n = len(columns[0])
    labels, answers = np.zeros(n, int), [np.where(c, 0, 1) for c in columns]
    measures = {f"wording {i}": a.astype(float) for i, a in enumerate(answers)}
    ids = tuple(str(i) for i in range(n))
    return Outcomes(ids, labels, answers[0], columns[0], measures=measures if len(columns) > 1 else {})


def test_what_chooses_is_not_what_judges():
    """The second is the worst on the half that chooses, and the best on the other."""
    first = halves([str(i) for i in range(40)], np.zeros(40, int), None)
    found = worst_wording(outcomes([np.ones(40, bool), ~first]), [(0,)] * 40, ["good", "odd"])
    assert found.ids == tuple(str(i) for i in range(40) if not first[i])
    assert found.correct.all()
    assert found.measures["best"].all()
    assert "20 of 40 images count: of 2 wordings the worst is 'odd' and the best 'good'" in found.notes[0]


def test_any_accepted_label_is_right():
    answers = outcomes([np.zeros(40, bool), np.zeros(40, bool)])
    assert worst_wording(answers, [(0, 1)] * 40, "ab").correct.all()


def test_without_images_that_judge_nothing_is_chosen():
    alone = outcomes([np.ones(1, bool), np.zeros(1, bool)])
    assert worst_wording(alone, [(0,)], "ab") is alone


def test_one_wording_needs_no_choice():
    alone = outcomes([np.ones(8, bool)])
    assert worst_wording(alone, [(0,)] * 8, ["one"]) is alone
