#!/usr/bin/env bash
# Versions: open_clip_torch 3.3.0, transformers 5.24.0, timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: of the poolers for text towers from transformers, hf_pooler_type="max_pooler" raises on every text: it
#   masks with integers where torch wants booleans. The mask has 1 for words and 0 for padding, so as booleans it would
#   take the words out and keep the padding.
# Expected: the largest value of the words' features, as mean_pooler gives their mean.
# Seen:
#   mean_pooler: [2, 8]
#   cls_pooler: [2, 8]
#   max_pooler: RuntimeError: masked_fill_ only supports boolean masks, but got mask with dtype long int
#   with booleans: words 3 and 5, padding 9, pooled to 9
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31 open_clip_torch==3.3.0 transformers==5.24.0
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import torch
from open_clip.hf_model import HFTextEncoder
from transformers import RobertaConfig

RobertaConfig(
    vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=20,
).save_pretrained("roberta")
texts = torch.tensor([[0, 7, 8, 2, 1, 1], [0, 9, 2, 1, 1, 1]])
for pooler in ("mean_pooler", "cls_pooler", "max_pooler"):
    torch.manual_seed(0)
    tower = HFTextEncoder("roberta", 8, pooler_type=pooler, proj_type="linear", pretrained=False).eval()
    try:
        with torch.no_grad():
            found = list(tower(texts).shape)
    except RuntimeError as error:
        found = f"RuntimeError: {error}"
    print(f"{pooler}: {found}")
    assert isinstance(found, str) == (pooler == "max_pooler")
hidden, mask = torch.tensor([[[3.0], [5.0], [9.0]]]), torch.tensor([[True, True, False]])
kept = tower.pooler(type("Out", (), {"last_hidden_state": hidden}), mask).item()
print(f"with booleans: words 3 and 5, padding 9, pooled to {kept:.0f}")
assert kept == 9
PY
