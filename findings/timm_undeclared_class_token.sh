#!/usr/bin/env bash
# Versions: timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: forward_features of volo_* and coat_lite_* gives a class token followed by the positions, as a ViT
#   does, but the models have no attribute num_prefix_tokens that says so (a ViT's is 1). Pooling "everything after
#   the prefix", with 0 for the missing attribute, silently counts the class token as a position.
# Expected: num_prefix_tokens == 1.
# Seen:
#   vit_tiny_patch16_224: 197 tokens, 196 positions, num_prefix_tokens 1
#   volo_d1_224: 197 tokens, 196 positions, num_prefix_tokens None
#   coat_lite_tiny: 50 tokens, 49 positions, num_prefix_tokens None
#   16 of the 16 models volo_* and coat_lite_* lack the attribute
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import timm
import torch

# The grid of positions of the last stage at 224 px: steps of 16 px, or of 32 px in coat_lite.
for name, step in [("vit_tiny_patch16_224", 16), ("volo_d1_224", 16), ("coat_lite_tiny", 32)]:
    torch.manual_seed(0)
    m = timm.create_model(name, num_classes=0).eval()
    with torch.no_grad():
        tokens, positions = m.forward_features(torch.randn(1, 3, 224, 224)), (224 // step) ** 2
    says = getattr(m, "num_prefix_tokens", None)
    print(f"{name}: {tokens.shape[1]} tokens, {positions} positions, num_prefix_tokens {says}")
    assert tokens.shape[1] - positions == 1
    assert says == (1 if name.startswith("vit") else None), "what the model says has changed"
lists = timm.list_models(["volo_*", "coat_lite_*"])
with torch.device("meta"):
    without = [n for n in lists if not hasattr(timm.create_model(n), "num_prefix_tokens")]
print(f"{len(without)} of the {len(lists)} models volo_* and coat_lite_* lack the attribute")
assert without == lists
PY
