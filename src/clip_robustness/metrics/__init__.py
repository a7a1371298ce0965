"""Pure numbers: intervals, comparisons and verdicts from per-image outcomes."""
