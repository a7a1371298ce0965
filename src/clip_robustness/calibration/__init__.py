"""Published figures of known checkpoints: which model is one, whether a set-up agrees, if not why."""
