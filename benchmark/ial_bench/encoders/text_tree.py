"""Texts that begin alike through a causal text tower, what they share computed once.

Where each token sees those before it alone, the vector of a text's k-th token follows from its first k tokens. So texts
form a tree: its root is the start token, and texts that begin alike (a learnt context, the street of several addresses)
have a path in common. Norms, projections and MLPs are computed for each node, attention for each text along its path;
of the last block, only what the texts' ends need. That changes nothing but the time, and roundings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ial_bench.encoders.blocks import Block, repeatable_rows

Keys = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TextTree:
    """Some texts as a tree.

    Attributes:
        rows: int64 [t], for each node a text that it stands in.
        columns: int64 [t], its place in the text.
        nodes: int64 [n, l], the node of each token; behind a text's end anything.
        ends: int64 [n], the place of each text's end.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    nodes: torch.Tensor
    ends: torch.Tensor

    @classmethod
    def of(cls, keys: Keys, ends: Keys, device: torch.device) -> TextTree:
        """The tree of texts in their order by `alike`: others are right too, but share less.

        Args:
            keys: [n, at least the largest end + 1], tokens with the same key have the same embedding.
            ends: [n], the place of each text's end.
            device: where it is wanted.
        """
        keys = keys[:, : int(ends.max()) + 1]
        inside = np.arange(keys.shape[1]) <= ends[:, None]
        new = inside.copy()
        same = (keys[1:] == keys[:-1]) & inside[:-1]
        new[1:] &= ~np.logical_and.accumulate(same, axis=1)
        numbers = np.where(new, new.cumsum().reshape(new.shape) - 1, 0)
        # A token that is not new has the node of the text above, which is the largest so far of its column.
        nodes = np.maximum.accumulate(numbers, axis=0)
        rows, columns = new.nonzero()
        return cls(*(torch.from_numpy(part).to(device) for part in (rows, columns, nodes, ends)))

    def along(self, x: torch.Tensor) -> torch.Tensor:
        """Nodes [t, d] to texts [n, l, d]."""
        return repeatable_rows(x, self.nodes.flatten()).view(*self.nodes.shape, -1)

    def once(self, x: torch.Tensor) -> torch.Tensor:
        """Texts [n, l, d] to nodes [t, d]."""
        return repeatable_rows(x.reshape(-1, x.shape[2]), self.rows * self.nodes.shape[1] + self.columns)

    def at_ends(self, x: torch.Tensor) -> torch.Tensor:
        """Nodes [t, d] to the texts' ends [n, d]."""
        return repeatable_rows(x, self.nodes[torch.arange(len(self.ends), device=x.device), self.ends])

    def with_prompt(self, x: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        """Nodes [t, width] with those at the places 1..m replaced by the prompt's [m, width]."""
        behind = self.columns - 1
        places = ((behind >= 0) & (behind < len(prompt))).nonzero()[:, 0]
        return x.index_copy(0, places, repeatable_rows(prompt.to(x.dtype), behind[places]))


def alike(keys: Keys) -> Keys:
    """int64 [n]: the order in which texts that begin alike follow each other."""
    return np.lexsort(keys.T[::-1])


def encode_tree(
    blocks: Sequence[Block], x: torch.Tensor, tree: TextTree, mask: torch.Tensor, deep: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Embeddings [t, width] of the nodes to the last block's output [n, width] at the texts' ends.

    Args:
        blocks: of the text tower.
        x: the embeddings, with positions.
        tree: the texts.
        mask: [at least l, the same], the tower's: 0 where a token sees another, else -inf.
        deep: prompts [m, width] that take the places 1..m before block 1, 2, ...
    """
    used = tree.nodes.shape[1]
    for i, block in enumerate(blocks):
        if 1 <= i <= len(deep):
            x = tree.with_prompt(x, deep[i - 1])
        y = block.norm(x)
        if i < len(blocks) - 1:
            asked, others = tree.along(block.all_three(y)).tensor_split([x.shape[1]], dim=2)
            mixed = block.attention(asked, others, mask[:used, :used].to(asked.dtype))
            x = block.behind(x, tree.once(mixed))
        else:
            seen = torch.arange(used, device=x.device) <= tree.ends[:, None]
            asked = block.queries(tree.at_ends(y))[:, None]
            mixed = block.attention(asked, tree.along(block.keys_and_values(y)), seen[:, None, None])
            x = block.behind(tree.at_ends(x), mixed[:, 0])
    return x
