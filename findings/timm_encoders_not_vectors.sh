#!/usr/bin/env bash
# Versions: timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: 7 models with num_classes=0 do not return one feature a photo, [n, d], but a sequence of tokens or a map.
#   head_hidden_size is there as in other models and equals the last axis of it (axis 1 of the map), so that a check of
#   that size alone passes.
# Expected: [n, head_hidden_size], as of the other models with num_classes=0.
# Here: all on the meta device, 2 photos.
# Seen:
#   resnet18: model(x) [2, 512], num_features 512, head_hidden_size 512
#   deepseek_vit_412m_enc: model(x) [2, 169, 5120], num_features 1024, head_hidden_size 5120
#   gemma4_vit_167m_enc: model(x) [2, 256, 768], num_features 768, head_hidden_size 768
#   gemma4_vit_570m_enc: model(x) [2, 256, 1152], num_features 1152, head_hidden_size 1152
#   mobilenetv5_300m_enc: model(x) [2, 2048, 16, 16], num_features 2048, head_hidden_size 2048
#   qwen3_vit_88m_enc: model(x) [2, 576, 1024], num_features 768, head_hidden_size 1024
#   qwen3_vit_306m_enc: model(x) [2, 576, 2048], num_features 1024, head_hidden_size 2048
#   qwen3_vit_416m_enc: model(x) [2, 576, 5120], num_features 1152, head_hidden_size 5120
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
