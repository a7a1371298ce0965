"""What we draw ourselves looks as it did: a pinned picture, as nobody else says what its constants should be."""

import numpy as np
import pytest

from tests import DATA
from tests.data.make_drawn_references import drawn


def test_frost_and_watermark_look_as_they_did():
    """To a hundredth of a grey level over a twelfth of a picture, which is more than processors differ by."""
    found = drawn()
    with np.load(DATA / "drawn.npz") as known:
        assert set(found) == set(known)
        for name, numbers in found.items():
            assert numbers == pytest.approx(known[name], abs=0.01), name
