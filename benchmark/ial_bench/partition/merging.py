"""Making parts large enough by joining the small ones to their neighbours."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence


def merge_small(sizes: Sequence[float], neighbours: Mapping[int, Collection[int]], least: float) -> list[int]:
    """Join parts smaller than `least` to a neighbour until none is left that has one.

    The smallest part goes first, to the smallest of its neighbours, so that parts stay even; of equals, the first.

    Args:
        sizes: of the parts; a joined part has the sum.
        neighbours: of each part; it holds either way.
        least: the size that is large enough.

    Returns:
        For each part, the first of those it was joined with.
    """
    total = list(sizes)
    beside = {i: set(neighbours.get(i, ())) - {i} for i in range(len(total))}
    into = list(range(len(total)))
    heap = [(size, i) for i, size in enumerate(total) if size < least]
    heapq.heapify(heap)
    while heap:
        size, i = heapq.heappop(heap)
        if into[i] != i or size != total[i] or not beside[i]:
            continue
        j = min(beside[i], key=lambda n: (total[n], n))
        first, second = min(i, j), max(i, j)
        into[second] = first
        total[first] += total[second]
        for n in beside.pop(second):
            beside[n].discard(second)
            if n != first:
                beside[n].add(first)
                beside[first].add(n)
        if total[first] < least:
            heapq.heappush(heap, (total[first], first))
    return [_root(into, i) for i in range(len(into))]


def _root(into: list[int], i: int) -> int:
    while into[i] != i:
        i = into[i]
    return i
