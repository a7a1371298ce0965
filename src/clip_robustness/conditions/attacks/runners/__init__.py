"""How attacks are run on the images of a cell: one way a family of attacks."""
