from fractions import Fraction

import pytest

from clip_robustness import suites
from clip_robustness.conditions.condition import CLEAN, attack, corruption
from clip_robustness.conditions.eps import parse_eps
from clip_robustness.models import InputError

MINIMAL = """
classes = "mini"
candidate = ["mini:clip"]
[data]
imagenet = "mini:imagenet"
[conditions]
attacks = { names = ["fgsm"], eps = ["8/255"] }
"""
FGSM = attack("fgsm", "8/255")


def limits(suite, condition):
    return {limit.name: limit.value for limit in suite.deciding(condition) if not limit.off}


def test_the_embedded_default():
    suite = suites.load("mini")
    ids = [c.id for c in suite.conditions]
    assert len(ids) == len(set(ids)) == 82
    assert ids[:2] == ["clean", "clean-imagenet-r-classes"]
    assert {"bim-8/255", "fgsm-1/255", "imagenet-c-contrast-3"} <= set(ids)


def test_one_needs_no_list(toml):
    one = MINIMAL.replace('["mini:clip"]', '"mini:clip"').replace('["fgsm"], eps = ["8/255"]', '"fgsm", eps = "8/255"')
    one += 'imagenet-c = { corruptions = "fog", severities = 3 }\n'
    suite = suites.load(toml(one))
    assert suite.settings.candidate == ("mini:clip",)
    assert suite.conditions == (CLEAN, corruption("fog", 3), FGSM)


def test_relative_data_folders_are_relative_to_the_suite(toml, tmp_path):
    suite = suites.load(toml(MINIMAL.replace("mini:imagenet", "photos/val")))
    assert suite.source("imagenet") == str(tmp_path / "photos/val")
    assert suite.source("imagenet-v2") is None


def test_the_most_specific_rule_decides_wherever_it_stands(toml):
    special, general = (
        '[[rules]]\nmatch = "adversarial/*"\nmin_accuracy = 0.2\n',
        '[[rules]]\nmatch = "*"\nmin_accuracy = 0.1\n',
    )
    for rules in (special + general, general + special):
        suite = suites.load(toml(MINIMAL + rules))
        assert limits(suite, CLEAN) == {"min_accuracy": 0.1}
        assert limits(suite, FGSM) == {"min_accuracy": 0.2}


def test_rules_that_are_equally_specific_contradict_each_other(toml):
    first = '[[rules]]\nmatch = "adversarial/f*"\nmin_accuracy = 0.2\n'
    second = '[[rules]]\nmatch = "*dversarial/fg*"\nmin_accuracy = 0.1\n'
    with pytest.raises(
        InputError,
        match=r"f\*' of the suite and rule '\*dver.* contradict each other in min_acc",
    ):
        suites.load(toml(MINIMAL + first + second))
    suite = suites.load(toml(MINIMAL + first + second.replace("min_accuracy", "max_drop_vs_clean")))
    assert limits(suite, FGSM) == {"min_accuracy": 0.2, "max_drop_vs_clean": 0.1}


def test_a_more_specific_rule_changes_the_limits_that_it_sets_and_no_others(toml):
    general = '[[rules]]\nmatch = "*"\nmin_accuracy = 0.1\nmax_drop_vs_supervised = 0.05\n'
    special = '[[rules]]\nmatch = "adversarial/*"\nmin_accuracy = 0.2\nknown_weakness = "undefended"\n'
    suite = suites.load(toml(MINIMAL + general + special))
    assert limits(suite, FGSM) == {"min_accuracy": 0.2, "max_drop_vs_supervised": 0.05}
    assert {limit.name for limit in suite.deciding(FGSM) if limit.weak} == {"min_accuracy"}


def test_a_rule_switches_off_limits_of_less_specific_ones_that_it_names(toml):
    general = '[[rules]]\nmatch = "*"\nmin_accuracy = 0.1\nmax_drop_vs_supervised = 0.05\n'
    special = '[[rules]]\nmatch = "adversarial/*"\noff = ["min_accuracy"]\n'
    most = '[[rules]]\nmatch = "adversarial/fgsm-*"\nmin_accuracy = 0.3\n'
    assert limits(suites.load(toml(MINIMAL + general + special)), FGSM) == {"max_drop_vs_supervised": 0.05}
    suite = suites.load(toml(MINIMAL + general + special + most))
    assert limits(suite, FGSM) == {"min_accuracy": 0.3, "max_drop_vs_supervised": 0.05}
    assert limits(suite, CLEAN) == {"min_accuracy": 0.1, "max_drop_vs_supervised": 0.05}


def test_a_profile_gives_limit_by_limit_what_the_suite_does_not(toml):
    """A suite's own rule of the same `match`, or a more specific one, hides no other limit of the profile's rule."""
    rules = '[[rules]]\nmatch = "*"\nmax_drop_vs_supervised = 0.1\n[[rules]]\nmatch = "clean/*"\nmin_accuracy = 0.9\n'
    suite = suites.load(toml('profile = "release"\n' + MINIMAL + rules))
    assert limits(suite, CLEAN) == {"min_accuracy": 0.9, "max_drop_vs_supervised": 0.1, "max_regression": 0.02}
    assert limits(suite, FGSM) == {"max_drop_vs_supervised": 0.1, "max_regression": 0.02}
    whose = {limit.name: suite.whose(limit.rule) for limit in suite.deciding(CLEAN)}
    assert whose["max_drop_vs_supervised"] == "rule '*' of the suite"
    assert whose["max_regression"] == "rule '*' of profile 'release'"


def test_a_more_specific_rule_of_the_profile_comes_before_the_suite_s(toml, tmp_path):
    (tmp_path / "own.toml").write_text('[[rules]]\nmatch = "adversarial/*"\nmin_accuracy = 0.3\n')
    suite = suites.load(toml('profile = "own.toml"\n' + MINIMAL + '[[rules]]\nmatch = "*"\nmin_accuracy = 0.1\n'))
    assert limits(suite, FGSM) == {"min_accuracy": 0.3}
    assert limits(suite, CLEAN) == {"min_accuracy": 0.1}


def test_a_profile_s_gate_is_merged_key_by_key(toml):
    own = MINIMAL + '[gate]\nalpha = 0.01\non_inconclusive = "warn"\n'
    suite = suites.load(toml('profile = "release"\n' + own))
    assert (suite.gate.alpha, suite.gate.on_inconclusive, suite.gate.require_all) == (0.01, "warn", True)
    asked = suites.load(toml(own), profile="release")
    assert (asked.gate.alpha, asked.gate.on_inconclusive, asked.gate.require_limits) == (0.01, "fail", True)


def test_a_claim_of_the_paper_takes_the_place_of_the_suite_s_requirement(toml):
    suite = suites.load(toml(MINIMAL + '[[rules]]\nmatch = "*"\nmax_drop_vs_supervised = 0.05\n'), profile="paper")
    assert limits(suite, FGSM) == {"min_drop_vs_supervised": 0.0}


def test_profiles_are_known_by_their_names(toml):
    assert suites.load(toml('profile = "release"\n' + MINIMAL), profile="research").gate.report_only
    with pytest.raises(InputError, match="neither a file nor a shipped profile; did you mean 'release'"):
        suites.load(toml(MINIMAL), profile="relaese")


@pytest.mark.parametrize("profile", suites.PROFILES)
def test_shipped_profiles_fit_the_embedded_default(profile):
    suite = suites.load("mini", profile)
    assert all(limits(suite, condition) for condition in suite.conditions if not condition.kind.zero_shot_only)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("[data]", "[dta]"), "unknown key 'dta'; did you mean 'data'"),
        (("names =", "nmaes ="), "unknown key 'conditions.attacks.nmaes'; did you mean 'names'"),
        (('"fgsm"', '"fgms"'), "'conditions.attacks': attack 'fgms' is unknown; did you mean 'fgsm'"),
        (('"8/255"', '"8"'), "did you mean '8/255'"),
        (('"8/255"', '"eight"'), "is not a number"),
        (('"8/255"', '"8/0"'), "is not a number"),
        (('["8/255"]', "8"), "did you mean '8/255'"),
        (('classes = "mini"', 'classes = "minni"'), "'classes'"),
        (
            ("imagenet =", "imagnet ="),
            "data set 'imagnet' is neither a known one nor named by natural or clean; did you mean 'imagenet'",
        ),
        (("[conditions]\nattacks = ", "# "), "the key 'conditions' is missing"),
        (("[data]", "[data"), "not valid TOML"),
        (("", '[[rules]]\nmatch = "adversarial/bmi-*"\n'), "matches no condition"),
        (("", '[[rules]]\nmatch = "*"\nmin_acuracy = 0.5\n'), "did you mean 'min_accuracy'"),
        (("", '[[rules]]\nmatch = "*"\nknown_weakness = "x"\n'), "known_weakness needs a limit, min_accuracy"),
        (
            ("", '[[rules]]\nmatch = "*"\nmax_flip_rate = 0.1\n'),
            "sets max_flip_rate, which 'clean/clean' does not have",
        ),
        (("", "[gate]\nalpha = 0\n"), "'gate.alpha'"),
        (
            ("", '[[rules]]\nmatch = "*"\nmax_drop_vs_supervised = 0.1\nmin_drop_vs_supervised = 0.2\n'),
            "no drop is at least 0.2 and at most 0.1",
        ),
        (
            (
                "",
                '[[rules]]\nmatch = "clean/*"\nmin_drop_vs_supervised = 0.2\n[[rules]]\nmatch = "*"\n'
                "max_drop_vs_supervised = 0.1\n",
            ),
            "rule 'clean/*' of the suite and rule '*' of the suite contradict each other for 'clean/clean': no drop is "
            "at least 0.2 and at most 0.1",
        ),
        (("", '[[rules]]\nmatch = "*"\noff = ["max_regresion"]\n'), "did you mean 'max_regression'"),
        (
            ("", '[[rules]]\nmatch = "*"\nmin_accuracy = 0.5\noff = ["min_accuracy"]\n'),
            "rule '*' sets min_accuracy and switches it off",
        ),
        (
            ("", '[[rules]]\nmatch = "clean/*"\nmin_accuracy = 0.5\n[[rules]]\nmatch = "*"\nmin_accuracy = 50\n'),
            "'rules.min_accuracy' in [[rules]] 2 (match = '*'): input should be less than or equal to 1, got 50",
        ),
        (("", "[[rules]]\nmin_accuracy = 0.5\n"), "the key 'rules.match' is missing in [[rules]] 1"),
        (('["fgsm"]', '["fgsm", 3]'), "'conditions.attacks.names', value 2: input"),
        (('"mini:imagenet"', '"minni:imagenet"'), "'data.imagenet': 'minni:imagenet': no such folder"),
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
    assert parse_eps("8/255") == Fraction(8, 255)
    assert parse_eps("0.5/255") == Fraction(1, 510)


@pytest.mark.parametrize(
    ("written", "called"),
    [
        ("8/255", "8/255"),
        ("51/255", "51/255"),
        ("0.5/255", "0.5/255"),
        ("0.50/255", "0.5/255"),
        (".5/255", "0.5/255"),
        ("1/510", "0.5/255"),
        ("5e-1/255", "0.5/255"),
        ("8.0/255", "8/255"),
        ("80.0/2550", "8/255"),
        ("16/510", "8/255"),
        ("1/765", "1/765"),
        ("8/256", "8/256"),
        ("0.5/256", "1/512"),
        ("0.03", "0.03"),
        ("1/16", "1/16"),
    ],
)
def test_an_eps_has_one_id(written, called):
    assert attack("bim", written) == attack("bim", called)
    assert attack("bim", written).id == f"bim-{called}"
    assert attack("bim", written).eps == attack("bim", called).eps == float(parse_eps(written))


def test_spellings_of_an_eps_are_one_condition(toml):
    written = MINIMAL.replace('["8/255"]', '["0.5/255", "1/510", "0.50/255", 0.03, "0.03"]')
    assert [c.id for c in suites.load(toml(written)).conditions] == ["clean", "fgsm-0.5/255", "fgsm-0.03"]
    one = MINIMAL.replace('["8/255"]', '"0.5/255"')
    assert [c.id for c in suites.load(toml(one)).conditions] == ["clean", "fgsm-0.5/255"]


OWN = """
classes = "mini"
clean = "photos"
candidate = ["mini:clip"]
[data]
photos = "val"
night = "wds:night/{0..3}.tar"
[conditions]
natural = ["night", "imagenet-v2"]
attacks = { names = ["fgsm"], eps = ["8/255"] }
"""


def test_data_sets_of_ones_own(toml, tmp_path):
    suite = suites.load(toml(OWN))
    assert {c.path: (suite.data_of(c), suite.source(suite.data_of(c))) for c in suite.conditions} == {
        "clean/clean": ("photos", str(tmp_path / "val")),
        "natural/night": ("night", f"wds:{tmp_path}/night/{{0..3}}.tar"),
        "natural/imagenet-v2": ("imagenet-v2", None),
        "adversarial/fgsm-8/255": ("photos", str(tmp_path / "val")),
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('clean = "photos"', 'clean = "photo"'), "no data set 'photo' under [data]; did you mean 'photos'"),
        (('["night", ', '["nigth", '), "no data set 'nigth' under [data]; did you mean 'night'"),
        (('["night", ', "["), "data set 'night' is neither a known one nor named by natural or clean"),
        (('["night", "imagenet-v2"]', '["imagenet-c", "night"]'), "'imagenet-c' is no natural shift"),
        (("night", "by night"), "'by night'"),
        (("night", "semi-adversarial"), "neither 'clean' nor the word adversarial"),
        (("night", "clean"), "neither 'clean' nor the word adversarial"),
    ],
)
def test_slips_in_names_of_data_sets(toml, change, says):
    text = OWN.replace(*change)
    text = text.replace("by night =", '"by night" =')
    with pytest.raises(InputError) as error:
        suites.load(toml(text))
    assert says in str(error.value)
    assert "suite.toml: " in str(error.value)
