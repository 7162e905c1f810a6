#!/usr/bin/env bash
# Versions: open_clip_torch 3.3.0, timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: mean, std, interpolation and the way of resizing belong to a tag of published weights, not to the model.
#   The same weights given as a file get CLIP's, without a word, though every tag of the model has others.
# Expected: what all tags of a model agree on is used for a file too, or a warning like that for QuickGELU.
# Here: random weights; the cosine is that of one noise photo's features, in the tag's and in the file's way.
# Seen:
#   58 of 196 tags, of 54 models, have others than CLIP's
#     mean: file (0.48145466, 0.4578275, 0.40821073), tag (0.5, 0.5, 0.5)
#     std: file (0.26862954, 0.26130258, 0.27577711), tag (0.5, 0.5, 0.5)
#     interpolation: file bicubic, tag bilinear
#     resize_mode: file shortest, tag squash
#     cosine of the features 0.004
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31 open_clip_torch==3.3.0
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import logging
import warnings

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

KEYS = ("mean", "std", "interpolation", "resize_mode")
clip = {k: getattr(PreprocessCfg(), k) for k in KEYS}

def own(name, tag):
    return {k: v for k, v in open_clip.get_pretrained_cfg(name, tag).items() if k in KEYS}

tags = open_clip.list_pretrained()
other = [(n, t) for n, t in tags if any(v != clip[k] for k, v in own(n, t).items())]
print(f"{len(other)} of {len(tags)} tags, of {len({n for n, _ in other})} models, have others than CLIP's")
name, tag = "PE-Core-T-16-384", "meta"
assert (name, tag) in other and open_clip.list_pretrained_tags_by_model(name) == [tag]
seen = []
logging.getLogger().addHandler(type("H", (logging.Handler,), {"emit": lambda _, r: seen.append(r.levelno)})())
torch.manual_seed(0)
torch.save(open_clip.create_model(name).state_dict(), "weights.pt")
seen.clear()
with warnings.catch_warnings():
    warnings.simplefilter("error")
    model, _, transform = open_clip.create_model_and_transforms(name, pretrained="weights.pt")
used = {k: model.visual.preprocess_cfg[k] for k in KEYS}
for k in KEYS:
    print(f"  {k}: file {used[k]}, tag {own(name, tag)[k]}")
assert used == clip and not [s for s in seen if s >= logging.WARNING]
photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)).resize((640, 480))
right = image_transform_v2(PreprocessCfg(size=model.visual.image_size, **own(name, tag)), is_train=False)
with torch.no_grad():
    p, q = (model.eval().encode_image(t(photo)[None]) for t in (right, transform))
print(f"  cosine of the features {torch.cosine_similarity(p, q).item():.3f}")
assert torch.cosine_similarity(p, q) < 0.999
PY
