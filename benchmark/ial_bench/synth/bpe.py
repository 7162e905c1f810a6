"""Byte-pair merges for open_clip's own tokenizer: learnt from texts, written as the file that it reads."""

from __future__ import annotations

import gzip
import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from ial_bench.files import write_bytes

Pair = tuple[str, str]
BASE_SYMBOLS = 512
"""Each byte, inside a word and at its end: with these alone any text has tokens."""
SPECIAL_TOKENS = 2
_HEADER = "#version: ial-bench byte-pair merges"


def words_of(texts: Iterable[str]) -> Counter[tuple[str, ...]]:
    """The words of `texts` as symbols of one byte each, cut and cleaned as the tokenizer does, with their counts."""
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()  # of its merges nothing is used
    counts: Counter[str] = Counter()
    for text, times in Counter(texts).items():
        for word in tokenizer.pat.findall(tokenizer.clean_fn(text)):
            counts[word] += times
    words: Counter[tuple[str, ...]] = Counter()
    for word, times in counts.items():
        symbols = [tokenizer.byte_encoder[b] for b in word.encode()]
        cut = (*symbols[:-1], f"{symbols[-1]}</w>")
        words[cut] += times
    return words


def learn_merges(words: Counter[tuple[str, ...]], n: int) -> list[Pair]:
    """The `n` merges, each of the pair that is then most frequent; the first in order of text where two tie.

    Stops early when no pair is left. A pair's count is kept up to date and not counted anew for each merge.
    """
    cut, times = [list(w) for w in words], list(words.values())
    count: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    changed: set[Pair] = set()

    def recount(i: int, sign: int) -> None:
        for pair in pairwise(cut[i]):
            count[pair] += sign * times[i]
            where[pair].add(i)  # stays when the pair goes: an occurrence too many costs a look, nothing else
            changed.add(pair)

    for i in range(len(cut)):
        recount(i, 1)
    heap: list[tuple[int, Pair]] = []
    merges: list[Pair] = []
    while len(merges) < n:
        for pair in changed:
            if count[pair] > 0:
                heapq.heappush(heap, (-count[pair], pair))
        changed.clear()
        while heap and -heap[0][0] != count[heap[0][1]]:
            heapq.heappop(heap)  # an older count of a pair: the present one is in the heap as well
        if not heap:
            break
        best = heapq.heappop(heap)[1]
        merges.append(best)
        for i in where.pop(best):
            recount(i, -1)
            cut[i] = merged(cut[i], best)
            recount(i, 1)
    return merges


def merged(symbols: Sequence[str], pair: Pair) -> list[str]:
    """`symbols` with each occurrence of `pair`, from the left, made one symbol."""
    found: list[str] = []
    i = 0
    while i < len(symbols):
        if tuple(symbols[i : i + 2]) == pair:
            found.append(pair[0] + pair[1])
            i += 2
        else:
            found.append(symbols[i])
            i += 1
    return found


def vocabulary_size(merges: Sequence[Pair]) -> int:
    """Tokens of a tokenizer with these merges; what a model's configuration gives as ``vocab_size``."""
    return BASE_SYMBOLS + len(merges) + SPECIAL_TOKENS


def write_merges(path: Path, merges: Sequence[Pair]) -> None:
    """Write `merges` in the form that open_clip's SimpleTokenizer reads; equal merges give equal bytes."""
    # No line end after the last: the tokenizer would take an empty line for a merge.
    text = "\n".join([_HEADER, *(" ".join(pair) for pair in merges)])
    write_bytes(path, gzip.compress(text.encode(), mtime=0))
