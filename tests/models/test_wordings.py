"""Other words for the same classes: one letter away, synonyms, names of a file."""

import numpy as np
import pytest

from clip_robustness.datasets.classes import class_list
from clip_robustness.errors import InputError
from clip_robustness.models.templates import Prompts, TextTemplate
from clip_robustness.models.wordings import Asked, Wording, typo, wordings

MINI, IMAGENET = class_list("mini"), class_list("imagenet")
TEMPLATES = (TextTemplate("a {}"), TextTemplate("the {}"))


def made(kind, classes=MINI, file=None, distance=lambda name, others: [0] * len(others)):
    own = Wording("own", classes.names, Prompts("two", TEMPLATES, (0.5, 0.5)))
    return wordings(Asked(kind, file), own, classes, 0, distance)


def levenshtein(one, other):
    """By the definition, for a check that shares nothing with what is checked."""
    rows = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, rows[0] = rows[0], i
        for j, b in enumerate(other, 1):
            before, rows[j] = rows[j], min(rows[j] + 1, rows[j - 1] + 1, before + (a != b))
    return rows[-1]


@pytest.mark.parametrize("name", ["a", "cat", "sea anemone"])
def test_typos_are_one_letter_away(name):
    rng = np.random.default_rng(0)
    found = [typo(name, ("cat", "at", "cart"), rng) for _ in range(200)]
    assert {levenshtein(name, one) for one in found} == {1}
    assert not {"cat", "at", "cart"} & set(found)
    assert {len(one) - len(name) for one in found} == {-1, 0, 1} if len(name) > 1 else {0, 1}


def test_typos_are_drawn_several_times_and_from_the_seed():
    first, again = made("typos"), made("typos")
    assert first == again
    assert len({wording.names for wording in first}) == 5


def test_a_search_takes_the_typo_that_is_the_furthest():
    (found,) = made("typos-search", distance=lambda name, others: [len(other) for other in others])
    assert all(len(one) > len(name) for one, name in zip(found.names, MINI.names, strict=True))


def test_each_template_is_a_wording():
    assert [(w.name, w.prompts.templates) for w in made("templates")] == [(t.text, (t,)) for t in TEMPLATES]


def test_synonyms_are_those_of_wordnet():
    first, second, *_ = made("synonyms", IMAGENET)
    assert (first.names[0], second.names[0]) == ("tench", "Tinca tinca")


def test_synonyms_of_a_file(tmp_path):
    (tmp_path / "s.tsv").write_text(f"{MINI.keys[0]}\tplane | jet\n{MINI.keys[2]}\tpome\n")
    first, second = made("synonyms", file=tmp_path / "s.tsv")
    assert first.names[:3] == ("plane", MINI.names[1], "pome")
    assert second.names[:3] == ("jet", MINI.names[1], "pome")


def test_classes_without_synonyms_need_a_file():
    with pytest.raises(InputError, match="'mini' has no classes of ImageNet; give a file"):
        made("synonyms")


def test_other_names_are_those_of_a_file(tmp_path):
    (tmp_path / "de.tsv").write_text("".join(f"{key}\tein {key}\n" for key in MINI.keys))
    (found,) = made("names", file=tmp_path / "de.tsv")
    assert (found.name, found.names[0]) == ("de", f"ein {MINI.keys[0]}")
    with pytest.raises(InputError, match="needs a file of class names"):
        made("names")
