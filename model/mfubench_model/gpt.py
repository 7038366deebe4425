"""nanoGPT's GPT, with its parameter names and shapes, so that its checkpoints load strictly.

Legend for the suffixes of tensor names: B batch, T tokens in context, C width (n_embd), H heads, Q
head size (C/H), V vocabulary.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mfubench_model.config import ContextTooLongError, GPTConfig


class LayerNorm(nn.Module):
    """LayerNorm over C with an optional bias and eps 1e-5."""

    def __init__(self, width: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x_BTC: Tensor) -> Tensor:
        return F.layer_norm(x_BTC, self.weight.shape, self.weight, self.bias, 1e-5)


class CausalSelfAttention(nn.Module):
    """Multi-head attention in which a token sees itself and what came before."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.resid_dropout = nn.Dropout(config.dropout)
        self.n_head = config.n_head
        self.n_embd = config.n_embd
        self.dropout = config.dropout

    def forward(self, x_BTC: Tensor) -> Tensor:
        B, T, C = x_BTC.size()
        q_BTC, k_BTC, v_BTC = self.c_attn(x_BTC).split(self.n_embd, dim=2)
        q_BHTQ = q_BTC.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        k_BHTQ = k_BTC.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        v_BHTQ = v_BTC.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        y_BHTQ = self.attend(q_BHTQ, k_BHTQ, v_BHTQ)
        y_BTC = y_BHTQ.transpose(1, 2).contiguous().view(B, T, C)
        out_BTC: Tensor = self.resid_dropout(self.c_proj(y_BTC))
        return out_BTC

    def attend(self, q_BHTQ: Tensor, k_BHTQ: Tensor, v_BHTQ: Tensor) -> Tensor:
        """Causal softmax attention; the result has the shape and dtype of the queries."""
        return F.scaled_dot_product_attention(
            q_BHTQ,
            k_BHTQ,
            v_BHTQ,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=True,
        )


class MLP(nn.Module):
    """Two linear layers with four times the width between them and an exact (erf) GELU."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.gelu = nn.GELU()
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTC: Tensor) -> Tensor:
        out_BTC: Tensor = self.dropout(self.c_proj(self.gelu(self.c_fc(x_BTC))))
        return out_BTC


class Block(nn.Module):
    """One pre-norm layer: attention and MLP, each added to the residual stream."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(config.n_embd, bias=config.bias)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, x_BTC: Tensor) -> Tensor:
        x_BTC = x_BTC + self.attn(self.ln_1(x_BTC))
        out_BTC: Tensor = x_BTC + self.mlp(self.ln_2(x_BTC))
        return out_BTC


class Transformer(nn.Module):
    """The parts that nanoGPT keeps under `transformer.`; `GPT.forward` runs them."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.ln_f = LayerNorm(config.n_embd, bias=config.bias)


class GPT(nn.Module):
    """nanoGPT's model. Weights are drawn as there: normal with deviation 0.02, and 0.02/√(2L) for
    the layers that add to the residual stream (GPT-2 paper, section 2.3), so that its size does not
    grow with depth; biases are 0."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        # One table for both: arXiv 1608.05859. The state dict names it twice, as nanoGPT's does.
        self.transformer.wte.weight = self.lm_head.weight
        self.apply(_init_weights)
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, mean=0.0, std=0.02 / math.sqrt(2 * config.n_layer))

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Logits and loss from ids and targets of shape (B, T).

        Without targets only the last position's logits are computed, shape (B, 1, V), and the loss
        is None. A target of -1 is ignored. The names are nanoGPT's, for callers by keyword.
        """
        T = idx.size(1)
        if self.config.block_size < T:
            raise ContextTooLongError(
                f"The input has {T} tokens per sequence; this model has "
                f"{self.config.block_size} positions (block_size): pass at most that many."
            )
        pos_T = torch.arange(0, T, dtype=torch.long, device=idx.device)
        x_BTC = self.transformer.drop(self.transformer.wte(idx) + self.transformer.wpe(pos_T))
        for block in self.transformer.h:
            x_BTC = block(x_BTC)
        x_BTC = self.transformer.ln_f(x_BTC)
        if targets is None:
            last_B1V: Tensor = self.lm_head(x_BTC[:, -1:, :])
            return last_B1V, None
        logits_BTV: Tensor = self.lm_head(x_BTC)
        loss = F.cross_entropy(
            logits_BTV.view(-1, logits_BTV.size(-1)), targets.reshape(-1), ignore_index=-1
        )
        return logits_BTV, loss


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, mean=0.0, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, mean=0.0, std=0.02)
