"""An encoder whose last layer is computed for the first token of each segment alone.

With `pooling="cls"` and no sentence to score, nothing else of the last layer is read. Its keys and
values still come from all tokens, so the result is the same; the last layer's queries, output
projection and feed-forward are computed for one token instead of all. Only for encoders laid out
as BERT is; all others run whole.
"""

import copy
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

# Their layers are BERT's, post-LN and with learnt absolute positions; anything else may differ.
_LAID_OUT_AS_BERT = frozenset(["bert", "roberta", "xlm-roberta", "camembert", "electra"])


class FirstTokenLayer(nn.Module):
    """A BERT layer that answers for the first token only.

    Args:
        layer: The layer whose weights are used; they stay its own.
    """

    layer: Any

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any
    ) -> Tensor:
        """States of all tokens, float (P, L, H), to that of the first one, float (P, 1, H)."""
        attention = self.layer.attention.self
        first = hidden_states[:, :1]
        query, key, value = (
            projected.view(*projected.shape[:2], -1, attention.attention_head_size).transpose(1, 2)
            for projected in (
                attention.query(first),
                attention.key(hidden_states),
                attention.value(hidden_states),
            )
        )
        context = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
            dropout_p=attention.dropout.p if self.layer.training else 0.0,
        )
        context = context.transpose(1, 2).reshape(first.shape[0], 1, -1)
        states = self.layer.attention.output(context, first)
        return self.layer.output(self.layer.intermediate(states), states)


def first_token_encoder(encoder: PreTrainedModel) -> PreTrainedModel | None:
    """The same encoder with a `FirstTokenLayer` at its end.

    The modules are shared, so that it costs nothing and follows every change of weights, device
    and mode; the encoder itself is left as it is, also for other threads.

    Returns:
        An encoder whose last hidden state is float (P, 1, H), or None where it cannot be made.
    """
    config = encoder.config
    if (
        config.model_type not in _LAID_OUT_AS_BERT
        or config._attn_implementation not in ("sdpa", "eager")
        or getattr(config, "is_decoder", False)
        or getattr(config, "chunk_size_feed_forward", 0)
        or not len(encoder.encoder.layer)
    ):
        return None
    stack = _shallow_copy(encoder.encoder)
    layers = list(encoder.encoder.layer)
    stack.layer = nn.ModuleList([*layers[:-1], FirstTokenLayer(layers[-1])])
    shortened = _shallow_copy(encoder)
    shortened.encoder = stack
    return shortened


def _shallow_copy(module: Any) -> Any:
    """A module with the same children, whose children can be exchanged without changing it."""
    other = copy.copy(module)
    other._modules = dict(module._modules)
    return other
