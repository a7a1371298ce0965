"""Test sets that are more than class folders: one file and one registration each, as `conditions.shifts` has it."""
