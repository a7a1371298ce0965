"""Loads the suite's two pytest plugins; options, fixtures and reports live in them."""

pytest_plugins = ["fixtures.plugin", "reports.plugin"]
