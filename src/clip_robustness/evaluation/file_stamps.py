"""What the image files of a run are: as they were when the run first looked, or they do not count."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from clip_robustness.datasets.dataset import Sample


class FileStamps:
    """Stamps of files at their first sight, and digests of contents, each read once. Threads may ask."""

    def __init__(self) -> None:
        self._first: dict[str, dict[str, str]] = defaultdict(dict)
        """By the two parts of `Sample.place`."""
        self._digests: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)

    def stamps(self, samples: Iterable[Sample]) -> dict[str, str]:
        """Image id -> stamp at first sight, for the files that were there: stored outcomes are of that state, and who
        computes looks again."""
        found = {}
        for sample in samples:
            folder, name = sample.place
            stamp = self._first[folder].get(name)
            if stamp is None and (stamp := _stamp(sample)):
                self._first[folder][name] = stamp
            if stamp:
                found[sample.id] = stamp
        return found

    def changed(self, samples: Iterable[Sample]) -> list[str]:
        """Ids of those whose files were replaced or removed since."""
        return [i.id for i in samples if (first := self._known(i)) is not None and _stamp(i) != first]

    def _known(self, sample: Sample) -> str | None:
        folder, name = sample.place
        return self._first[folder].get(name)

    def digest(self, sample: Sample, stamp: str) -> str:
        """Of the content of a file of this stamp. Raises `OSError` where it can't be read."""
        known, key = self._digests[sample.place[0]], (sample.id, stamp)
        if key not in known:
            content = sample.content() if sample.content else sample.path.read_bytes()
            known[key] = hashlib.blake2b(content, digest_size=8).hexdigest()
        return known[key]


def _stamp(sample: Sample) -> str:
    try:
        return sample.stamp
    except OSError:
        return ""
