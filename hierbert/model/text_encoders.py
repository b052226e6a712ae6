"""What hierbert needs to know of an `AutoModel` text encoder: how to build it, its layers.

Nothing here depends on segments or documents.
"""

import inspect

from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel


def build_encoder(text_config: PreTrainedConfig) -> PreTrainedModel:
    """An `AutoModel` text encoder with new weights, without the pooler, which is not used."""
    # Without this, transformers asks at the terminal whether code may run.
    return AutoModel.from_config(
        text_config, trust_remote_code=False, **encoder_arguments(text_config)
    )


def encoder_arguments(text_config: PreTrainedConfig) -> dict[str, bool]:
    """`add_pooling_layer=False` for the encoder classes that have such an argument."""
    encoder_class = AutoModel._model_mapping[type(text_config)]
    if isinstance(encoder_class, tuple):
        encoder_class = encoder_class[0]
    if "add_pooling_layer" in inspect.signature(encoder_class.__init__).parameters:
        return {"add_pooling_layer": False}
    return {}


def encoder_layers(encoder: nn.Module) -> nn.ModuleList:
    """The transformer layers of an encoder: its longest list of modules.

    Raises:
        ValueError: It keeps them elsewhere.
    """
    lists = [module for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError(f"no list of layers found in {type(encoder).__name__}")
    return max(lists, key=len)
