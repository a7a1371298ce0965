"""--update-thresholds: what it writes, and what it leaves alone."""

import pytest

from clip_robustness import suites
from clip_robustness.conditions.condition import attack, corruption
from clip_robustness.models import InputError
from clip_robustness.suites.thresholds import tighten

SUITE = """\
# models and data
classes = "mini"
candidate = ["mini:clip"]
[data]
imagenet = "mini:imagenet" # drawn
[conditions]
imagenet-c = { corruptions = ["contrast", "fog"], severities = [3] }
attacks = { names = ["fgsm"], eps = ["8/255"] }

# known since spring
[[rules]]
match = "synthetic/*"
min_accuracy = 0.9 # hard
known_weakness = "grey in grey"

[[rules]]
match = "*"
min_accuracy = 0.1
"""
CONTRAST, FOG = corruption("contrast", 3), corruption("fog", 3)


def gone(suite, *conditions):
    """All known weaknesses of the conditions."""
    return [(c, limit.rule) for c in conditions for limit in suite.deciding(c) if limit.weak]


def limits(suite, condition):
    return {limit.name: (limit.value, limit.rule.known_weakness) for limit in suite.deciding(condition)}


def test_a_weakness_that_is_gone_everywhere_is_removed_and_nothing_else(toml):
    suite = suites.load(toml(SUITE))
    assert tighten(suite, gone(suite, CONTRAST, FOG)) == ["rule 'synthetic/*': known_weakness removed"]
    assert suite.file.read_text() == SUITE.replace('known_weakness = "grey in grey"\n', "")


def test_a_weakness_that_is_gone_somewhere_gets_a_rule_there(toml):
    suite = suites.load(toml(SUITE))
    (change,) = tighten(suite, gone(suite, FOG))
    assert change == "rule 'synthetic/imagenet-c-fog-3' added, with the limits of 'synthetic/*'"
    text = suite.file.read_text()
    assert text.startswith(SUITE)
    after = suites.load(str(suite.file))
    assert limits(after, FOG) == {"min_accuracy": (0.9, None)}
    assert limits(after, CONTRAST) == {"min_accuracy": (0.9, "grey in grey")}


def test_of_two_rules_with_one_pattern_the_weak_one_is_changed_and_only_where_it_decides(toml):
    """A weakness against one limit has a rule of its own beside the other limits."""
    weak = SUITE.replace("min_accuracy = 0.9 # hard", "max_drop_vs_supervised = 0.05\nmin_accuracy = 0.9")
    own = '[[rules]]\nmatch = "synthetic/*"\nmax_drop_vs_clean = 0.1\n'
    special = '[[rules]]\nmatch = "synthetic/*fog*"\nmin_accuracy = 0.8\n'
    suite = suites.load(toml(weak + own + special))
    tighten(suite, gone(suite, FOG))
    fog = {"max_drop_vs_supervised": (0.05, None), "min_accuracy": (0.8, None), "max_drop_vs_clean": (0.1, None)}
    assert limits(suites.load(str(suite.file)), FOG) == fog
    suite = suites.load(toml(weak + own + special))
    tighten(suite, gone(suite, FOG, CONTRAST))
    assert suite.file.read_text() == (weak + own + special).replace('known_weakness = "grey in grey"\n', "")


@pytest.mark.parametrize("ending", ["rules = []", 'rules = [{ match = "clean/*", min_accuracy = 0.5 }]', ""])
def test_a_profile_s_rule_is_overruled_in_the_suite(toml, tmp_path, ending):
    head, _, body = SUITE.partition("\n[data]")
    profile = tmp_path / "profile.toml"
    profile.write_text('[[rules]]\nmatch = "adversarial/*"\nmin_accuracy = 0.2\nknown_weakness = "x"\n')
    text = f'{head}\n{ending}\nprofile = "{profile}"\n[data]{body}'.partition("\n# known since")[0]
    suite = suites.load(toml(text))
    fgsm = attack("fgsm", "8/255")
    (change,) = tighten(suite, gone(suite, fgsm))
    assert change == "rule 'adversarial/fgsm-8/255' added, with the limits of 'adversarial/*'"
    assert limits(suites.load(str(suite.file)), fgsm) == {"min_accuracy": (0.2, None)}


def test_no_change_leaves_the_file_alone(toml):
    suite = suites.load(toml(SUITE))
    before = suite.file.stat().st_mtime_ns
    assert tighten(suite, gone(suite, attack("fgsm", "8/255"))) == []
    assert suite.file.stat().st_mtime_ns == before


def test_a_file_that_can_not_be_written_is_named(toml, monkeypatch):
    suite = suites.load(toml(SUITE))
    monkeypatch.setattr("pathlib.Path.write_text", lambda *_, **__: (_ for _ in ()).throw(OSError("read-only")))
    with pytest.raises(InputError, match=r"--update-thresholds: .*suite.toml can't be written: read-only"):
        tighten(suite, gone(suite, FOG))
