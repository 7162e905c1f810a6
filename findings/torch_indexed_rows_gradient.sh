#!/usr/bin/env bash
# Versions: torch 2.14.1.
# Behaviour: on the CPU with two threads the gradient of `table[rows]` differs in its last digits from one call to the next,
#   where a row is taken more than once (positional embeddings, or one feature for all photos of a class): threads add it up in
#   whatever order they come. `table.index_select(0, rows)` and `embedding(rows, table)`, which give the same rows, have
#   gradients that repeat to the bit, and so has `table[rows]` with one thread.
# Expected: the same bits each time from the same call on the same machine, as of its twins.
# Seen (each called 50 times):
#   2 threads, [rows]: more than one gradient
#   2 threads, index_select: 1
#   2 threads, embedding: 1
#   1 thread, [rows]: 1
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 numpy==2.2.6
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import torch
from torch.nn.functional import embedding

torch.manual_seed(0)
rows, grad = torch.randint(0, 77, (6000,)), torch.randn(6000, 128)
ways = {
    "[rows]": lambda table: table[rows],
    "index_select": lambda table: table.index_select(0, rows),
    "embedding": lambda table: embedding(rows, table),
}


def gradients(way, threads):
    torch.set_num_threads(threads)
    seen = set()
    for _ in range(50):
        table = torch.zeros(77, 128, requires_grad=True)
        way(table).backward(grad)
        seen.add(table.grad.numpy().tobytes())
    return len(seen)


assert torch.equal(*(way(torch.arange(77.0)[:, None]) for way in list(ways.values())[:2]))
found = {name: gradients(way, 2) for name, way in ways.items()}
for name, count in found.items():
    print(f"2 threads, {name}: {'more than one gradient' if count > 1 else count}")
alone = gradients(ways["[rows]"], 1)
print(f"1 thread, [rows]: {alone}")
assert found["[rows]"] > 1
assert found["index_select"] == found["embedding"] == alone == 1
PY
