"""Whether two parts of a data set share images."""

from __future__ import annotations

import numpy as np

from tf_simclr.data.records import IndexedSource, Source


def shared_images(one: Source, other: Source) -> int:
    """How many images of a data set are in both of these parts, as `data.open_source` gives them.

    By their ids where these are known, else by the stretches of the files that streams read.
    """
    if isinstance(one, IndexedSource) and isinstance(other, IndexedSource):
        return len(np.intersect1d(one.ids(), other.ids()))
    return sum(
        max(0, min(end, other_end) - max(begin, other_begin))
        for file, begin, end in one.stretches
        for other_file, other_begin, other_end in other.stretches
        if file == other_file
    )
