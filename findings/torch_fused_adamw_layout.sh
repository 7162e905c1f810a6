#!/usr/bin/env bash
# Versions: torch 2.14.1.
# Behaviour: AdamW(fused=True) on the CPU pairs weights, gradients and moments by their place in memory, not by their index.
#   A checkpoint of a training with contiguous weights that is gone on from with channels last (or the other way round) gives
#   moments of one layout and a weight of the other: the step takes moments of other elements, without an error or a warning.
#   The plain and the foreach steps give the right weights, and so does the fused one when the moments are first copied into
#   tensors of the weight's layout. `load_state_dict` keeps the stored layout.
# Expected: the same step whatever the layout, as without fused=True.
# Seen (largest difference from the step with everything contiguous, learning rate 0.1):
#   plain, channels last: 0.000
#   foreach, channels last: 0.000
#   fused, contiguous: 0.000
#   fused, channels last: more than 0.05
#   fused, channels last, moments laid out alike: 0.000
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 numpy==2.2.6
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import torch

torch.manual_seed(0)
weight, gradients = torch.randn(8, 4, 3, 3), torch.randn(4, 8, 4, 3, 3)


def trained(steps, **how):
    """The weight after some steps with everything contiguous, and the optimiser's state."""
    p = torch.nn.Parameter(weight.clone())
    optimiser = torch.optim.AdamW([p], lr=0.1, **how)
    for gradient in gradients[:steps]:
        p.grad = gradient.clone()
        optimiser.step()
    return p.detach(), optimiser.state_dict()


def gone_on(layout, alike=False, **how):
    """The last step, from a checkpoint, with the weight in another memory layout."""
    before, state = trained(3, **how)
    p = torch.nn.Parameter(before.contiguous(memory_format=layout))
    optimiser = torch.optim.AdamW([p], lr=0.1, **how)
    optimiser.load_state_dict(state)
    if alike:
        moments = optimiser.state[p]
        for name in ("exp_avg", "exp_avg_sq"):
            moments[name] = torch.empty_like(p).copy_(moments[name])
    p.grad = gradients[3].contiguous(memory_format=layout)
    optimiser.step()
    return (p.detach() - trained(4, **how)[0]).abs().max().item()


last = torch.channels_last
found = {
    "plain, channels last": gone_on(last, foreach=False),
    "foreach, channels last": gone_on(last, foreach=True),
    "fused, contiguous": gone_on(torch.contiguous_format, fused=True),
    "fused, channels last": gone_on(last, fused=True),
    "fused, channels last, moments laid out alike": gone_on(last, alike=True, fused=True),
}
for name, off in found.items():
    print(f"{name}: {'more than 0.05' if off > 0.05 else f'{off:.3f}'}")
wrong = found.pop("fused, channels last")
assert wrong > 0.05
assert max(found.values()) < 1e-6
PY
