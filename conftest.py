"""Loads the suite's pytest plugin; options, fixtures and reports live in it."""

pytest_plugins = ["clip_robustness.fixtures.plugin"]
