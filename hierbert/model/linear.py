"""A linear model that is fitted, not learnt by steps: its numbers are buffers."""

import torch
from torch import Tensor, nn


class StandardisedLinear(nn.Module):
    """Scores of inputs, each less its mean and over its spread.

    Args:
        inputs: F.
        outputs: C.
    """

    center: Tensor
    scale: Tensor
    weights: Tensor
    bias: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.register_buffer("weights", torch.zeros(inputs, outputs))
        self.register_buffer("bias", torch.zeros(outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores, float32 (..., C), of inputs float (..., F)."""
        # Weights that add up to little differences lose them in half precision.
        with torch.autocast(inputs.device.type, enabled=False):
            return self.standardised(inputs) @ self.weights.float() + self.bias.float()

    def standardised(self, inputs: Tensor) -> Tensor:
        """Inputs as the weights read them, float32."""
        return (inputs.float() - self.center.float()) / self.scale.float()
