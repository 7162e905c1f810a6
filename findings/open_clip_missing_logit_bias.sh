#!/usr/bin/env bash
# Versions: open_clip_torch 3.3.0, timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: a checkpoint that lacks `logit_bias` is loaded into a model that has one (the SigLIP kind) without a word, although
#   loading is strict: the bias becomes 0, and not what the model was made with. Any other tensor that is missing raises. A
#   model whose bias was -10 then gives pairs that have nothing in common probabilities as if they were one.
# Expected: the error that other missing tensors raise, or the model's own bias.
# Seen:
#   models of open_clip with a bias: 28, made with -10.0
#   without logit_scale: RuntimeError
#   without logit_bias: loaded, no warning; the bias was -10.0, now 0.0
#   largest sigmoid over unrelated pairs: 0.0726 before, 0.9994 after
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31 open_clip_torch==3.3.0
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import warnings

import open_clip
import torch
from open_clip.factory import load_checkpoint

warnings.simplefilter("error")
configs = [c for n in open_clip.list_models() if "init_logit_bias" in (c := open_clip.get_model_config(n))]
assert {c["init_logit_bias"] for c in configs} == {-10}
print(f"models of open_clip with a bias: {len(configs)}, made with -10.0")


def tiny():
    torch.manual_seed(0)
    return open_clip.CLIP(
        32,
        dict(image_size=32, patch_size=16, width=64, layers=1, head_width=32),
        dict(context_length=8, vocab_size=50, width=32, heads=2, layers=1),
        init_logit_bias=-10.0,
    ).eval()


def largest(model):
    torch.manual_seed(1)
    with torch.no_grad():
        images, texts, scale = model(torch.randn(64, 3, 32, 32), torch.randint(1, 50, (64, 8)))[:3]
        return float(torch.sigmoid(scale * images @ texts.T + model.logit_bias).max())


model = tiny()
before = largest(model)
for name in ("logit_scale", "logit_bias"):
    tensors = {k: v for k, v in model.state_dict().items() if k != name}
    torch.save(tensors, "checkpoint.pt")
    loaded = tiny()
    try:
        load_checkpoint(loaded, "checkpoint.pt", strict=True)
    except (RuntimeError, KeyError) as error:
        print(f"without {name}: {type(error).__name__}")
        assert name == "logit_scale"
        continue
    assert name == "logit_bias"
    was, now = model.logit_bias.item(), loaded.logit_bias.item()
    print(f"without {name}: loaded, no warning; the bias was {was}, now {now}")
    assert (was, now) == (-10.0, 0.0)
after = largest(loaded)
print(f"largest sigmoid over unrelated pairs: {before:.4f} before, {after:.4f} after")
assert before < 0.1 < 0.5 < after
PY
