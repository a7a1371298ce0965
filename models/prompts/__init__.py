"""Learned prompts: `python -m models.prompts search`."""
