"""From a spec string to a classifier."""

from clip_robustness.errors import InputError
from clip_robustness.models.registry import code_behind, code_version, has_code, load
from clip_robustness.models.spec import ModelSpec, parse, parse_all

__all__ = ["InputError", "ModelSpec", "code_behind", "code_version", "has_code", "load", "parse", "parse_all"]
