"""Test sets beyond the benchmark: one file and one registration each, which `conditions.shifts` explains."""
