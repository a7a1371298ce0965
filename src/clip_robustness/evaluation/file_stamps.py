"""What the image files of a run are: as they were when the run first looked, or they do not count."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from clip_robustness.datasets.dataset import Sample


@dataclass
class FileStamps:
    """Stamps of files at their first sight, and digests of contents, each read once. Threads may ask."""

    _first: dict[Path, str] = field(default_factory=dict)
    _digests: dict[tuple[Path, str, str], str] = field(default_factory=dict)

    def stamps(self, samples: Iterable[Sample]) -> dict[str, str]:
        """Image id -> stamp at first sight, for the files that were there: stored outcomes are of that state, and who
        computes looks again."""
        found = {}
        for sample in samples:
            stamp = self._first.get(sample.path)
            if stamp is None and (stamp := _stamp(sample)):
                self._first[sample.path] = stamp
            if stamp:
                found[sample.id] = stamp
        return found

    def changed(self, samples: Iterable[Sample]) -> list[str]:
        """Ids of those whose files were replaced or removed since."""
        return [i.id for i in samples if (first := self._first.get(i.path)) is not None and _stamp(i) != first]

    def digest(self, sample: Sample, stamp: str) -> str:
        """Of the content of a file of this stamp. Raises `OSError` where it can't be read."""
        key = (sample.path, sample.id, stamp)
        if key not in self._digests:
            content = sample.content() if sample.content else sample.path.read_bytes()
            self._digests[key] = hashlib.blake2b(content, digest_size=8).hexdigest()
        return self._digests[key]


def _stamp(sample: Sample) -> str:
    try:
        return sample.stamp
    except OSError:
        return ""
