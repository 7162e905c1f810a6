"""CLIP's two towers, opened where prompts enter: token embeddings in, features out.

One thin layer over open_clip's own modules. Nothing of CLIP is copied or edited: the blocks, norms and projections
are the model's, called in its order, and a test holds the result against ``encode_text`` and ``encode_image``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ial_bench.encoders.blocks import Block, VitParts, repeatable_rows
from ial_bench.encoders.build import blank
from ial_bench.encoders.convolutions import quicken
from ial_bench.encoders.encoder import require_finite
from ial_bench.encoders.load import require_text_tower
from ial_bench.encoders.openclip import build_openclip
from ial_bench.encoders.spec import shown_spec
from ial_bench.encoders.text_tree import Keys, TextTree, alike, encode_tree
from ial_bench.errors import SkipMethod
from ial_bench.images import RGB

Embed: TypeAlias = "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]"

TEXT_CHUNK = 256
"""Texts that go through the text tower together; more than that are taken in turn, their activations made anew
in the backward pass, so that thousands of addresses fit into memory."""


class ClipTowers(nn.Module):
    """An open_clip model for training: all its parameters, frozen until asked for, and both towers opened.

    Args:
        model: an open_clip model.
        tokenizer: texts to int64 [n, context].
        preprocess: a decoded photo to a float tensor [3, h, w], as in evaluation.
        preprocessing: open_clip's settings behind it: size, mean, std, interpolation, resize_mode.

    A text tower that is a transformer of open_clip's own is opened; others (CoCa's, those of transformers) are
    called as a whole, and cannot be prompted.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Callable[[list[str]], torch.Tensor],
        preprocess: Callable[[RGB], torch.Tensor],
        preprocessing: dict[str, Any],
    ) -> None:
        super().__init__()
        self.model = model
        self.preprocess = preprocess
        self.preprocessing = preprocessing
        self._tokenizer = tokenizer
        text = self._text
        blocks = getattr(getattr(text, "transformer", None), "resblocks", None)
        own_class = getattr(text, "cls_emb", None)  # CoCa reads a token of its own behind the text
        self.opened = blocks is not None and own_class is None and not getattr(text, "use_pad_mask", False)
        self._pool = getattr(text, "text_pool_type", None) or getattr(text, "pool_type", None)
        eos = getattr(text, "text_eos_id", None) or getattr(text, "eos_id", None)
        self._eos = eos if self._pool == "eos" else None
        # Where each token sees those before it alone, what stands behind a text's end never reaches its feature.
        self._causal = self.opened and text.attn_mask is not None and self._pool in {"argmax", "eos"}

    @property
    def _text(self) -> Any:
        """The text tower; open_clip's CLIP class holds its parts itself."""
        return getattr(self.model, "text", self.model)

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return self.model.logit_scale.device  # type: ignore[no-any-return]

    @property
    def logit_scale(self) -> torch.Tensor:
        """The factor on cosines, exp(t)."""
        return self.model.logit_scale.exp()  # type: ignore[no-any-return]

    @property
    def logit_bias(self) -> nn.Parameter | None:
        """What is added to scaled cosines in models trained with the sigmoid loss (SigLIP); None in others."""
        return getattr(self.model, "logit_bias", None)

    def biased(self, scaled: torch.Tensor) -> torch.Tensor:
        """Logits of scaled cosines: with the model's bias, where it has one."""
        return scaled if self.logit_bias is None else scaled + self.logit_bias.float()

    @property
    def context_length(self) -> int:
        """Tokens of a text at most, start and end included."""
        if not self.opened:
            return int(self._tokenizer.context_length)  # type: ignore[attr-defined]
        return int(self._text.positional_embedding.shape[0])

    @property
    def text_width(self) -> int:
        """Length of a token's embedding in the text tower.

        Raises:
            SkipMethod: the text tower cannot be prompted.
        """
        return int(self._opened_text.token_embedding.weight.shape[1])

    @property
    def text_blocks(self) -> nn.ModuleList:
        """The text tower's blocks.

        Raises:
            SkipMethod: the text tower cannot be prompted.
        """
        return self._opened_text.transformer.resblocks  # type: ignore[no-any-return]

    @property
    def _opened_text(self) -> Any:
        if not self.opened:
            raise SkipMethod(
                f"prompts need a text tower of open_clip's own; that of a {type(self.model).__name__} is called as a "
                "whole"
            )
        return self._text

    def image_parameters(self) -> list[nn.Parameter]:
        """Those of the image tower."""
        return list(self.model.visual.parameters())

    def text_parameters(self) -> list[nn.Parameter]:
        """Those of the text tower."""
        image = {id(p) for p in self.model.visual.parameters()}
        rest = (p for n, p in self.model.named_parameters() if not n.startswith("logit_"))
        return [p for p in rest if id(p) not in image]

    # --- texts ------------------------------------------------------------------------------------------------

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        """int64 [n, context] on the device; longer texts are cut at a token's edge, their end kept."""
        if not texts:
            return torch.zeros((0, self.context_length), dtype=torch.long, device=self.device)
        return self._tokenizer(list(texts)).to(self.device)

    @property
    def clip_tokenizer(self) -> Any:
        """CLIP's tokenizer: ``encode(text)`` gives a list of tokens, without start and end.

        Raises:
            SkipMethod: the tokenizer is not CLIP's.
        """
        tokenizer: Any = self._tokenizer
        if not (hasattr(tokenizer, "encode") and hasattr(tokenizer, "sot_token_id")):
            name = type(tokenizer).__name__
            raise SkipMethod(f"prompts need CLIP's tokenizer; this model has a {name}")
        return tokenizer

    def tokenize_joined(self, heads: Sequence[str], tails: Sequence[str]) -> tuple[torch.Tensor, int]:
        """Tokens of ``head, tail`` of each pair, and how many were too long.

        Of one that is too long the head is cut, at a token's edge by CLIP's tokenizer, at a word's by others, and the
        tail kept: it is the address behind a caption. A tail that is too long by itself is cut at its end.
        """
        tokenizer: Any = self._tokenizer
        if not (hasattr(tokenizer, "encode") and hasattr(tokenizer, "sot_token_id")):
            texts, cut = joined_by_words(tokenizer, heads, tails)
            return self.tokenize(texts), cut
        tokens = torch.zeros((len(heads), self.context_length), dtype=torch.long)
        room = self.context_length - 2  # beside start and end
        cut = 0
        for row, head, tail in zip(tokens, heads, tails, strict=True):
            body = tokenizer.encode(f"{head}, {tail}" if head else tail)
            if len(body) > room:
                cut += 1
                end = tokenizer.encode(f", {tail}" if head else tail)[:room]
                body = [*tokenizer.encode(head)[: room - len(end)], *end]
            whole = [tokenizer.sot_token_id, *body, tokenizer.eot_token_id]
            row[: len(whole)] = torch.tensor(whole)
        return tokens.to(self.device), cut

    def ends(self, tokens: torch.Tensor) -> torch.Tensor:
        """int64 [n]: the place of each text's end-of-text token, where its feature is read."""
        return tokens.argmax(dim=1) if self._eos is None else (tokens == self._eos).int().argmax(dim=1)

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [n, l] to embeddings [n, l, width], without positions."""
        return self._opened_text.token_embedding(tokens)  # type: ignore[no-any-return]

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [n, context] to features [n, d], not normalised."""
        if self.opened:
            # On the CPU, where padding is paid for; a GPU computes it beside the rest, and would wait for the keys.
            keys = tokens.numpy() if tokens.device.type == "cpu" else None
            ends = self.ends(tokens)
            return self.encode_embeddings(lambda rows, columns: self.embed(tokens[rows, columns]), ends, keys=keys)
        parts = torch.split(tokens, TEXT_CHUNK)
        if len(parts) > 1 and torch.is_grad_enabled():
            return torch.cat([checkpoint(self.model.encode_text, part, use_reentrant=False) for part in parts])
        return torch.cat([self.model.encode_text(part) for part in parts])

    def encode_embeddings(
        self,
        embed: Embed,
        ends: torch.Tensor,
        deep: Sequence[torch.Tensor] = (),
        keys: Keys | None = None,
        chunk: int = TEXT_CHUNK,
    ) -> torch.Tensor:
        """Token embeddings to features [n, d], not normalised.

        Where attention is causal, as CLIP's is, the columns behind a text's end never reach its feature: they are left
        out, and texts of like length go together; or, given keys, texts that begin alike, as a tree. That changes
        nothing but the time.

        Args:
            embed: gives the embeddings [..., width] of the tokens in some rows and columns, which broadcast, without
                positions; called chunk by chunk.
            ends: int64 [n], the place of each text's end.
            deep: prompts [m, width] that take the places 1..m before block 1, 2, ... (MaPLe's deep prompts).
            keys: int64 [n, l], tokens with the same key have the same embedding.
            chunk: texts at once.

        Raises:
            SkipMethod: the text tower cannot be prompted.
        """
        if len(ends) == 0:
            one = self._project(torch.zeros(1, self.text_width, device=self.device))
            return one[:0]
        blocks = [b for b in map(Block.of, self.text_blocks) if b is not None]
        if not (self._causal and len(blocks) == len(self.text_blocks)):
            keys = None
        order = ends.argsort(stable=True) if keys is None else torch.from_numpy(alike(keys)).to(ends.device)
        parts = torch.split(order, chunk)
        again = len(parts) > 1 and torch.is_grad_enabled()
        features = []
        for rows in parts:
            if keys is None:
                encode = partial(self._encode_part, embed, rows, ends, deep)
            else:
                tree = TextTree.of(keys[rows.cpu().numpy()], ends[rows].cpu().numpy(), self.device)
                encode = partial(self._encode_tree, embed, rows, tree, blocks, deep)
            features.append(checkpoint(encode, use_reentrant=False) if again else encode())
        return torch.cat(features)[order.argsort()]

    def _encode_tree(
        self, embed: Embed, rows: torch.Tensor, tree: TextTree, blocks: list[Block], deep: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        text = self._opened_text
        x = embed(rows[tree.rows], tree.columns)
        x = x + repeatable_rows(text.positional_embedding.to(x.dtype), tree.columns)
        return self._project(text.ln_final(encode_tree(blocks, x, tree, text.attn_mask, deep)))

    def _encode_part(
        self, embed: Embed, rows: torch.Tensor, ends: torch.Tensor, deep: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        text = self._opened_text
        used = int(ends[rows].max()) + 1 if self._causal else self.context_length
        x = embed(rows[:, None], torch.arange(used, device=rows.device))
        x = x + text.positional_embedding[:used].to(x.dtype)
        mask = None if text.attn_mask is None else text.attn_mask[:used, :used]
        batch_first = text.transformer.batch_first
        for i, block in enumerate(text.transformer.resblocks):
            if 1 <= i <= len(deep):
                prompt = deep[i - 1].to(x.dtype).expand(len(x), -1, -1)
                x = torch.cat([x[:, :1], prompt, x[:, 1 + prompt.shape[1] :]], dim=1)
            x = block(x, attn_mask=mask) if batch_first else block(x.transpose(0, 1), attn_mask=mask).transpose(0, 1)
        fixed = {"first": 0, "last": used - 1}
        read = torch.full_like(ends[rows], fixed[self._pool]) if self._pool in fixed else ends[rows]
        return self._project(text.ln_final(x[torch.arange(len(x), device=x.device), read]))

    def _project(self, x: torch.Tensor) -> torch.Tensor:
        projection = self._text.text_projection
        if projection is None:
            return x
        return projection(x) if isinstance(projection, nn.Linear) else x @ projection  # type: ignore[no-any-return]

    # --- photos -----------------------------------------------------------------------------------------------

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised pixels [n, 3, h, w] to features [n, d], not normalised."""
        if self._reads_first_alone:
            return self.encode_prompted(pixels, ())
        return self.model.encode_image(pixels)  # type: ignore[no-any-return]

    @cached_property
    def _reads_first_alone(self) -> bool:
        """Whether the last image block need compute but one token."""
        parts = VitParts.of(self.model.visual)
        return parts is not None and parts.last is not None

    @property
    def image_width(self) -> int:
        """Length of a token in the image tower.

        Raises:
            SkipMethod: it is no vision transformer.
        """
        return self._vit().width

    @property
    def image_blocks(self) -> int:
        """Blocks of the image tower.

        Raises:
            SkipMethod: it is no vision transformer.
        """
        return len(self._vit().blocks)

    def encode_prompted(self, pixels: torch.Tensor, prompts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Pixels and visual prompts to features [n, d], not normalised.

        Args:
            pixels: [n, 3, h, w], normalised.
            prompts: as of `VitParts.features`.

        Raises:
            SkipMethod: the image tower is no vision transformer.
        """
        return self._vit().features(pixels, prompts)

    def _vit(self) -> VitParts:
        visual = self.model.visual
        if (parts := VitParts.of(visual)) is None:
            raise SkipMethod(f"visual prompts need a vision transformer; this image tower is a {type(visual).__name__}")
        return parts


def joined_by_words(tokenizer: Any, heads: Sequence[str], tails: Sequence[str]) -> tuple[list[str], int]:
    """``head, tail`` of each pair, heads cut at a word's edge where a Hugging Face tokenizer finds the whole too long.

    Args:
        tokenizer: of open_clip, around one of transformers.
        heads: texts, may be empty.
        tails: texts that are kept.

    Returns:
        The texts, and how many were cut.
    """

    def fits(text: str) -> bool:
        return bool(len(tokenizer.tokenizer(tokenizer.clean_fn(text)).input_ids) <= tokenizer.context_length)

    texts, cut = [], 0
    for head, tail in zip(heads, tails, strict=True):
        whole = f"{head}, {tail}" if head else tail
        if not fits(whole):
            cut += 1
            words = head.split()
            kept = bisect_left(range(len(words)), 1, key=lambda n: not fits(f"{' '.join(words[:n])}, {tail}"))
            kept = max(kept - 1, 0)
            whole = f"{' '.join(words[:kept])}, {tail}" if kept else tail
        texts.append(whole)
    return texts, cut


def load_towers(text: str, device: str) -> ClipTowers:
    """A copy of its own of the model that the spec `text` names, on `device`, in evaluation mode and frozen.

    Raises:
        SkipMethod: its weights or its tokenizer cannot be had here, or it has no text tower.
        ConfigError: no such model or pretrained tag, or a bad spec.
        DataError: a checkpoint that is damaged, unsafe, not finite or for another model.
    """
    require_text_tower(text)
    built = build_openclip(text)
    towers = ClipTowers(built.model, built.tokenizer, built.preprocess, built.preprocessing).to(device)
    black = blank(built.preprocess, device)
    quicken(towers.model.visual, towers.encode_pixels, black, stem=True)
    if built.source.file is not None:
        with torch.inference_mode():  # before training, which would blame its learning rate
            features = towers.encode_pixels(black).float().cpu().numpy()
        require_finite(features, shown_spec(text), lambda _: "a black photo")
    return towers
