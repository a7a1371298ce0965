"""--update-thresholds: what it writes, and what it leaves alone."""

import pytest

import suites
from models import InputError
from suites.conditions import attack, corruption
from suites.thresholds import tighten

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


def test_a_weakness_that_is_gone_everywhere_is_removed_and_nothing_else(toml):
    suite = suites.load(toml(SUITE))
    assert tighten(suite, [CONTRAST, FOG]) == ["rule 'synthetic/*': known_weakness removed"]
    assert suite.file.read_text() == SUITE.replace('known_weakness = "grey in grey"\n', "")


def test_a_weakness_that_is_gone_somewhere_gets_a_rule_there(toml):
    suite = suites.load(toml(SUITE))
    (change,) = tighten(suite, [FOG])
    assert change == "rule 'synthetic/imagenet-c-fog-3' added, with the limits of 'synthetic/*'"
    text = suite.file.read_text()
    assert text.startswith(SUITE)
    after = suites.load(str(suite.file))
    assert (after.rule(FOG).known_weakness, after.rule(FOG).min_accuracy) == (None, 0.9)
    assert after.rule(CONTRAST).known_weakness == "grey in grey"


@pytest.mark.parametrize("ending", ["rules = []", 'rules = [{ match = "clean/*", min_accuracy = 0.5 }]', ""])
def test_a_profile_s_rule_is_overruled_in_the_suite(toml, tmp_path, ending):
    head, _, body = SUITE.partition("\n[data]")
    profile = tmp_path / "profile.toml"
    profile.write_text('[[rules]]\nmatch = "adversarial/*"\nmin_accuracy = 0.2\nknown_weakness = "x"\n')
    text = f'{head}\n{ending}\nprofile = "{profile}"\n[data]{body}'.partition("\n# known since")[0]
    suite = suites.load(toml(text))
    fgsm = attack("fgsm", "8/255")
    (change,) = tighten(suite, [fgsm])
    assert change == "rule 'adversarial/fgsm-8/255' added, with the limits of 'adversarial/*'"
    assert suites.load(str(suite.file)).rule(fgsm).known_weakness is None


def test_no_change_leaves_the_file_alone(toml):
    suite = suites.load(toml(SUITE))
    before = suite.file.stat().st_mtime_ns
    assert tighten(suite, [attack("fgsm", "8/255")]) == []
    assert suite.file.stat().st_mtime_ns == before


def test_a_file_that_can_not_be_written_is_named(toml, monkeypatch):
    suite = suites.load(toml(SUITE))
    monkeypatch.setattr("pathlib.Path.write_text", lambda *_, **__: (_ for _ in ()).throw(OSError("read-only")))
    with pytest.raises(InputError, match=r"--update-thresholds: .*suite.toml can't be written: read-only"):
        tighten(suite, [FOG])
