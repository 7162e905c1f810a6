#!/usr/bin/env bash
# Versions: timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: num_classes=0 leaves out more than the layer that pretrained_cfg["classifier"] names: a norm or a hidden
#   layer of the head goes with it. A full state dict of these models, less the keys under the named layer, does
#   therefore not load strictly into the model without classes.
# Expected: what pretrained_cfg calls the classifier is what num_classes=0 takes away, as in resnet18.
# Here: all on the meta device, one or two names of each family.
# Seen:
#   resnet18: classifier fc, left over []
#   levit_128s: classifier ('head.linear', 'head_dist.linear'), left over ['head.bn', 'head_dist.bn']
#   efficientvit_m0: classifier head.linear, left over ['head.bn']
#   repvit_m1: classifier ('head.head.l', 'head.head_dist.l'), left over ['head.head.bn', 'head.head_dist.bn']
#   caformer_s18: classifier head.fc.fc2, left over ['head.fc.fc1', 'head.fc.norm']
#   convformer_s18: classifier head.fc.fc2, left over ['head.fc.fc1', 'head.fc.norm']
#   iformer_t: classifier head.head.l, left over ['head.head.bn']
#   shvit_s1: classifier head.l, left over ['head.bn']
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import timm
import torch

NAMES = "levit_128s efficientvit_m0 repvit_m1 caformer_s18 convformer_s18 iformer_t shvit_s1".split()
torch.set_default_device("meta")

def left_over(name):
    full, headless = timm.create_model(name), timm.create_model(name, num_classes=0)
    named = full.pretrained_cfg["classifier"]
    prefixes = tuple(f"{n}." for n in ([named] if isinstance(named, str) else named))
    state = {k: v for k, v in full.state_dict().items() if not k.startswith(prefixes)}
    found = headless.load_state_dict(state, strict=False, assign=True)
    assert not found.missing_keys
    print(f"{name}: classifier {named}, left over {sorted({k.rpartition('.')[0] for k in found.unexpected_keys})}")
    return found.unexpected_keys

assert not left_over("resnet18")
for name in NAMES:
    assert left_over(name), f"{name} no longer keeps anything"
PY
