"""A suite: which models run under which conditions on which images, and what is asserted. Read from TOML.

Light to import: no torch, no numpy; a suite is read before every collection of tests.
"""

from clip_robustness.suites.read import FOLDER, PROFILES, SHIPPED, load
from clip_robustness.suites.schema import Gate
from clip_robustness.suites.suite import Suite

__all__ = ["FOLDER", "PROFILES", "SHIPPED", "Gate", "Suite", "load"]
