import pytest

from clip_robustness import evaluate, load_dataset, load_model
from clip_robustness.errors import InputError


@pytest.mark.parametrize("condition", ["imagenet-c-mce", "imagenet-c-bar-mean", "overlap-clean"])
def test_what_is_made_of_other_cells_is_refused(condition):
    """Not evaluated on the clean images under another name."""
    with pytest.raises(InputError, match=f"'{condition}' is made of other cells"):
        evaluate(load_model("mini:supervised", "mini"), condition, load_dataset("mini:imagenet", "mini"))
