#!/usr/bin/env bash
# Versions: open_clip_torch 3.3.0, transformers 5.24.0, timm 1.0.31, torch 2.14.1, torchvision 0.29.1.
# Behaviour: the built-in coca_roberta-ViT-B-32 reads RoBERTa's 50,265 tokens but its captioner has CLIP's 49,408
#   outputs, since its text_cfg names no vocab_size. The last 857 tokens can never be written, and the captioning loss
#   raises IndexError on a text that has one.
# Expected: as many outputs as the text tower has tokens.
# Here: a folder with a one-layer RoBERTa configuration of the usual vocabulary stands for the hub's; few layers.
# Seen:
#   50265 tokens read, 49408 written; a text with token 49407: ['caption_loss', 'contrastive_loss']
#   50265 tokens read, 49408 written; a text with token 50264: IndexError: Target 50264 is out of bounds.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31 open_clip_torch==3.3.0 transformers==5.24.0
cd "$tmp"
"$tmp/v/bin/python" - <<'PY'
import open_clip
import torch
from transformers import RobertaConfig

short = RobertaConfig(num_hidden_layers=1, max_position_embeddings=514)
short.save_pretrained("roberta")
config = open_clip.get_model_config("coca_roberta-ViT-B-32")
del config["custom_text"]
config["text_cfg"].update(hf_model_name="roberta", hf_model_pretrained=False)
config["vision_cfg"]["layers"] = config["multimodal_cfg"]["layers"] = 1
torch.manual_seed(0)
model = open_clip.CoCa(**config).eval()
loss = open_clip.CoCaLoss(1.0, 1.0)
for last in (49407, 50264):
    texts = torch.randint(5, 1000, (2, 77))
    texts[:, -1] = last
    with torch.no_grad():
        out = model(torch.randn(2, 3, 224, 224), texts)
    scores = out["logits"].shape[-1]
    try:
        found = sorted(loss(**out, output_dict=True))
    except IndexError as error:
        found = f"IndexError: {error}"
    print(f"{model.text.vocab_size} tokens read, {scores} written; a text with token {last}: {found}")
    assert (model.text.vocab_size, scores) == (50265, 49408)
    assert isinstance(found, str) == (last >= scores)
PY
