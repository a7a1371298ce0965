"""Typographic attacks: which word is written, how large, and where."""

import numpy as np
import pytest
from PIL import ImageDraw, ImageFont

from clip_robustness.conditions.attacks.typographic import _places, typed, wrong_word
from clip_robustness.errors import InputError

NAMES = ("apple", "tree", "sea lion", "key")
rng = np.random.default_rng


def test_words_are_wrong_white_and_the_same_for_the_same_numbers():
    seen = set()
    for seed in range(30):
        word = wrong_word(NAMES, 1, rng(seed))
        seen.add(word)
        grey = np.full((64, 64, 3), 90, np.uint8)
        written = typed(grey, NAMES[word], rng(seed))
        changed = (written != grey).any(axis=2)
        assert written.max() > 200  # the edges of small letters are smoothed
        assert 0.03 < changed.mean() < 0.6
        assert np.array_equal(written, typed(grey, NAMES[word], rng(seed)))
    assert seen == {0, 3}
    with pytest.raises(InputError, match="single-word names"):
        wrong_word(("sea lion", "great auk", "Apple", "apple"), 2, rng(0))


@pytest.fixture
def written(monkeypatch):
    """A word on a square image -> where it is put, and how large its letters are."""
    calls = []
    text = ImageDraw.ImageDraw.text

    def recorded(self, xy, word, *, fill, font):
        calls.append((xy, font.size))
        text(self, xy, word, fill=fill, font=font)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", recorded)

    def write(word, side):
        calls.clear()
        typed(np.zeros((side, side + 5, 3), np.uint8), word, rng(0))
        places, sizes = zip(*calls, strict=True)
        assert len(set(sizes)) == 1
        return places, sizes[0]

    return write


@pytest.mark.parametrize(("word", "side", "size"), [("key", 224, 16), ("key", 140, 10), ("key", 64, 8)])
def test_letters_are_a_fourteenth_of_the_shorter_side_and_legible(written, word, side, size):
    places, found = written(word, side)
    assert found == size
    assert len(places) == 8


@pytest.mark.parametrize(("word", "side"), [("butterfly", 64), ("butterfly" * 2, 224), ("butterfly", 36)])
def test_long_words_are_smaller_so_that_two_fit_side_by_side(written, word, side):
    """At most 0.45 of the side, with letters of 6 px at least."""

    def length(size):
        return ImageFont.load_default(size).getlength(word)

    _, size = written(word, side)
    assert size == 6 or length(size) <= 0.45 * side
    assert length(size + 1) > 0.45 * side


def test_where_eight_words_find_no_room_there_are_four(written):
    assert len(written("butterfly", 32)[0]) == 4
    with pytest.raises(InputError, match="'butterflies' does not fit 4 times on an image of 23 x 18 px"):
        written("butterflies", 18)


BOX = (0.6, 2.0, 10.4, 5.5)
"""Of 11 x 4 px, as fractions count as whole ones, from (0, 2) on."""


def test_places_are_wherever_a_box_is_inside():
    assert _places((11, 4), BOX, 1, rng(0)) == [(0, -2)]
    assert _places((10, 4), BOX, 1, rng(0)) is None
    assert _places((11, 3), BOX, 1, rng(0)) is None
    assert {tuple(*_places((12, 5), BOX, 1, rng(seed))) for seed in range(40)} == {
        (x, y - 2) for x in (0, 1) for y in (0, 1)
    }


@pytest.mark.parametrize(("size", "two"), [((22, 4), [(0, -2), (11, -2)]), ((11, 8), [(0, -2), (0, 2)])])
def test_boxes_may_touch_and_never_overlap(size, two):
    found = [_places(size, BOX, 2, rng(seed)) for seed in range(40)]
    assert {tuple(sorted(places)) for places in found if places} == {tuple(two)}
    assert None in found


def test_sixty_places_are_tried_a_word():
    class Counting:
        calls = 0

        def integers(self, low, high):
            self.calls += 1
            return low

    counting = Counting()
    assert _places((30, 30), BOX, 4, counting) is None
    assert counting.calls == 2 * 4 * 60
