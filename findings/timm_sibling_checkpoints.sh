#!/usr/bin/env bash
# Versions: timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: several timm names share every key and shape of their weights but not what they compute: another
#   padding or epsilon, blurred instead of strided steps, another number of heads. A checkpoint of the one loads
#   strictly, without a word, into the other, which gives other features.
# Expected: an error or a warning, or something in the checkpoint that tells the two apart.
# Here: random weights, BN statistics measured on the inputs; "right" is the cosine of the features of one input in
#   the two models, "others" the mean cosine of two different inputs in the first model.
# Seen:
#   efficientnet_b0 -> tf_efficientnet_b0: loads strictly; right 0.8399, others 0.7385
#   mobilenetv4_conv_medium -> mobilenetv4_conv_aa_medium: loads strictly; right 0.5944, others 0.3899
#   resnet34d -> resnetaa34d: loads strictly; right 0.6783, others 0.9402
#   vit_base_patch16_gap_224 -> vit_base_patch16_siglip_gap_224: loads strictly; right 0.9975, others 0.9350
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import timm
import torch
from torch.nn.functional import cosine_similarity as cosine

PAIRS = [
    ("efficientnet_b0", "tf_efficientnet_b0", 0.95),
    ("mobilenetv4_conv_medium", "mobilenetv4_conv_aa_medium", 0.7),
    ("resnet34d", "resnetaa34d", 0.95),
    ("vit_base_patch16_gap_224", "vit_base_patch16_siglip_gap_224", 0.9999),
]
for first, second, limit in PAIRS:
    torch.manual_seed(0)
    a, b = (timm.create_model(n, num_classes=0).eval() for n in (first, second))
    x = torch.nn.functional.interpolate(torch.randn(4, 3, 16, 16), size=224, mode="bicubic")
    for m in a.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.momentum = 1.0
            m.train()
    with torch.no_grad():
        a(x)
        a.eval()
        b.load_state_dict(a.state_dict(), strict=True)
        p, q = a(x), b(x)
    right, others = cosine(p, q).mean().item(), cosine(p[:1], p[1:]).mean().item()
    print(f"{first} -> {second}: loads strictly; right {right:.4f}, others {others:.4f}")
    assert right < limit, "the two now agree"
PY
