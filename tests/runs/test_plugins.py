"""Corruptions and attacks of plugin files and of installed packages: registered, run, kept and refused."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from clip_robustness import models, registry, suites
from clip_robustness.conditions.attacks.promises import check_attack
from clip_robustness.conditions.benchmark import CORRUPTIONS
from clip_robustness.conditions.condition import CLEAN, any_corruption, attack, corruption
from clip_robustness.conditions.corruptions.promises import check_corruption
from clip_robustness.datasets.classes import class_list
from clip_robustness.datasets.dataset import read_folder, subsample
from clip_robustness.evaluation.evaluator import Evaluator
from clip_robustness.evaluation.store import Store
from clip_robustness.mini.data import mini_folder
from clip_robustness.models import InputError
from tests import ROOT

CPU = torch.device("cpu")
MINI = class_list("mini")
FILE = """
import numpy as np
from clip_robustness import attack, corruption

@corruption("posterize")
def posterize(image, severity, rng):
    levels = 8 - severity
    return (image // (256 // levels) * (256 // levels)).astype(np.uint8)

@attack("random-signs", access="black-box")
def random_signs(model, images, labels, eps, rngs):
    import torch
    signs = torch.stack([torch.from_numpy(rng.choice([-1.0, 1.0], image.shape)) for rng, image in zip(rngs, images)])
    return (images + eps * signs.to(images)).clamp(0, 1)
"""
SUITE = """
classes = "mini"
candidate = ["mini:clip"]
plugins = ["shifts_of_mine.py"]
[data]
imagenet = "mini:imagenet"
[conditions]
corruptions = { names = ["fog", "posterize"], severities = [1, 3] }
attacks = { names = ["fgsm", "random-signs"], eps = ["8/255"] }
"""


pytestmark = pytest.mark.usefixtures("nothing_registered")


@pytest.fixture
def plugin(tmp_path):
    def write(text=FILE):
        (tmp_path / "shifts_of_mine.py").write_text(text)
        return tmp_path / "shifts_of_mine.py"

    return write


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with an entry point."""

    def install(name, text, *points, kind="corruption"):
        (tmp_path / "site" / f"{name}-1.2.dist-info").mkdir(parents=True)
        (tmp_path / "site" / f"{name}.py").write_text(text)
        (tmp_path / "site" / f"{name}-1.2.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1.2\n")
        lines = [f"[{registry.GROUPS[kind]}]", *(f"{point} = {name}:{function}" for point, function in points)]
        (tmp_path / "site" / f"{name}-1.2.dist-info" / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(tmp_path / "site")
        monkeypatch.delitem(sys.modules, name, raising=False)
        registry.forget(files=False)

    return install


def test_a_plugin_file_of_a_suite(toml, plugin):
    plugin()
    suite = suites.load(toml(SUITE))
    assert [c.path for c in suite.conditions] == [
        "clean/clean",
        "synthetic/imagenet-c-fog-1",
        "synthetic/imagenet-c-fog-3",
        "synthetic/corruption-posterize-1",
        "synthetic/corruption-posterize-3",
        "adversarial/fgsm-8/255",
        "adversarial/random-signs-8/255",
    ]
    assert [c.id for c in suite.conditions if not c.kind.in_benchmark] == [
        "corruption-posterize-1",
        "corruption-posterize-3",
        "random-signs-8/255",
    ]


def test_a_plugins_outcomes_are_kept_under_its_code(tmp_path, plugin):
    registry.load_file(plugin())
    images = subsample(read_folder("imagenet", mini_folder("imagenet"), MINI), 24, seed=0)
    victim, store = models.load("mini:clip", MINI), Store(tmp_path / "store")
    conditions = [CLEAN, any_corruption("posterize", 5), attack("random-signs", "16/255")]
    clean, *changed = (Evaluator(store, device=CPU)(victim, c, images) for c in conditions)
    for condition, outcomes in zip(conditions[1:], changed, strict=True):
        small = Evaluator(Store(tmp_path / "other"), device=CPU, batch_size=5)(victim, condition, images)
        assert np.array_equal(outcomes.predictions, small.predictions)
        assert not np.array_equal(outcomes.predictions, clean.predictions)
    cells = set(store.cells())
    for edited, new in ((FILE, 0), (FILE.replace("8 - severity", "7 - severity"), 2)):
        registry.forget()
        registry.load_file(plugin(edited))
        for condition in conditions:
            Evaluator(store, device=CPU)(victim, condition, images)
        assert len(set(store.cells()) - cells) == new


def test_an_installed_package_is_imported_when_it_is_used(toml, package):
    body = "import numpy as np\ndef invert(image, severity, rng):\n    return np.uint8(255 - image)\n"
    package("shifts_of_others", body, ("invert", "invert"))
    text = SUITE.replace('plugins = ["shifts_of_mine.py"]\n', "").replace("posterize", "invert")
    suite = suites.load(toml(text.replace(', "random-signs"', "")))
    condition = suite.conditions[3]
    assert condition.path == "synthetic/corruption-invert-1"
    assert "shifts_of_others" not in sys.modules
    assert str(condition.registered) == "corruption 'invert' of shifts_of_others 1.2"
    assert "shifts_of_others 1.2" in condition.registered.version


KIND = """
from clip_robustness import condition

@condition("glare", params={"level": (1, 3)}, source="Doe 2025")
def glare(source):
    return 255 - (255 - source.clean()) // (1 + 40 * source.condition["level"])
"""
KIND_SUITE = """
classes = "mini"
candidate = ["mini:clip"]
[data]
imagenet = "mini:imagenet"
[conditions]
kinds = [{ name = "glare", samples = 24 }]
[[rules]]
match = "synthetic/glare-3"
max_drop_vs_clean = 0.05
"""


def test_a_kind_of_condition_of_an_installed_package(run_here, toml, package):
    """Known by its source until it runs; gated and reported like ours."""
    package("kinds_of_others", KIND, ("glare", "glare"), kind="condition")
    suite = suites.load(toml(KIND_SUITE))
    assert [c.path for c in suite.conditions] == ["clean/clean", "synthetic/glare-1", "synthetic/glare-3"]
    assert "kinds_of_others" not in sys.modules
    found = suite.conditions[1].kind.registered
    assert (str(found), found.options["source"]) == ("condition 'glare' of kinds_of_others 1.2", "Doe 2025")
    run = run_here(f"--suite={toml(KIND_SUITE)}", "-k", "glare")
    assert run.code == 1, run.output
    row = run.cell("glare 3")
    assert (row["verdict"], row["n"], run.cell("glare 1")["n"]) == ("fail", 24, 24)


@pytest.mark.parametrize(
    "change",
    [
        ("from clip_robustness import condition\n\n@", "import clip_robustness\n\n@clip_robustness."),
        ("condition\n\n@condition", "condition as kind_of\n\n@kind_of"),
    ],
)
def test_options_of_a_package_are_known_however_it_imports_the_decorator(toml, package, change):
    package("kinds_of_others", KIND.replace(*change), ("glare", "glare"), kind="condition")
    assert [c.path for c in suites.load(toml(KIND_SUITE)).conditions][1:] == ["synthetic/glare-1", "synthetic/glare-3"]


def test_a_kind_of_condition_that_nobody_registered(toml):
    with pytest.raises(InputError, match="condition 'glare' is unknown; no name is known"):
        suites.load(toml(KIND_SUITE))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("import numpy", "import nunpy"),
            "shifts_of_mine.py does not import: ModuleNotFoundError: No module named",
        ),
        (("levels = 8", "levels == = 8"), "shifts_of_mine.py does not import: SyntaxError"),
        (('"posterize"', '"fog"'), "shifts_of_mine.py: the name is taken by the suite itself"),
        (('"random-signs"', '"pgd"'), "shifts_of_mine.py: the name is taken by the suite itself"),
        (('"random-signs"', '"adversarial-signs"'), "not the word adversarial"),
        (('"posterize"', '"poster ize"'), "the name is part of test ids"),
        (('"posterize"', '"posterise"'), "corruption 'posterize' is unknown; did you mean 'posterise'"),
    ],
)
def test_plugins_that_are_refused(toml, plugin, change, says):
    plugin(FILE.replace(*change))
    with pytest.raises(InputError) as error:
        suites.load(toml(SUITE))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_plugin_that_is_not_there(toml):
    with pytest.raises(InputError, match=r"plugin .*shifts_of_mine\.py: there is no such Python file"):
        suites.load(toml(SUITE))


def test_names_that_two_register(tmp_path, plugin, package):
    registry.load_file(plugin())
    again = tmp_path / "again.py"
    again.write_text(FILE.replace("8 - severity", "9 - severity"))
    with pytest.raises(InputError, match=r"again\.py: the name is taken by .*shifts_of_mine\.py"):
        registry.load_file(again)
    package("shifts_of_others", "def f(image, severity, rng): ...", ("posterize", "f"), ("fog", "f"))
    with pytest.raises(InputError, match=r"'posterize' is registered by shifts_of_others 1\.2 and by .*mine\.py"):
        any_corruption("posterize", 1)
    with pytest.raises(InputError, match=r"'fog' is registered by shifts_of_others 1\.2 and by the suite itself"):
        any_corruption("fog", 1)


def test_a_package_that_does_not_import(package):
    package("shifts_of_others", "import nothing_like_it", ("invert", "invert"))
    with pytest.raises(InputError, match=r"'invert': shifts_of_others 1\.2 does not import: ModuleNotFoundError"):
        _ = any_corruption("invert", 1).registered.function


def test_a_package_whose_source_is_no_python(package):
    package("shifts_of_others", "@corruption('invert')\ndef invert(:\n", ("invert", "invert"))
    with pytest.raises(InputError, match=r"shifts_of_others\.py: not a Python file: invalid syntax"):
        any_corruption("invert", 1)


def test_what_plugins_can_not_do(plugin):
    registry.load_file(plugin())
    with pytest.raises(InputError, match="severity 6"):
        any_corruption("posterize", 6)
    with pytest.raises(InputError, match="corruption 'posterize' is unknown"):
        corruption("posterize", 1)  # ImageNet-C has its own
    with pytest.raises(InputError, match="runs at a fixed eps"):
        attack("random-signs", "min")
    with pytest.raises(InputError, match="is given an eps"):
        attack("random-signs", "none")


def _fgsm(model, images, labels, eps, rngs):
    images = images.requires_grad_()
    loss = torch.nn.functional.cross_entropy(model(images), labels, reduction="sum")
    return (images + eps * torch.autograd.grad(loss, images)[0].sign()).clamp(0, 1)


def test_what_keeps_its_promise(plugin):
    registry.load_file(plugin())
    victim = models.load("mini:supervised", MINI)
    check_corruption(registry.find("corruption", "posterize"))
    check_attack(registry.find("attack", "random-signs"), victim)
    check_attack(_fgsm, victim)


def test_a_plugin_in_a_run(suite_run, toml, plugin):
    """Gated and reported like ours; what breaks its promise ends the run before it begins."""
    plugin()
    rule = '\n[[rules]]\nmatch = "synthetic/*"\nmin_accuracy = 0.1\n'
    run = suite_run(f"--suite={toml(SUITE + rule)}", "--samples", "24", "-k", "posterize or signs")
    assert run.code == 0, run.output
    assert run.cell("corruption posterize 3")["verdict"] == "pass"
    assert run.cell("random-signs 8/255")["n"] == 24
    plugin(FILE.replace("astype(np.uint8)", "astype(np.int16)"))
    run = suite_run(f"--suite={toml(SUITE)}", "--samples", "24", "-k", "posterize")
    assert run.code == 4
    assert "shifts_of_mine.py returns int16 (64, 64, 3); return an array of uint8 (64, 64, 3)" in run.output


OWN = (
    FILE
    + """
from clip_robustness import figure, limit
from clip_robustness.metrics.intervals import mean

@attack("half-fgsm", access="white-box", runner="in_loop", search=True, passes=(1, 1), stronger_than=("fgsm",))
def half_fgsm(context):
    from clip_robustness.conditions.attacks.gradient import SignSteps
    return (SignSteps(1, size=0.5),)

@figure("steps_to_fool")
def steps_to_fool(condition, outcomes):
    passes = outcomes.measures.get("passes")
    return None if passes is None else mean(passes)

@limit("min_steps_to_fool", low=0, high=1000, only_for="is_attack")
def min_steps_to_fool(look, bound):
    return look.mean_at_least("steps to fool", look.ours.measures["passes"], bound)
"""
)
RULE = '[[rules]]\nmatch = "adversarial/half-fgsm*"\nmin_steps_to_fool = {}\n'
OWN_SUITE = SUITE.replace('"random-signs"], eps = ["8/255"]', '"half-fgsm"], eps = ["8/255", "min"]')


def test_an_attack_of_ones_own_in_our_loop(tmp_path, plugin):
    """Half a step of FGSM is FGSM at half of the eps, at a fixed one and in the search."""
    registry.load_file(plugin(OWN))
    images = subsample(read_folder("imagenet", mini_folder("imagenet"), MINI), 24, seed=0)
    evaluate = Evaluator(Store(tmp_path), device=CPU)
    victim = models.load("mini:clip", MINI)
    half, whole = (evaluate(victim, attack(*of), images) for of in (("half-fgsm", "4/255"), ("fgsm", "2/255")))
    assert np.array_equal(half.predictions, whole.predictions)
    searched = evaluate(victim, attack("half-fgsm", "min"), images)
    assert "smallest_eps" in searched.measures
    assert attack("half-fgsm", "1/255").kind.passes == (1, 1)


def test_a_figure_and_a_limit_of_ones_own(suite_run, toml, plugin):
    plugin(OWN)
    for bound, verdict in ((1, "pass"), (3, "fail")):
        run = suite_run(f"--suite={toml(OWN_SUITE + RULE.format(bound))}", "--samples", "24", "-k", "half-fgsm-8")
        row = run.cell("half-fgsm 8/255")
        assert row["verdict"] == verdict, run.output
        assert 1 <= row["metrics"]["steps_to_fool"] <= 2
        said = re.match(r"steps to fool ([\d.]+) \[", row["reason"])[1]
        assert float(said) == pytest.approx(row["metrics"]["steps_to_fool"], abs=0.01)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("min_steps_to_fool =", "min_step_to_fool ="),
            r"unknown key 'rules.min_step_to_fool' in \[\[rules\]\] 1 .*; did you mean 'min_steps",
        ),
        (("fool = 3", "fool = -1"), "'rules.min_steps_to_fool' in .* input should be greater than or equal to 0"),
        (("half-fgsm*", "*"), None),
        (('match = "adversarial/half-fgsm*"', 'match = "synthetic/*"'), "sets min_steps_to_fool, which 'synthetic/"),
    ],
)
def test_a_limit_of_ones_own_that_is_set_wrong(toml, plugin, change, says):
    plugin(OWN)
    text = OWN_SUITE + RULE.format(3).replace(*change)
    if says is None:
        assert "min_steps_to_fool" in suites.load(toml(text)).limits
        return
    with pytest.raises(InputError, match=says):
        suites.load(toml(text))


def test_options_that_are_no_literals_or_unknown(plugin, package):
    package(
        "their_attacks", FILE.replace('access="black-box"', "access=str()"), ("signs", "random_signs"), kind="attack"
    )
    with pytest.raises(InputError, match=r"their_attacks\.py, line 10: @attack takes literals alone"):
        attack("signs", "1/255")
    registry.load_file(plugin(FILE.replace('access="black-box"', 'access="black-box", runs_fast=True')))
    with pytest.raises(InputError, match=r"'random-signs' of .*shifts_of_mine\.py: .*keyword argument 'runs_fast'"):
        attack("random-signs", "1/255")


def test_ours_are_found_as_others_are_without_an_import():
    """One registry: what a file of ours registers has a name, a file and options, as what a package offers."""
    code = (
        "import sys; from clip_robustness import registry as r; found = r.find;"
        "print(found('attack', 'bim').options['passes'], found('corruption', 'fog').reference, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "src")
    assert done.stdout.split("\n")[0] == "(1, 5) clip_robustness.conditions.corruptions.weather.fog False"
    assert registry.find("corruption", "fog").function.__name__ == "fog"
    assert set(CORRUPTIONS) <= {found.name for found in registry.ours("corruption")}
