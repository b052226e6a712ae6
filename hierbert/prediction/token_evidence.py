"""Which tokens of a text speak for a label: integrated gradients over the encoder's embeddings.

From a segment whose tokens are all masked to the segment itself, gradients of the label's logit are
added up (Sundararajan et al. 2017), so that what the tokens contribute is what the segment's logit
has gained. captum computes them.
"""

from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from hierbert.errors import ConfigError, needing
from hierbert.model.answering import answer_batch
from hierbert.model.classification_head import ClassificationHead, LabelRule
from hierbert.model.evidence import Evidence

if TYPE_CHECKING:
    from hierbert.model.encoding import SegmentEncoder
    from hierbert.model.modeling_hierbert import HierBertForDocuments
    from hierbert.model.processing_hierbert import HierBertProcessor
    from hierbert.model.segmentation import SegmentedDocument

HEAD = ClassificationHead.name


def token_evidence(
    model: "HierBertForDocuments",
    processor: "HierBertProcessor",
    document: "SegmentedDocument",
    rule: LabelRule,
    segments: int,
    steps: int,
) -> list[dict[str, Any]]:
    """Evidence of labels, by token; see `HierBert.token_evidence`."""
    with needing("evidence by token", "captum", "evidence"):
        from captum.attr import LayerIntegratedGradients  # type: ignore[import-untyped]
    encoder, head = model.hierbert.segment_encoder, model.heads[HEAD]
    assert isinstance(head, ClassificationHead)
    if encoder.is_int8:
        raise ConfigError("evidence by token needs gradients, and int8 has none: use float32")
    with torch.no_grad():
        [answered] = answer_batch(model, [document], [head.name])
    ends = [0, *document.segment_lengths.cumsum(0).tolist()]
    numbers = head.labels_explained(answered, model.config, rule)
    embeddings = encoder.encoder.get_input_embeddings()
    mask = processor.tokenizer.mask_token_id
    mask = processor.tokenizer.pad_token_id if mask is None else mask
    is_trained = embeddings.weight.requires_grad
    # A frozen encoder would keep no graph.
    embeddings.weight.requires_grad_(True)
    found = []
    try:
        for number in numbers:
            explained = head.explain(model, answered, [number])
            [told] = explained.strongest(segments, False, False)
            spans = [(one["start"], one["end"]) for one in told["segments"]]
            parts = []
            for place in [document.segment_spans.index(span) for span in spans] or [0]:
                gradients = LayerIntegratedGradients(
                    partial(_logit, encoder, explained, place), embeddings
                )
                inside = slice(ends[place], ends[place + 1])
                ids = document.input_ids[inside].long()
                # Special tokens stay, which are of no sentence.
                masked = ids.masked_fill(document.sentence_index[inside] >= 0, mask)
                values, missed = gradients.attribute(
                    ids[None].to(model.device),
                    masked[None].to(model.device),
                    n_steps=steps,
                    internal_batch_size=1,
                    return_convergence_delta=True,
                )
                shares = values.sum(-1)[0].float().cpu()
                parts.append(
                    {
                        "start": document.segment_spans[place][0],
                        "end": document.segment_spans[place][1],
                        "contribution": float(shares.sum()),
                        "error": float(missed),
                        "tokens": _tokens(document, inside, shares),
                    }
                )
            found.append({"label": model.config.id2label[number], "segments": parts})
    finally:
        embeddings.weight.requires_grad_(is_trained)
        embeddings.weight.grad = None
    return found


def _logit(
    encoder: "SegmentEncoder", explained: Evidence, place: int, ids: torch.Tensor
) -> torch.Tensor:
    """What is explained, float32 (1,), where a segment is of other tokens, int64 (1, T)."""
    lengths = torch.tensor([ids.shape[1]], device=ids.device)
    vectors, _ = encoder(ids[0], lengths)
    # Of a sum whose members read words alone, vectors have no part.
    return explained.with_vector(place, vectors[0]) + 0.0 * vectors.sum()


def _tokens(
    document: "SegmentedDocument", inside: slice, shares: torch.Tensor
) -> list[dict[str, Any]]:
    """Of each token of a segment that is of the text: its place and contribution, in order."""
    starts = document.token_starts.unique().tolist()
    found = []
    for start, sentence, share in zip(
        document.token_starts[inside].tolist(),
        document.sentence_index[inside].tolist(),
        shares.tolist(),
        strict=True,
    ):
        if sentence >= 0:
            # Up to the next token, or the sentence's end, without the white space between them.
            number, end = bisect_right(starts, start), document.sentence_spans[sentence][1]
            end = min([end, *starts[number : number + 1]])
            text = document.text[start:end].rstrip()
            found.append({"start": start, "end": start + len(text), "contribution": share})
    return found
