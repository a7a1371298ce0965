import json

from tests.gpu import check, rates
from tests.gpu.rows import Check, Plan, Rate


def test_a_quick_check_passes_on_a_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "QUICK", Plan(models=(), images=2, batch=2, cells=2, seconds=0.0))
    monkeypatch.setattr(rates, "_ROUNDS", 1)
    assert check.main(["--quick", "--device", "cpu", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "check.json").read_text())
    assert {row["ok"] for row in found["checks"]} == {True, None}
    assert {row["work"] for row in found["rates"]} >= {"clean, decoded before", "BIM", "NES, 10 pairs"}
    assert len((tmp_path / "check.md").read_text().splitlines()) > len(found["checks"]) + len(found["rates"])


def test_a_check_that_fails_fails_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(check.equal, "checks", lambda *_: iter([Check("equal", False, "3 of 16 differ")]))
    monkeypatch.setattr(check.rates, "rates", lambda *_: iter([Rate("m", "fp32", "clean", 8.0, 10.0, 0.9)]))
    assert check.main(["--quick", "--device", "cpu", "--out", str(tmp_path)]) == 1
    text = (tmp_path / "check.md").read_text()
    assert "| equal | FAILS | 3 of 16 differ |" in text
    assert "| m | fp32 | clean | 8 | 10 | 0.80 | 0.9 (below) |" in text
