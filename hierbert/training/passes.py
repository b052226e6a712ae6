"""How many tokens one pass through the segment encoder takes in a run.

With `training.tokens_per_forward=auto` a probe chooses when the run begins; the run folder keeps
the choice, so that a resumed run computes the same numbers in the same order.
"""

from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from hierbert.config import RunConfig
from hierbert.log import log
from hierbert.model.modeling_hierbert import HierBertForDocuments
from hierbert.probing import probe_tokens_per_forward
from hierbert.training.run_folder import read_probed, save_probed

_TOKENS_PER_FORWARD = "training.tokens_per_forward"


def choose_tokens_per_forward(
    config: RunConfig, accelerator: Accelerator, model: HierBertForDocuments, folder: Path
) -> None:
    """Set the size of the segment encoder's passes; the same on every process.

    Args:
        config: Of the run; `training.tokens_per_forward` is read.
        accelerator: The run's.
        model: On its device, frozen as it will be trained; no gradients yet.
        folder: The run's, where the result of a probe is kept and looked for.

    Raises:
        RunError: What an earlier start of the run found cannot be read, or not be written.
    """
    encoder = model.hierbert.segment_encoder
    if config.training.tokens_per_forward != "auto":
        encoder.tokens_per_forward = config.training.tokens_per_forward
        return
    # The first process decides: others may not see its folder, and the sizes must not differ.
    tokens = gather_object([read_probed(folder).get(_TOKENS_PER_FORWARD)])[0]
    if tokens is None:
        was_training = encoder.training
        encoder.train()
        with accelerator.autocast():
            own = probe_tokens_per_forward(encoder, model.config.segment_tokens)
        encoder.train(was_training)
        tokens = gather_object([own])[0]
        if accelerator.is_main_process:
            save_probed(folder, {_TOKENS_PER_FORWARD: tokens})
        accelerator.wait_for_everyone()
    log.info(f"tokens_per_forward: {tokens:,}, by a probe when the run began")
    encoder.tokens_per_forward = tokens
