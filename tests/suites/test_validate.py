"""`clip-robustness validate` says everything that is wrong at once, each in a sentence that names where it is."""

import pytest

from clip_robustness.__main__ import main
from clip_robustness.datasets.subsets import ids_of

GOOD = """
classes = "mini"
candidate = ["mini:clip"]
plugins = ["mine.py"]
samples = 24
[data]
imagenet = "mini:imagenet"
night = "mini:imagenet-v2"
[conditions]
natural = ["night", "imagenet-a"]
corruptions = { names = ["posterize", "fog"] }
attacks = [{ names = ["signs", "fgsm"], eps = ["8/255"] }]
[[rules]]
match = "natural/*"
min_accuracy = 0.2
"""
MINE = """
import numpy as np
from clip_robustness import attack, corruption

@corruption("posterize")
def posterize(image, severity, rng):
    return image // (8 * severity) * (8 * severity)

@attack("signs", access="white-box")
def signs(model, images, labels, eps, rngs):
    return (images + eps).clamp(0, 1)
"""
BAD = """
classes = "imagnet"
candidate = ["mini:clop", "open_clip:ViT-B-32@gone.pt", "mini:clip?prompts=words.txt"]
plugins = ["taken.py", "broken.py", "mine.py", "gone.py"]
smaples = 3
[data]
imagenet = "/nowhere"
imagenet-v3 = "/also"
imagenet-v2 = "$NOT_SET/v2"
[conditions]
natural = ["imagenet-v2", "nihgt"]
imagenet-c = { corruptions = ["fogg", "snow"], severities = [1, 7] }
corruptions = { names = ["posterize", "fog"] }
attacks = [{ names = ["fgsm", "bmi", "signs"], eps = ["8", "4/255"] }, { name = ["pgd"] }]
[[rules]]
match = "adverserial/*"
min_accuracy = 2
[[rules]]
match = "natral/*"
min_accuracy = 0.2
"""
WRONG = [
    "unknown key 'conditions.attacks.name' in [[conditions.attacks]] 2; did you mean 'names'?",
    "unknown key 'smaples'; did you mean 'samples'?",
    "'rules.min_accuracy' in [[rules]] 1 (match = 'adverserial/*'): input should be less than or equal to 1, got 2",
    "no data set 'nihgt' under [data]",
    "data set 'imagenet-v3' is neither a known one nor named by natural or clean; did you mean 'imagenet-v2'?",
    "taken.py: the name is taken by the suite itself; rename one",
    "broken.py does not import: ModuleNotFoundError: No module named 'nunpy'",
    "gone.py: there is no such Python file",
    "'conditions.imagenet-c': corruption 'fogg' is unknown; did you mean 'fog'?",
    "severity 7 of imagenet-c does not exist; it goes from 1 to 5",
    "eps '8' is outside (0, 1]: images are in [0, 1]; did you mean '8/255'?",
    "'conditions.attacks', table 1: attack 'bmi' is unknown; did you mean 'mim'?",
    "'classes': 'imagnet' is neither a known class list nor a file; did you mean 'imagenet'?",
    "'data.imagenet-v2': path '$NOT_SET/v2': $NOT_SET is not set",
    "rule 'adverserial/*' matches no condition; did you mean 'adversarial/",
    "rule 'natral/*' matches no condition; did you mean 'natural/",
    "model spec 'mini:clop': the embedded models are mini:clip and mini:supervised",
    "model spec 'open_clip:ViT-B-32@gone.pt': there is no file",
    "words.txt: there is no template; write one a line, with {} for the class name",
    "corruption 'posterize' of ",
    "attack 'signs' of ",
]


pytestmark = pytest.mark.usefixtures("nothing_registered")


@pytest.fixture
def validate(tmp_path, capsys):
    def run(suite, mine=MINE):
        (tmp_path / "mine.py").write_text(mine)
        (tmp_path / "my.toml").write_text(suite)
        code = main(["validate", str(tmp_path / "my.toml")])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run


def test_a_good_suite_is_told_what_will_not_run(validate, tmp_path):
    code, out, err = validate(GOOD)
    assert (code, err) == (0, [])
    file = tmp_path / "my.toml"
    assert f"note: {file}: conditions on 'imagenet-a' are not run: add imagenet-a = " in "\n".join(out)
    said = "forecast for samples = 24 of what is listed, the suite's 1 candidates, and no --compare:"
    forecast = out[out.index(said) :]
    assert "after Holm's correction for 2 limits" in forecast[1]
    assert forecast[2].startswith("min_accuracy 0.2, 24 images (1 cell): ")  # without data the other is not run
    assert len(forecast) == 4
    assert out[-1] == f"{file}: 16 conditions; nothing is wrong that can be found without running it"


def test_everything_that_is_wrong_is_said_at_once(validate, tmp_path):
    (tmp_path / "words.txt").write_text("\n")
    (tmp_path / "taken.py").write_text(MINE.partition("@attack")[0].replace("posterize", "fog"))
    (tmp_path / "broken.py").write_text("import nunpy\n")
    mine = MINE.replace("return image // ", "return image[::2] // ").replace("images + eps", "images + 2 * eps")
    code, _, err = validate(BAD, mine)
    assert code == 4
    for wrong in WRONG:
        assert sum(wrong in line for line in err) == 1, (wrong, err)
    assert len(err) == len(WRONG), [line for line in err if not any(wrong in line for wrong in WRONG)]
    assert "mine.py returns uint8 (32, 64, 3); return an array of uint8 (64, 64, 3)" in "\n".join(err)
    assert "mine.py leaves the ball: " in "\n".join(err)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("classes = [", "not valid TOML"),
        ('classes = "mini"\n[conditions]\n', "the key 'data' is missing"),
        (GOOD.replace("candidate", 'profile = "relaese"\ncandidate'), "did you mean 'release'?"),
        (GOOD.replace("mini:imagenet-v2", "/nowhere"), "/nowhere"),
        (GOOD + '[clusters]\nnight = "regex:(zz[0-9]+)"', "regex:(zz[0-9]+) under [clusters] says nothing of"),
        (GOOD + '[groups]\nnight = "regex:("', "groups of 'night': '(' is no regular expression: "),
        (GOOD + '[clusters]\nnight = "regex:("', "clusters of 'night': '(' is no regular expression: "),
        (GOOD.replace("natural = [", 'worst-of = ["pgd"]\nnatural = [', 1), "worst-of names 'pgd', which no condition"),
        ('figures = "gone.csv"\n' + GOOD, "'figures': there is no file "),
        (
            GOOD.replace("[conditions]", '[conditions]\noverlap = "gone.json"'),
            "'conditions.overlap': there is no file ",
        ),
        (
            GOOD + '[[conditions.text]]\nnames = "synonyms"\nfile = "gone.tsv"',
            "'conditions.text.file': there is no file ",
        ),
        (
            GOOD.replace("attacks = [{", 'attacks = [{ names = "patch", file = "gone.png", eps = [] }, {'),
            "file': there is no file",
        ),
        (
            GOOD + '[[conditions.text]]\nnames = "names"',
            "'conditions.text': 'names' needs a file: { names = ['names'], file",
        ),
        (
            GOOD.replace("attacks = [{", 'attacks = [{ names = "patch" }, {'),
            "table 1: 'patch' needs a file: { names = ['pa",
        ),
        (GOOD.replace('match = "natural/*"\n', ""), "the key 'rules.match' is missing"),
    ],
)
def test_what_stops_the_rest(validate, text, says):
    code, _, err = validate(text)
    assert (code, len(err)) == (4, 1), err
    assert says in err[0]


def test_a_file_of_figures_is_read_as_calibrate_reads_it(validate, tmp_path, capsys):
    head = "model,condition,value,source\n"
    (tmp_path / "mine.csv").write_text(f"{head}a,imagenet-v3,0.5,\na,clean@mini,63.3,\na,clean@mini,0.5,\n")
    suite = 'figures = "mine.csv"\n' + GOOD
    code, out, err = validate(suite)
    assert code == 4
    assert len(err) == 2
    assert "mine.csv, line 2: there is no condition 'imagenet-v3'; did you mean" in err[0]
    assert "mine.csv, line 3: value '63.3' is outside [0, 1]; a share is meant, not percent" in err[1]
    assert "mine.csv: 1 of 1 figures have no source (first: a, clean); name whose they are" in "\n".join(out)
    assert main(["calibrate", "--suite", str(tmp_path / "my.toml")]) == 4
    assert capsys.readouterr().err.removeprefix("error: ") == err[0].removeprefix("wrong: ") + "\n"
    (tmp_path / "mine.csv").write_text(f"{head}a,clean@mini,0.5,b\na,clean,0.5,b\na,imagenet-r@mini,0.5,b\n")
    code, out, err = validate(suite)
    assert (code, err) == (0, [])
    assert "mine.csv: 2 of 3 figures are of no condition of this suite" in "\n".join(out)


def test_the_forecast_is_of_the_named_subset(validate, tmp_path):
    """Of the images that are there two are in it."""
    for id in (*sorted(ids_of("robustbench-5000"))[:2], "n01440764/ILSVRC2012_val_00000001.JPEG"):
        (tmp_path / "val" / id).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "val" / id).touch()
    suite = 'subset = "robustbench-5000"\n[data]\nimagenet = "val"\n[conditions]\n[[rules]]\nmatch = "clean/*"\n'
    code, out, err = validate(suite + "min_accuracy = 0.5\n")
    assert (code, err) == (0, [])
    assert "min_accuracy 0.5, 2 images (1 cell)" in "\n".join(out)


def test_no_suite_of_that_name(capsys):
    assert main(["validate", "minni"]) == 4
    assert "did you mean 'mini'?" in capsys.readouterr().err
