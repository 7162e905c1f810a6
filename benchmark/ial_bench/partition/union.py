"""Sets that grow together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class UnionFind(Generic[T]):
    """Disjoint sets; an item not met before is a set of its own."""

    def __init__(self) -> None:
        self._parent: dict[T, T] = {}

    def find(self, item: T) -> T:
        """The item that stands for `item`'s set."""
        parent = self._parent
        root = item
        while (above := parent.setdefault(root, root)) != root:
            root = above
        while (above := parent[item]) != root:
            parent[item], item = root, above
        return root

    def join(self, items: Iterable[T]) -> None:
        """Make one set of the sets of `items`."""
        roots = [self.find(i) for i in items]
        for root in roots[1:]:
            self._parent[self.find(root)] = self.find(roots[0])
