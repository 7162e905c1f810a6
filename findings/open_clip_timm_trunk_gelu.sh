#!/usr/bin/env bash
# Versions: open_clip_torch 3.3.0, timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: force_quick_gelu=True (or quick_gelu in a configuration) of a model with a trunk from timm switches the
#   text tower to QuickGELU and leaves the image tower with GELU, without a word: half of the model.
# Expected: both towers, or a refusal.
# Seen:
#   ViT-S-32-alt: force_quick_gelu changes image features: True, text features: True; warnings 0
#   vit_relpos_medium_patch16_cls_224: force_quick_gelu changes image features: False, text features: True; warnings 0
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31 open_clip_torch==3.3.0
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import logging
import warnings

import open_clip
import torch

logged = []
logging.getLogger().addHandler(type("H", (logging.Handler,), {"emit": lambda _, r: logged.append(r)})())
torch.manual_seed(1)
pixels, words = torch.randn(1, 3, 224, 224), torch.randint(1, 9999, (1, 77))
for name in ("ViT-S-32-alt", "vit_relpos_medium_patch16_cls_224"):
    made = []
    for quick in (False, True):
        torch.manual_seed(0)
        logged.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made.append(open_clip.create_model(name, force_quick_gelu=quick).eval())
    told = [m for r in logged if "initialized randomly" not in (m := r.getMessage()) and r.levelno >= logging.WARNING]
    assert any(isinstance(m, torch.nn.GELU) for m in made[0].visual.modules())
    with torch.no_grad():
        image, text = (
            not torch.equal(getattr(made[0], f"encode_{k}")(v), getattr(made[1], f"encode_{k}")(v))
            for k, v in (("image", pixels), ("text", words))
        )
    print(f"{name}: force_quick_gelu changes image features: {image}, text features: {text}; warnings {len(told)}")
    assert text and not told and image == (name == "ViT-S-32-alt")
PY
