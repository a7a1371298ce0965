"""The suite as its users run it: whole `pytest` processes."""

import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import pytest

from clip_robustness import suites
from clip_robustness.conditions.benchmark import ATTACKS
from clip_robustness.datasets.classes import class_list
from clip_robustness.fixtures import collect
from clip_robustness.fixtures.collect import runs_benchmark
from clip_robustness.models import embedded
from clip_robustness.reports.write import FILES
from clip_robustness.results.results import read
from tests import ROOT
from tests.conftest import many_cells, run_pytest

CONDITIONS = suites.load("mini").conditions

pytestmark = pytest.mark.filterwarnings("ignore")

CELLS = """
classes = "mini"
candidate = ["mini:clip"]
supervised = ["mini:supervised"]
samples = 24
[data]
imagenet = "mini:imagenet"
[conditions]
natural = ["imagenet-v2"]
attacks = { names = ["fgsm"], eps = ["8/255"] }
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The embedded default on few images, which NES and SPSA ask with two pairs of queries a step."""
    folder = tmp_path_factory.mktemp("small")
    text = (suites.FOLDER / "mini.toml").read_text()
    assert "pairs = 20 }" in text
    (folder / "mini.toml").write_text(text.replace("pairs = 20 }", "pairs = 2 }"))
    return run_pytest(folder / "reports" / "run", f"--suite={folder / 'mini.toml'}", "--samples", "8")


def rows(run):
    return [{k: v for k, v in cell.items() if k != "seconds"} for cell in run.cells]


def test_the_default_leaves_its_reports(small):
    assert {p.name for p in small.report_dir.iterdir()} == set(FILES)
    assert (small.report_dir / "report.html").stat().st_size < 3e6
    alone = sum(condition.kind.zero_shot_only for condition in CONDITIONS)
    assert len(small.cells) == 2 * len(CONDITIONS) - alone
    assert all(cell["n"] == 8 for cell in small.cells if cell["family"] != "overlap")
    assert "results.json" in small.output


def test_every_accuracy_has_its_interval_and_every_candidate_its_paired_difference(small):
    for cell in small.cells:
        assert cell["ci95"][0] <= cell["accuracy"] <= cell["ci95"][1]
        if cell["role"] == "candidate" and cell["condition"] != "objectnet-all-names":
            assert cell["difference"]["value"] == pytest.approx(cell["accuracy"] - cell["supervised"]["accuracy"])


def test_no_attack_helps(small):
    clean = {role: small.cell("clean", role)["correct"] for role in ("candidate", "supervised")}
    attacked = [cell for cell in small.cells if cell["family"] == "adversarial"]
    assert len(attacked) == 2 * sum(condition.family == "adversarial" for condition in CONDITIONS)
    assert all(cell["correct"] <= clean[cell["role"]] for cell in attacked)


def test_junit_has_a_case_for_each_candidate_cell(small):
    root = ET.parse(small.report_dir / "junit.xml").getroot()
    assert len(list(root.iter("testcase"))) == len(CONDITIONS)
    assert {s.get("name") for s in root.iter("testsuite")} == {
        "clean",
        "natural",
        "synthetic",
        "adversarial",
        "overlap",
    }


def test_the_header_says_what_runs_where_in_which_precision(small):
    assert "robustness: suite mini on cpu (" in small.output
    assert "candidate mini:clip: fp32, 64 px, bicubic, shortest side, centre crop, mean 0.4815 " in small.output
    assert "supervised mini:supervised: fp32, 64 px" in small.output


def test_files_that_a_suite_names_are_relative_to_it(tmp_path, toml, suite_run):
    """A checkpoint, prompts and a class list; and options are part of the id, in characters that -k can select."""
    shutil.copy(embedded.CLIP_WEIGHTS, tmp_path / "mine.safetensors")
    (tmp_path / "prompts.txt").write_text("a photo of a {}.\na drawing of a {}.\n")
    (tmp_path / "classes.tsv").write_text(
        "".join(f"{k}\t{n}\n" for k, n in zip(class_list("mini").keys, class_list("mini").names, strict=True))
    )
    spec = "open_clip:mini-clip@mine.safetensors?prompts=prompts.txt"
    suite = CELLS.replace("mini:clip", spec).replace('classes = "mini"', 'classes = "classes.tsv"')
    run = suite_run(f"--suite={toml(suite)}", "-k", "open_clip:mini-clip:mine:prompts-prompts-clean")
    assert run.code == 0, run.output
    assert run.cell("clean")["model"] == spec
    assert run.cell("clean")["accuracy"] > 0.9
    assert "prompts prompts.txt, 2 templates" in run.output


CHOSEN = "ytbb-robust or imagenet-a or contrast-3 or c-gaussian_noise-3 or bim-1"
"""A cell of each kind."""


def test_two_workers_give_the_same_rows(tmp_path):
    asked = "--samples", "8", "-k", f"{CHOSEN} or deepfool or transfer-dim or p-translate or typographic"
    alone, parallel = (run_pytest(tmp_path / n / "run", *asked, *more) for n, more in (("1", ()), ("2", ("-n", "2"))))
    assert parallel.code == alone.code
    assert len(alone.cells) >= 30
    assert rows(parallel) == rows(alone)


def test_batches_of_one_differ_by_an_image_at_most(small, suite_run):
    """One image a forward pass takes its time."""
    single = suite_run("--samples", "8", "--batch-size", "1", "-k", CHOSEN)
    assert single.code == 0, single.output

    def key(cell):
        return cell["condition"], *cell["params"].values(), cell["role"]

    together = {key(cell): cell for cell in small.cells}
    assert len(single.cells) == 18
    for cell in single.cells:
        assert abs(cell["correct"] - together[key(cell)]["correct"]) <= 1


def test_adversarial_selects_the_attacks_and_nothing_else(suite_run):
    chosen = suite_run("--collect-only", "-q", "-k", "adversarial").output
    found = [line for line in chosen.splitlines() if "::" in line]
    attacks = [condition for condition in CONDITIONS if condition.family == "adversarial"]
    assert found == [f"robustness_tests/test_adversarial.py::test_attack[mini:clip-{c.id}]" for c in attacks]
    assert {condition.name for condition in attacks} == set(ATTACKS)


@pytest.mark.parametrize("expression", ["mini:clip-bim-8/255", "imagenet-c-contrast-3", "overlap-imagenet-v2"])
def test_ids_can_be_selected(suite_run, expression):
    chosen = suite_run("--collect-only", "-q", "-k", expression).output
    assert sum("::" in line for line in chosen.splitlines()) == 1


def test_the_suites_own_tests_are_run_where_they_are_named_alone(suite_run):
    def files(place):
        lines = suite_run("--collect-only", "-q", place).output.splitlines()
        return [line.partition("::")[0] for line in lines if "::" in line]

    everything = files(".")
    assert len(everything) == len(CONDITIONS)
    assert {file.partition("/")[0] for file in everything} == {"robustness_tests"}
    assert {*files("tests/metrics")} >= {"tests/metrics/test_flips.py", "tests/metrics/test_evidence.py"}
    assert {*files("tests/metrics/test_flips.py")} == {"tests/metrics/test_flips.py"}


def test_collecting_two_thousand_cells_is_light(toml, tmp_path):
    """A plugin file is run, and imports what it imports."""
    suite = many_cells(tmp_path)
    code = (
        "import sys, pytest\n"
        f"code = pytest.main(['--collect-only', '-qq', '-p', 'no:cacheprovider', '--suite=' + {toml(suite)!r}])\n"
        "heavy = {'torch', 'open_clip', 'timm', 'scipy', 'matplotlib', 'cv2', 'PIL'} & sys.modules.keys()\n"
        "sys.exit(f'imported: {heavy}' if heavy else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"test_adversarial.py: {30 * sum(c.family == 'adversarial' for c in CONDITIONS)}" in done.stdout
    synthetic = 5 + sum(c.family == "synthetic" for c in CONDITIONS)
    assert f"test_synthetic_shifts.py: {30 * synthetic}" in done.stdout


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--suite", "minni"], "did you mean 'mini'"),
        (["--candidate", "openclip:ViT-B-32/openai"], "did you mean 'open_clip'"),
        (["--candidate", "timm:resnet50@/nowhere.pt"], "there is no file /nowhere.pt"),
        (["--samples", "0"], "a positive number is expected"),
        (["--batch-size", "0"], "a positive number is expected"),
        (["--candidate", "mini:clip", "--candidate", "mini:clip"], "would both be called"),
        (["--candidate", "timm:resnet_50@{weights}"], "did you mean 'resnet50'"),
        (["--device", "cuda:7"], "--device cuda:7"),
    ],
)
def test_usage_errors_exit_with_4_in_one_sentence_before_any_model_runs(suite_run, args, says):
    weights = embedded.SUPERVISED_WEIGHTS
    run = suite_run(*(arg.format(weights=weights) for arg in args))
    assert run.code == 4, run.output
    errors = [line for line in run.output.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1
    assert says in errors[0]
    if run.report_dir.exists():  # the options are valid, but what they name does not load
        assert errors[0].removeprefix("ERROR: ") in read(run.report_dir / "results.json").partial


def test_usage_errors_under_xdist(suite_run):
    weights = embedded.SUPERVISED_WEIGHTS
    run = suite_run("-n", "2", "--candidate", f"timm:resnet50@{weights}")
    assert run.code == 4, run.output
    assert "does not fit resnet50" in run.output


def test_a_condition_without_data_is_not_run_and_says_what_to_add(suite_run, toml):
    file = toml(CELLS)
    run = suite_run("--suite=" + file)
    assert run.code == 0, run.output
    cell = run.cell("imagenet-v2")
    assert (cell["verdict"], cell["accuracy"]) == ("not run", None)
    assert f'add imagenet-v2 = "/path/to/imagenet-v2" under [data] in {file}' in cell["reason"]


def test_require_all_fails_where_data_is_missing(suite_run, toml):
    run = suite_run("--suite=" + toml(CELLS), "--require-all")
    assert run.code == 1, run.output
    assert run.cell("imagenet-v2")["verdict"] == "error"


def test_nothing_measured_is_not_green(suite_run, toml):
    run = suite_run("--suite=" + toml(CELLS), "-k", "imagenet-v2")
    assert run.code == 5, run.output


def test_a_rule_fails_with_the_figures_in_its_sentence(suite_run, toml):
    run = suite_run("--suite=" + toml(CELLS + '[[rules]]\nmatch = "adversarial/*"\nmin_accuracy = 0.9\n'), "-k", "fgsm")
    assert run.code == 1, run.output
    assert "is below 90.0 points" in run.output
    assert run.cell("fgsm 8/255")["verdict"] == "fail"


def test_a_known_weakness_is_a_strict_xfail(suite_run, toml):
    weak = CELLS + '[[rules]]\nmatch = "adversarial/*"\nmin_accuracy = 0.9\nknown_weakness = "nobody defended it"\n'
    run = suite_run("--suite=" + toml(weak), "-k", "fgsm")
    assert run.code == 0, run.output
    assert "1 xfailed" in run.output
    assert "nobody defended it" in run.cell("fgsm 8/255")["reason"]
    improved = suite_run("--suite=" + toml(weak.replace("0.9", "0.0")), "-k", "fgsm")
    assert improved.code == 1, improved.output
    assert "XPASS(strict)" in improved.output
    assert improved.cell("fgsm 8/255")["verdict"] == "improved"


def test_a_known_weakness_does_not_hide_an_error(suite_run, toml, image_folder):
    """All images unreadable: that is no weakness of the model."""
    folder = image_folder({f"m{i:08d}": 2 for i in range(24)})
    weak = CELLS.replace("mini:imagenet", str(folder))
    weak += '[[rules]]\nmatch = "*"\nmin_accuracy = 1.0\nknown_weakness = "noise has no class"\n'
    for file in folder.rglob("*.png"):
        file.write_bytes(b"cut off")
    run = suite_run("--suite=" + toml(weak), "-k", "fgsm")
    assert run.code == 1, run.output
    assert "24 of 24 images can't be decoded" in run.cell("fgsm 8/255")["reason"]
    assert ".png: not an image that Pillow reads as JPEG" in run.cell("fgsm 8/255")["reason"]


def test_one_unreadable_image_among_many_is_counted_and_named(suite_run, toml, image_folder):
    folder = image_folder({f"m{i:08d}": 5 for i in range(24)})
    (folder / "m00000003" / "2.png").write_bytes(b"cut off")
    run = suite_run(
        "--suite=" + toml(CELLS.replace("mini:imagenet", str(folder)).replace("samples = 24\n", "")), "-k", "clean"
    )
    assert run.code == 0, run.output
    assert run.cell("clean")["n"] == 119
    assert run.cell("clean")["unreadable"] == ["m00000003/2.png"]
    assert any("1 of 120 images can't be decoded" in w and "not an image" in w for w in run.cell("clean")["warnings"])
    assert "m00000003/2.png" in (run.report_dir / "report.html").read_text()


def test_a_folder_of_unknown_classes_is_a_usage_error(suite_run, toml, image_folder):
    folder = image_folder({"m00000000": 1, "zebra": 1})
    run = suite_run("--suite=" + toml(CELLS.replace("mini:imagenet", str(folder))))
    assert run.code == 4, run.output
    assert "zebra is not a class of 'mini'" in run.output


def test_tests_of_the_suite_write_no_reports(suite_run):
    run = suite_run("tests/models/test_spec.py")
    assert run.code == 0, run.output
    assert not run.report_dir.exists()


def runs(root, *args):
    """Whether these arguments name the package's own tests."""
    said = SimpleNamespace(collectonly=False, robustness_explain_gate=False, robustness_dry_run=False)
    options = {"option": said, "getoption": lambda name: getattr(said, name)}
    invoked = SimpleNamespace(dir=root)
    return runs_benchmark(SimpleNamespace(rootpath=root, args=args, invocation_params=invoked, **options))


def test_an_environment_in_a_repository_is_no_part_of_it(tmp_path, monkeypatch):
    installed = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages" / "clip_robustness" / "robustness_tests"
    monkeypatch.setattr(collect, "_folder", lambda: installed)
    assert not runs(tmp_path, str(tmp_path))
    assert not runs(tmp_path, "tests")
    assert runs(tmp_path, "clip_robustness.robustness_tests")
    assert runs(tmp_path, str(installed / "test_adversarial.py"))


def test_a_checkout_that_is_named_through_a_link_runs_the_benchmark(tmp_path):
    (tmp_path / "link").symlink_to(ROOT)
    (tmp_path / "other").mkdir()
    for root in (ROOT, tmp_path / "link"):
        for place in (ROOT, tmp_path / "link"):
            assert runs(root, str(place / "robustness_tests" / "test_natural_shifts.py::test_clean"))
            assert runs(root, str(place))
            assert not runs(root, str(place / "tests"))
        assert runs(root, "robustness_tests")
        assert not runs(root, str(tmp_path / "other"))


def test_a_named_model_goes_by_its_name(suite_run, toml):
    run = suite_run(f"--suite={toml(CELLS)}", "--candidate", "epoch=mini:clip", "-k", "epoch-clean", "--gallery", "0")
    assert run.code == 0, run.output
    assert {(cell["model"], cell["role"]) for cell in run.cells} == {
        ("epoch", "candidate"),
        ("mini:supervised", "supervised"),
    }
    candidate, _ = read(run.report_dir / "results.json").models
    assert (candidate["model"], candidate["spec"]) == ("epoch", "mini:clip")
    assert "candidate epoch = mini:clip: fp32" in run.output


def test_one_name_for_two_models(suite_run, toml):
    run = suite_run(f"--suite={toml(CELLS)}", "--candidate", "epoch=mini:clip", "--supervised", "epoch=mini:supervised")
    assert run.code == 4
    assert "two models are called 'epoch': mini:clip and mini:supervised" in run.output
