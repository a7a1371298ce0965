"""Claims of a paper, and whether they hold for a candidate."""

import pytest

from clip_robustness import suites
from clip_robustness.errors import InputError
from clip_robustness.results.claims import of_cells
from clip_robustness.results.result import Check, Result
from clip_robustness.suites.schema import Claimed

WORSE = Claimed(
    name="fog", says="It is worse.", source="p", match=("synthetic/imagenet-c-*",), limit="min_drop_vs_supervised"
)
FAMILIAR = Claimed(name="overlap", says="It knows them.", source="p", match=("overlap/*",), figure="removed")


def cell(severity, status, model="mine"):
    check = Check("min_drop_vs_supervised", 0.0, 0.1, (0.0, 0.2), 0.5, 0.5, status, "")
    params = {"corruption": "fog", "severity": severity}
    return Result("synthetic", "imagenet-c", params, model, "candidate", "pass", "", checks=(check,) if status else ())


@pytest.mark.parametrize(
    ("statuses", "expected", "said"),
    [
        (("pass", "pass"), "holds", "in 2 of 2 conditions"),
        (("pass", "fail"), "does not hold", "not in 1 of 2 conditions: imagenet-c fog 2"),
        (("pass", "inconclusive"), "open", "shown in 1 of 2 conditions, not in imagenet-c fog 2"),
        (("", ""), "open", "no cell tells"),
        ((), "open", "no cell of it is in the run"),
    ],
)
def test_a_claim_holds_where_all_its_cells_show_it(statuses, expected, said):
    cells = [cell(i, status) for i, status in enumerate(statuses, 1)]
    cells.append(Result("natural", "imagenet-a", {}, "mine", "candidate", "pass", ""))
    (found,) = of_cells([WORSE], cells)
    assert (found.status, found.detail) == (expected, said)


@pytest.mark.parametrize(
    ("ends", "expected"), [((0.01, 0.1), "holds"), ((-0.1, -0.01), "does not hold"), ((-0.1, 0.1), "open")]
)
def test_a_claim_about_a_figure_looks_at_its_interval(ends, expected):
    metrics = {"removed": 0.0, "removed_ci95_low": ends[0], "removed_ci95_high": ends[1]}
    cells = [Result("overlap", "overlap-clean", {}, "mine", "candidate", "pass", "", metrics=metrics)]
    assert [claim.status for claim in of_cells([FAMILIAR], cells)] == [expected]


def test_the_paper_s_claims_are_named_one_by_one():
    claims = suites.load("mini", "paper").profile.claims
    assert [claim.name for claim in claims] == [
        "natural", "overlap", "synthetic", "white-box", "transfer", "score-based", "typographic"
    ]  # fmt: skip
    paths = [condition.path for condition in suites.load("mini").conditions]
    found = of_cells(
        claims, [Result(p.partition("/")[0], p.partition("/")[2], {}, "m", "candidate", "pass", "") for p in paths]
    )
    assert {claim.detail for claim in found} == {"no cell tells"}  # each matches some of the embedded suite's


def test_a_claim_that_nothing_could_show_is_refused(toml, tmp_path):
    (tmp_path / "own.toml").write_text(
        '[[claims]]\nname = "a"\nsays = "b"\nsource = "c"\nmatch = ["*"]\nlimit = "max_drop"\n'
    )
    suite = toml('classes = "mini"\nprofile = "own.toml"\n[data]\nimagenet = "mini:imagenet"\n[conditions]\n')
    with pytest.raises(InputError, match="claim 'a': limit 'max_drop' is unknown"):
        suites.load(suite)
