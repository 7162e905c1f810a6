#!/usr/bin/env bash
# Versions: timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: vitamin_xlarge_336 describes itself by the configuration of vitamin_xlarge_256 (architecture, hub id,
#   input of 256 px) around a network made for 336 px. Weights and preprocessing taken from pretrained_cfg are
#   those of another model.
# Expected: pretrained_cfg["architecture"] == the name, and the input the network was made for.
# Seen:
#   vitamin_xlarge_256: made for 256 px; says vitamin_xlarge_256, jienengchen/ViTamin-XL-256px, 256 px
#   vitamin_xlarge_336: made for 336 px; says vitamin_xlarge_256, jienengchen/ViTamin-XL-256px, 256 px
#   vitamin_xlarge_384: made for 384 px; says vitamin_xlarge_384, jienengchen/ViTamin-XL-384px, 384 px
#   its own entry in the registry: jienengchen/ViTamin-XL-336px, 336 px
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import timm
import torch

for name in timm.list_models("vitamin_xlarge_*"):
    with torch.device("meta"):
        m = timm.create_model(name, num_classes=0)
    c, made_for = m.pretrained_cfg, m.patch_embed.img_size[0]
    print(f"{name}: made for {made_for} px; says {c['architecture']}, {c['hf_hub_id']}, {c['input_size'][-1]} px")
    right = c["architecture"] == name and c["input_size"][-1] == made_for
    assert right == (name != "vitamin_xlarge_336"), "this has changed"
own = timm.get_pretrained_cfg("vitamin_xlarge_336")
print(f"its own entry in the registry: {own.hf_hub_id}, {own.input_size[-1]} px")
assert own.input_size[-1] == 336
PY
