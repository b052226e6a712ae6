"""Linear layers of an encoder in int8, for inference on a CPU.

Weights have one scale for each output, set once; activations have one scale and one zero point for
each token, set as they come (dynamic quantization as in Dettmers et al. 2022, section 2.1, with a
zero point, since what follows a GELU lies far off the middle). A token's result does not depend on
the tokens beside it. Products are summed in int32, exactly.

Inputs that are large in every text would take the levels from all others: they are scaled down,
and their weights up, by as much as evens both out (SmoothQuant, Xiao et al. 2023, section 4, with
alpha 0.5). How large inputs are is seen on random tokens, since in such encoders it follows from
the weights far more than from the text; no text is needed.

It is lossy: the vectors of a segment keep a cosine of 0.995 or more with those in float32 on
trained encoders, and the same segment beside others may differ in the last rounding step.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hierbert.model.encoding import SegmentEncoder
from hierbert.model.text_encoders import encoder_layers

_LEVELS = 255
_LOWEST = -128
_TOKENS_WATCHED = 1_024
# What is never larger in magnitude counts as if it were so large.
_SMALLEST = 1e-5


class Int8Linear(nn.Module):
    """A linear layer with int8 weights and int8 activations; float32 in and out.

    Args:
        linear: The layer to replace, in float32.
        largest_inputs: The largest magnitude seen of each input, float (in_features,); None
            scales no input.
    """

    shrink: Tensor
    weight: Tensor
    scale: Tensor
    weight_sums: Tensor
    bias: Tensor

    def __init__(self, linear: nn.Linear, largest_inputs: Tensor | None = None) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        growth = torch.ones(linear.in_features)
        if largest_inputs is not None:
            largest_weights = weight.abs().amax(0).clamp(min=_SMALLEST)
            growth = (largest_inputs.float().clamp(min=_SMALLEST) / largest_weights).sqrt()
        weight = weight * growth
        scale = weight.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
        whole = (weight / scale[:, None]).round()
        bias = weight.new_zeros(len(weight)) if linear.bias is None else linear.bias.detach()
        # Transposed without a copy: that is the layout the CPU's kernel reads fastest.
        self.register_buffer("shrink", 1.0 / growth, persistent=False)
        self.register_buffer("weight", whole.to(torch.int8).t(), persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("weight_sums", whole.sum(1), persistent=False)
        self.register_buffer("bias", bias.float(), persistent=False)
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, states: Tensor) -> Tensor:
        """float32 (..., in_features) to float32 (..., out_features)."""
        rows = states.reshape(-1, self.in_features) * self.shrink
        # 0 must be one of the levels, so that a range of one sign is widened up to it.
        low = rows.amin(1, keepdim=True).clamp(max=0.0)
        high = rows.amax(1, keepdim=True).clamp(min=0.0)
        step = ((high - low) / _LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
        zero = (low / step).round() - _LOWEST
        levels = ((rows / step).round() - zero).clamp(_LOWEST, 127).to(torch.int8)
        sums = torch._int_mm(levels, self.weight).float()
        sums = torch.addcmul(sums, zero, self.weight_sums) * step
        result = torch.addcmul(self.bias, sums, self.scale)
        return result.view(*states.shape[:-1], self.out_features)


@torch.no_grad()
def quantize(encoder: SegmentEncoder, segment_tokens: int) -> None:
    """Put `Int8Linear` in the place of every linear layer of an encoder's transformer layers.

    The encoder is in float32, on a CPU, and changed in place: it cannot be trained or saved any
    more. A ValueError where its layers were not found.
    """
    linears = [
        (module, name, child)
        for module in encoder_layers(encoder.encoder).modules()
        for name, child in module.named_children()
        if type(child) is nn.Linear
    ]
    own = [linear for _, _, linear in linears]
    largest = _largest_inputs(encoder.encoder, own, segment_tokens)
    for module, name, linear in linears:
        setattr(module, name, Int8Linear(linear, largest.get(linear)))
    encoder.is_int8 = True


def _largest_inputs(
    encoder: PreTrainedModel, linears: list[nn.Linear], segment_tokens: int
) -> dict[nn.Linear, Tensor]:
    """The largest magnitude of each input of linear layers while random tokens are encoded."""
    largest: dict[nn.Linear, Tensor] = {}

    def watch(linear: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(linear, nn.Linear)
        seen = inputs[0].abs().reshape(-1, linear.in_features).amax(0)
        before = largest.get(linear)
        largest[linear] = seen if before is None else torch.maximum(before, seen)

    generator = torch.Generator().manual_seed(0)
    segments = max(1, _TOKENS_WATCHED // segment_tokens)
    shape, vocabulary = (segments, segment_tokens), int(encoder.config.vocab_size)
    handles = [linear.register_forward_pre_hook(watch) for linear in linears]
    try:
        encoder(input_ids=torch.randint(0, vocabulary, shape, generator=generator))
    finally:
        for handle in handles:
            handle.remove()
    return largest
