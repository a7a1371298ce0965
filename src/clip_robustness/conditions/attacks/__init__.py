"""Adversarial attacks in pixel space: images in [0, 1], eps in the same unit, normalisation inside the model."""
