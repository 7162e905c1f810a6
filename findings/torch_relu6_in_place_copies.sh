#!/usr/bin/env bash
# Versions: torch 2.14.1.
# Behaviour: where gradients are asked for, nn.ReLU6(inplace=True) (hardtanh_) first clones its input, although its
#   backward pass reads the result alone; nn.ReLU(inplace=True) does not. MobileNets and EfficientNet-Lite are full of
#   ReLU6, and the clone takes most of its time.
# Expected: in place takes no memory but that of its input.
# Seen:
#   ReLU6(inplace=True) on 77 MB: 77 MB made, clone: True
#   ReLU(inplace=True) on 77 MB: 0 MB made, clone: False
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

weight = torch.ones(1, requires_grad=True)
made = {}
for name, layer in (("ReLU6", nn.ReLU6(inplace=True)), ("ReLU", nn.ReLU(inplace=True))):
    x = torch.randn(16, 96, 112, 112) * weight
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        layer(x)
    ops = {e.key: e for e in seen.key_averages()}
    made[name] = max(e.cpu_memory_usage for e in ops.values())
    print(f"{name}(inplace=True) on {x.nbytes / 1e6:.0f} MB: {made[name] / 1e6:.0f} MB made, clone: {'aten::clone' in ops}")
assert made == {"ReLU6": 16 * 96 * 112 * 112 * 4, "ReLU": 0}
PY
