"""What labels mean: numbers, names, keys and synsets, in every order and spelling that sources have them in."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_robustness.datasets.classes import ClassList, class_list
from clip_robustness.datasets.imagenet import words
from clip_robustness.datasets.label_space import class_space, own_space
from clip_robustness.datasets.labels import naming, understood
from clip_robustness.models import InputError

IMAGENET, MINI = class_list("imagenet"), class_list("mini")
OWN = ClassList("own", tuple(f"k{i}" for i in range(5)), ("zebra", "dog", "cat", "cow", "ant"))
NUMBERED = ClassList("numbered", tuple("12345"), ("one", "two", "three", "four", "five"))
WORDS = tuple(words().values())
FIRST_WORDS = tuple(words.split(",")[0] for words in WORDS)
AS_TEXT = tuple(sorted(map(str, range(1000))))
"""What an imagefolder builder calls its classes: '0', '1', '10', '100', '101', ..."""
AS_TEXT_IN_ORDER = tuple(map(str, range(1000)))
BY_NAME = ClassList("by name", ("goldfish", "great white shark", "tench"), ("goldfish", "great white shark", "tench"))
"""ImageNet's classes 1, 2 and 0."""
SOME = ClassList("some", ("n03126707", "n01440764", "n01443537"), ("construction crane", "tench", "goldfish"))
"""ImageNet's classes 517, 0 and 1."""


def meaning(labels, classes=OWN, names=(), data="imagenet"):
    space = class_space(data, classes)
    return understood("place", labels, naming(data, space, classes), names)


def means(*args, **options):
    return dict(meaning(*args, **options).label_of)


@pytest.mark.parametrize(
    ("labels", "options", "expected"),
    [
        # names in another order than the models' logits: by name, by key, in other spelling
        ([0, 1, 2], {"names": ("ant", "cat", "cow", "dog", "zebra")}, {0: 4, 1: 2, 2: 3}),
        ([0, 1], {"names": ("k4", "k0", "k1", "k2", "k3")}, {0: 4, 1: 0}),
        ([0, 1], {"names": ("Cow", "ANT")}, {0: 3, 1: 4}),
        # more names than classes, and a class that no name stands for
        ([1, 5], {"names": ("background", *OWN.names)}, {1: 0, 5: 4}),
        # decimal names are numbers
        ([2, 3], {"classes": IMAGENET, "names": AS_TEXT}, {2: 10, 3: 100}),
        ([0, 4], {"names": ("4", "3", "2", "1", "0")}, {0: 4, 4: 0}),
        # and keys, where the keys are numbers
        ([0, 1], {"classes": NUMBERED, "names": ("5", "1", "2", "3", "4")}, {0: 4, 1: 0}),
        # names that call the numbers what they are, as a library gives them, say nothing
        ([0, 4], {"classes": NUMBERED, "names": tuple("01234")}, {0: 0, 4: 4}),
        # texts
        (["ant", "zebra", "k1", "Cat"], {}, {"ant": 4, "zebra": 0, "k1": 1, "Cat": 2}),
        (["0", "4"], {}, {"0": 0, "4": 4}),
        (["1", "4"], {"classes": NUMBERED}, {"1": 0, "4": 3}),
        (["004", "5"], {"classes": NUMBERED}, {"004": 3, "5": 4}),
        # bare numbers: places, or keys where they can only be keys
        ([0, 3], {}, {0: 0, 3: 3}),
        ([0, 4], {"classes": NUMBERED}, {0: 0, 4: 4}),
        ([1, 5], {"classes": NUMBERED}, {1: 0, 5: 4}),
        # synsets, in full and by their first word; the two cranes by their places
        ([0, 134, 517], {"classes": IMAGENET, "names": WORDS}, {0: 0, 134: 134, 517: 517}),
        ([0, 134, 517, 639], {"classes": IMAGENET, "names": FIRST_WORDS}, {0: 0, 134: 134, 517: 517, 639: 639}),
        ([134, 517], {"classes": IMAGENET, "names": IMAGENET.keys}, {134: 134, 517: 517}),
        ([657, 744], {"classes": IMAGENET, "names": IMAGENET.names}, {657: 657, 744: 744}),
        (["tench", "great_white_shark", "Tinca tinca"], {"classes": IMAGENET},
         {"tench": 0, "great_white_shark": 2, "Tinca tinca": 0}),
        (["n01440764-Tench", "n01443537_gold_fish"], {"classes": SOME},
         {"n01440764-Tench": 1, "n01443537_gold_fish": 2}),
        (["tench, Tinca tinca"], {"classes": SOME}, {"tench, Tinca tinca": 1}),
        # all 1000 names where the suite has three classes: the bird is not the machine, though both are cranes
        ([0, 1, 134, 517], {"classes": SOME, "names": WORDS}, {0: 1, 1: 2, 517: 0}),
        (["crane", "goldfish"], {"classes": SOME}, {"crane": 0, "goldfish": 2}),
        # ImageNet-V2's numbers are ImageNet's, whatever classes a suite has
        ([0, 517, 999], {"classes": SOME, "data": "imagenet-v2"}, {0: 1, 517: 0}),
        (["0", "1", "517"], {"classes": SOME, "data": "imagenet-v2"}, {"0": 1, "1": 2, "517": 0}),
        ([1, 2], {"classes": SOME, "data": "imagenet-v2", "names": AS_TEXT}, {1: 2}),
        ([0, 23], {"classes": MINI, "data": "imagenet-v2"}, {0: 0, 23: 23}),
        # a subset: its own numbers, the models' where it can only be these, and their names
        ([0, 1, 11], {"classes": MINI, "data": "imagenet-a"}, {0: 0, 1: 1, 11: 11}),
        ([0, 2, 22], {"classes": MINI, "data": "imagenet-a"}, {0: 0, 2: 1, 22: 11}),
        ([2, 22], {"classes": MINI, "data": "imagenet-a", "names": MINI.names}, {2: 1, 22: 11}),
        ([1, 11], {"classes": MINI, "data": "imagenet-a", "names": MINI.names[::2]}, {1: 1, 11: 11}),
        ([2, 4], {"classes": MINI, "data": "imagenet-a", "names": tuple(map(str, range(24)))}, {2: 1, 4: 2}),
        ([2, 4], {"classes": MINI, "data": "imagenet-a", "names": tuple(map(str, range(12)))}, {2: 2, 4: 4}),
        ([2], {"classes": MINI, "data": "imagenet-a", "names": tuple(sorted(map(str, range(24))))}, {2: 5}),
        # classes of ImageNet in a list of names alone
        (["0", "2", "5"], {"classes": BY_NAME, "data": "imagenet-v2"}, {"0": 2, "2": 1}),
        (["n01440764", "great white shark"], {"classes": BY_NAME}, {"n01440764": 2, "great white shark": 1}),
        ([0, 2], {"classes": BY_NAME}, {0: 0, 2: 2}),
        (["n02012849", "n03126707"], {"classes": ClassList("words", AS_TEXT_IN_ORDER, WORDS)},
         {"n02012849": 134, "n03126707": 517}),
        # a class of several: any of them
        (["analog clock", "digital clock", "alarm_clock"], {"classes": IMAGENET, "data": "objectnet"},
         dict.fromkeys(["analog clock", "digital clock", "alarm_clock"], 0)),
    ],
)  # fmt: skip
def test_labels_that_have_a_meaning(labels, options, expected):
    assert means(labels, **options) == expected


@pytest.mark.parametrize(
    ("labels", "options", "faults"),
    [
        # a list of the right length that says nothing of the classes, or something else of one
        ([0, 1], {"names": tuple("abcde")}, {0, 1}),
        ([0, 4], {"names": ("zebra", "dog", "cat", "cow", "wolf")}, {4}),
        ([0, 5], {"names": OWN.names}, {5}),
        ([None, -1, 0], {}, {None, -1}),
        (["-1", "1"], {"classes": NUMBERED}, {"-1"}),
        (["wolf", "dog"], {}, {"wolf"}),
        (["crane"], {"classes": IMAGENET}, {"crane"}),
        (["7", "1"], {"classes": NUMBERED}, {"7"}),
        (["0", "1"], {"classes": NUMBERED}, {"0"}),
        ([0, 1, 999], {"classes": SOME}, {999}),
        ([1], {"classes": MINI, "data": "imagenet-a", "names": MINI.names}, {1}),
        ([0, 1000], {"classes": IMAGENET, "data": "imagenet-v2"}, {1000}),
    ],
)
def test_labels_that_have_none(labels, options, faults):
    assert set(meaning(labels, **options).faults) == faults


def test_a_name_of_two_classes_says_so():
    assert meaning(["crane"], IMAGENET).faults == {"crane": "the name of 2 classes"}


@pytest.mark.parametrize("labels", [[1, 5], [1, 2, 3, 4, 5], ["1", "5"], [5]])
def test_numbers_that_count_from_1_are_refused(labels):
    with pytest.raises(InputError, match=r"place: the numbers go up to 5, .* counted from 1, .* subtract 1 from each"):
        meaning(labels)


@pytest.mark.parametrize("names", [OWN.names, ()])
def test_numbers_with_names_that_count_from_1_are_refused(names):
    with pytest.raises(InputError, match="counted from 1"):
        meaning([1, 2, 5], names=names)


@pytest.mark.parametrize(("labels", "warned"), [([1, 3], True), ([0, 1], False), ([2, 3], False), (["1", "3"], True)])
def test_numbers_that_may_count_from_1_are_read_and_said(labels, warned):
    found = meaning(labels)
    assert [found.label_of[label] for label in labels] == [int(label) for label in labels]
    assert any("the smallest number is 1" in warning for warning in found.warnings) == warned


def test_numbers_that_are_keys_as_well_as_places_are_refused():
    with pytest.raises(InputError, match="could be the classes' keys as well as their places"):
        meaning([1, 4], NUMBERED)


def test_a_few_unknown_names_of_a_list_in_order_are_taken_by_place_and_said():
    names = tuple("another crane" if i == 517 else name for i, name in enumerate(WORDS))
    found = meaning([134, 517], IMAGENET, names)
    assert found.label_of == {134: 134, 517: 517}
    assert "calls 1 of its 1000 classes by names that are not known (first: 'another crane')" in found.warnings[0]
    mixed = names[1:] + names[:1]
    assert meaning([516], IMAGENET, mixed).label_of == {}


@pytest.mark.parametrize("data", ["imagenet-v2", "imagenet", "photos"])
def test_classes_of_imagenet_that_a_suite_leaves_out_are_no_faults(data):
    found = meaning(["n01440764", "n02012849", "n00000001"], SOME, data=data)
    assert (found.label_of, found.others, found.faults) == ({"n01440764": 1}, {"n02012849"}, {"n00000001": ""})


def test_classes_of_the_suite_that_a_set_does_not_have_are_faults():
    """As all of ImageNet's in the place of imagenet-a."""
    found = meaning([IMAGENET.keys[6], IMAGENET.keys[0]], IMAGENET, data="imagenet-a")
    assert (set(found.label_of), found.others, set(found.faults)) == ({"n01498041"}, frozenset(), {"n01440764"})


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.sampled_from([IMAGENET.keys, WORDS, IMAGENET.names, AS_TEXT]))
def test_names_mean_the_same_in_any_order(rng, names):
    """Whatever they are; of a name that two classes share neither is meant."""
    alone = [i for i, name in enumerate(names) if names.count(name) == 1]
    order = rng.sample(alone, len(alone))
    shuffled = [names[i] for i in order]
    expected = [int(names[i]) if names is AS_TEXT else i for i in order]
    found = means(range(len(order)), IMAGENET, shuffled)
    assert [found[n] for n in range(len(order))] == expected


@given(st.lists(st.text(min_size=1), min_size=2, max_size=8, unique=True), st.randoms(use_true_random=False))
def test_a_label_that_equals_a_key_is_that_key(keys, rng):
    """Also where keys are numbers, signs or each other's other spelling."""
    classes = ClassList("any", tuple(keys), tuple(rng.sample(keys, len(keys))))
    found = understood("place", keys, naming("imagenet", own_space(classes), classes))
    assert found.label_of == {key: i for i, key in enumerate(keys)}


def test_the_order_of_labels_changes_nothing():
    labels = [*map(str, range(1000))]
    random.Random(0).shuffle(labels)
    assert means(labels, IMAGENET) == means(sorted(labels), IMAGENET)
