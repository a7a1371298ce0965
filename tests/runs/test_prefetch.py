"""The command in a process of its own: libraries read where their caches are when they are imported."""

import subprocess
import sys


def test_what_is_fetched_is_in_the_folder(tmp_path, toml):
    suite = toml(
        'classes = "mini"\ncandidate = ["mini:clip", "python:nowhere:model"]\n[data]\n'
        'imagenet-a = "mini:imagenet-a"\n[conditions]\nnatural = ["imagenet-a"]\n'
    )
    command = [sys.executable, "-m", "clip_robustness", "prefetch", "--suite", suite, "--to", str(tmp_path / "all")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "there: mini:clip" in done.stdout
    assert "missing: python:nowhere:model" in done.stdout
    assert "there: imagenet-a = mini:imagenet-a" in done.stdout
    assert list((tmp_path / "all" / "clip-robustness").rglob("*.png"))
    assert (tmp_path / "all" / "env.sh").is_file()
