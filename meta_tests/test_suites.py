import pytest

import suites
from models import InputError
from suites.conditions import CLEAN, attack, corruption, parse_eps

MINIMAL = """
classes = "mini"
candidate = ["mini:clip"]
[data]
imagenet = "mini:imagenet"
[conditions]
attacks = { names = ["fgsm"], eps = ["8/255"] }
"""


def test_the_embedded_default():
    suite = suites.load("mini")
    ids = [c.id for c in suite.conditions]
    assert len(ids) == len(set(ids)) == 74
    assert ids[:2] == ["clean", "clean-imagenet-r-classes"]
    assert {"bim-8/255", "fgsm-1/255", "imagenet-c-contrast-3"} <= set(ids)


def test_relative_data_folders_are_relative_to_the_suite(toml, tmp_path):
    suite = suites.load(toml(MINIMAL.replace("mini:imagenet", "photos/val")))
    assert suite.source("imagenet") == str(tmp_path / "photos/val")
    assert suite.source("imagenet-v2") is None


def test_the_last_matching_rule_decides(toml):
    suite = suites.load(
        toml(
            MINIMAL
            + '[[rules]]\nmatch = "*"\nmin_accuracy = 0.1\n[[rules]]\nmatch = "adversarial/*"\nmin_accuracy = 0.2'
        )
    )
    assert suite.rule(CLEAN).min_accuracy == 0.1
    assert suite.rule(attack("fgsm", "8/255")).min_accuracy == 0.2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("[data]", "[dta]"), "unknown key 'dta'; did you mean 'data'"),
        (("names =", "nmaes ="), "unknown key 'conditions.attacks.nmaes'; did you mean 'names'"),
        (('"fgsm"', '"fgms"'), "attack 'fgms' is unknown; did you mean 'fgsm'"),
        (('"8/255"', '"8"'), "did you mean '8/255'"),
        (('"8/255"', '"eight"'), "is not a number"),
        (('classes = "mini"', 'classes = "minni"'), "'classes'"),
        (("imagenet =", "imagnet ="), "data set 'imagnet' is unknown; did you mean 'imagenet'"),
        (("[conditions]\nattacks = ", "# "), "the key 'conditions' is missing"),
        (("[data]", "[data"), "not valid TOML"),
        (("", '[[rules]]\nmatch = "adversarial/bmi-*"\n'), "matches no condition"),
        (("", '[[rules]]\nmatch = "*"\nmin_acuracy = 0.5\n'), "did you mean 'min_accuracy'"),
        (("", '[[rules]]\nmatch = "*"\nknown_weakness = "x"\n'), "known_weakness needs min_accuracy"),
        (("", '[[rules]]\nmatch = "*"\nmin_accuracy = 50\n'), "less than or equal to 1"),
    ],
)
def test_bad_suites_are_named_with_the_nearest_valid_key(toml, change, says):
    old, new = change
    file = toml(MINIMAL.replace(old, new, 1) if old else MINIMAL + new)
    with pytest.raises(InputError) as error:
        suites.load(file)
    assert file in str(error.value)
    assert says in str(error.value)


def test_an_unknown_suite():
    with pytest.raises(InputError, match="neither a file nor a shipped suite; did you mean 'mini'"):
        suites.load("minni")


@pytest.mark.parametrize("severity", [0, 6])
def test_severities_end_at_five(severity):
    with pytest.raises(InputError, match="from 1 to 5"):
        corruption("contrast", severity)


def test_eps_is_exact():
    assert float(parse_eps("8/255")) == 8 / 255
