#!/usr/bin/env bash
# Versions: open_clip_torch 3.3.0, timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: a CoCa whose text_cfg leaves output_tokens at its default (False) is built without a word, but its
#   encode_text takes the batch of features for the pair (feature, tokens): two texts give the first feature alone,
#   of shape [d]; any other number of texts raises ValueError. With output_tokens all is well; the configurations
#   that come with open_clip set it.
# Expected: features [n, d], or a refusal when the model is built.
# Seen:
#   output_tokens is set in the text_cfg of all 4 CoCas of open_clip
#   output_tokens=True, 3 texts: [3, 32]
#   default, 2 texts: [32] the first one's: True
#   default, 1 texts: ValueError: not enough values to unpack (expected 2, got 1)
#   default, 3 texts: ValueError: too many values to unpack (expected 2)
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31 open_clip_torch==3.3.0
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import open_clip
import torch

def tiny(**extra):
    torch.manual_seed(0)
    vision = dict(image_size=32, patch_size=16, width=64, layers=1, attentional_pool=True, output_tokens=True)
    text = dict(context_length=8, vocab_size=50, width=32, heads=2, layers=1, embed_cls=True, **extra)
    many = dict(context_length=8, vocab_size=50, width=32, heads=2, layers=1)
    return open_clip.CoCa(32, many, text, {**vision, "attn_pooler_heads": 2}).eval()

torch.manual_seed(1)
shipped = [c for n in open_clip.list_models() if "multimodal_cfg" in (c := open_clip.get_model_config(n))]
assert all(c["text_cfg"].get("output_tokens") for c in shipped)
print(f"output_tokens is set in the text_cfg of all {len(shipped)} CoCas of open_clip")
texts = torch.randint(1, 50, (3, 8))
default, told = tiny(), tiny(output_tokens=True)
default.load_state_dict(told.state_dict(), strict=True)
with torch.no_grad():
    right = told.encode_text(texts)
    print("output_tokens=True, 3 texts:", list(right.shape))
    assert right.shape == (3, 32)
    found = default.encode_text(texts[:2])
    print("default, 2 texts:", list(found.shape), "the first one's:", torch.allclose(found, right[0], atol=1e-6))
    assert found.shape == (32,) and torch.allclose(found, right[0], atol=1e-6)
    for n in (1, 3):
        try:
            default.encode_text(texts[:n])
        except ValueError as error:
            print(f"default, {n} texts: ValueError: {error}")
        else:
            raise SystemExit("no longer an error")
PY
