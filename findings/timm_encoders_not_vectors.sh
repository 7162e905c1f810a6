#!/usr/bin/env bash
# Versions: timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: 7 models with num_classes=0 do not return one feature a photo, [n, d], but a sequence of tokens or a map.
#   num_features and head_hidden_size are there as in all others, and agree with one axis of it, so that a check of the
#   last axis, or of axis 1, passes.
# Expected: [n, head_hidden_size], as of the other models with num_classes=0.
# Here: all on the meta device, 2 photos.
# Seen:
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import timm
import torch

names = timm.list_models(["qwen3_vit_*_enc", "gemma4_vit_*_enc", "deepseek_vit_*_enc", "mobilenetv5_*_enc"])
torch.set_default_device("meta")
for name in ["resnet18", *names]:
    m = timm.create_model(name, num_classes=0).eval()
    with torch.no_grad():
        shape = list(m(torch.empty(2, *m.pretrained_cfg["input_size"])).shape)
    print(f"{name}: model(x) {shape}, num_features {m.num_features}, head_hidden_size {m.head_hidden_size}")
    assert (len(shape) == 2) == (name == "resnet18") and m.head_hidden_size in shape[1:]
assert len(names) == 7, names
PY
