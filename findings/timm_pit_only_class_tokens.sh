#!/usr/bin/env bash
# Versions: timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: forward_features of all pit_* gives [n, 1, c], or [n, 2, c] if distilled: the class tokens and no
#   positions at all, and no attribute num_prefix_tokens. Mean, maximum or GeM pooling over its "positions" runs
#   and has nothing local in it: on the undistilled models it gives the class token, whatever the pooling.
# Expected: features of the positions, as in every other transformer of the library, or a declared prefix.
# Seen:
#   pit_b_224: forward_features [3, 1, 1024], num_prefix_tokens None
#   pit_b_distilled_224: forward_features [3, 2, 1024], num_prefix_tokens None
#   pit_s_224: forward_features [3, 1, 576], num_prefix_tokens None
#   pit_s_distilled_224: forward_features [3, 2, 576], num_prefix_tokens None
#   pit_ti_224: forward_features [3, 1, 256], num_prefix_tokens None
#   pit_ti_distilled_224: forward_features [3, 2, 256], num_prefix_tokens None
#   pit_xs_224: forward_features [3, 1, 384], num_prefix_tokens None
#   pit_xs_distilled_224: forward_features [3, 2, 384], num_prefix_tokens None
#   pit_ti_224: mean and maximum over the tokens both equal the class token: True
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import timm
import torch

names = timm.list_models("pit_*")
for name in names:
    with torch.device("meta"):
        m = timm.create_model(name, num_classes=0).eval()
        shape = tuple(m.forward_features(torch.empty(3, 3, 224, 224)).shape)
    print(f"{name}: forward_features {list(shape)}, num_prefix_tokens {getattr(m, 'num_prefix_tokens', None)}")
    assert shape[1] == 1 + ("distilled" in name) and not hasattr(m, "num_prefix_tokens")
torch.manual_seed(0)
m = timm.create_model("pit_ti_224", num_classes=0).eval()
with torch.no_grad():
    x = torch.randn(2, 3, 224, 224)
    tokens = m.forward_features(x)
    same = torch.equal(tokens.mean(1), m(x)) and torch.equal(tokens.amax(1), m(x))
print("pit_ti_224: mean and maximum over the tokens both equal the class token:", same)
assert same
PY
