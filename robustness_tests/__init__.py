"""What users run: one test per model and condition."""
