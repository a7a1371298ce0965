"""Learned prompts: `clip-robustness prompts search`."""
