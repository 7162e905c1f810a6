#!/usr/bin/env bash
# Versions: timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: three volo models ask for crop_pct 1.15. timm's own evaluation transform then shrinks the photo below
#   the input and its centre crop fills up with black: a white square photo arrives in a black frame that takes a
#   quarter of the input.
# Expected: the photo fills the input. Where a percentage above 100 means a frame, nothing says so.
# Seen:
#   crop_pct above 1: ['volo_d4_448', 'volo_d5_448', 'volo_d5_512']
#   volo_d3_448: crop_pct 1.0, (3, 448, 448), 0.0% of a white photo is black
#   volo_d4_448: crop_pct 1.15, (3, 448, 448), 24.6% of a white photo is black
#   volo_d5_448: crop_pct 1.15, (3, 448, 448), 24.6% of a white photo is black
#   volo_d5_512: crop_pct 1.15, (3, 512, 512), 24.5% of a white photo is black
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import timm
from PIL import Image

names = sorted({n.split(".")[0] for n in timm.list_pretrained() if timm.get_pretrained_cfg(n).crop_pct > 1})
print("crop_pct above 1:", names)
assert names == ["volo_d4_448", "volo_d5_448", "volo_d5_512"]
for name in ["volo_d3_448", *names]:
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    photo = timm.data.create_transform(**config)(Image.new("RGB", (600, 600), "white"))
    black = (photo[0] < 0).float().mean().item()
    print(f"{name}: crop_pct {config['crop_pct']}, {tuple(photo.shape)}, {black:.1%} of a white photo is black")
    assert (black > 0.2) == (name in names)
PY
