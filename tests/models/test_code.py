"""Which code counts as the user's, and which as a library's."""

import sys

import torch  # noqa: F401 - what is loaded is asked where it lies

from clip_robustness.models import code


def test_libraries_that_lie_elsewhere_than_in_this_environment_are_libraries(tmp_path, monkeypatch):
    """As with --system-site-packages, PYTHONPATH or a .pth: they count by their version, and are not read."""
    (tmp_path / "site" / "their_library").mkdir(parents=True)
    (tmp_path / "site" / "their_library" / "__init__.py").write_text("def used(): return 1\n")
    (tmp_path / "site" / "their_library-1.5.dist-info").mkdir()
    (tmp_path / "site" / "their_library-1.5.dist-info" / "METADATA").write_text("Name: their-library\nVersion: 1.5\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "module_of_mine.py").write_text(
        "import torch\nimport their_library\n\ndef mine(): return their_library.used(), torch.ops.aten.add\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path / "mine"), str(tmp_path / "site"), *sys.path])
    monkeypatch.setattr(code, "_INSTALLED", ())
    code._file.cache_clear()
    code._module.cache_clear()
    try:
        found = code.code_of(["module_of_mine.mine"])
    finally:
        code._file.cache_clear()
        code._module.cache_clear()
    assert {name.partition(".")[0] for name in found.units} == {"module_of_mine"}
    assert {"their_library", "torch"} <= {name.partition(".")[0] for name in found.libraries}
