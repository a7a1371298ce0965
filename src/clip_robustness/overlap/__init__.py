"""Near-duplicates between pre-training images and test sets: how much of what a model can do it may have seen."""
