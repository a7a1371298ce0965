"""The outcome store: what each model predicted for each image under each condition, kept as it is computed.

A folder with a file for each cell (model, condition, data, seed, code), named by the cell's key, and a line in it for
each block: a checksum, and the answers with who computed them, as compressed JSON. Lines are only appended, each in one
write. No database: a killed run loses the block that it was computing, a damaged byte costs its block and nothing
else, writers of different cells never meet, and stores of several machines, or on a network file system, are merged
line by line.
"""

from clip_robustness.evaluation.store.block import About, Block, block, parse
from clip_robustness.evaluation.store.store import SUFFIX, Known, Store

__all__ = ["SUFFIX", "About", "Block", "Known", "Store", "block", "parse"]
