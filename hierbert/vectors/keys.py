"""What the vectors of a document depend on, as hashes: the encoder, and what it reads.

Invariant: whatever changes a vector changes a hash. What changes float32 vectors by rounding alone
(tokens of a pass, the device) is in none.
"""

import hashlib

from hierbert.loading.fingerprints import add_settings, add_weights, plain_config
from hierbert.model.modeling_hierbert import HierBertModel
from hierbert.model.segmentation import SegmentedDocument

KEY_BYTES = 16
# A part of every document's key: raised when what a key stands for changes, so that older files
# find nothing.
_KEY_VERSION = "3"


def document_key(document: SegmentedDocument) -> bytes:
    """Hash of what a segment encoder reads of a document, `KEY_BYTES` bytes."""
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    # Sentences without tokens are in no tensor, but each has a vector.
    digest.update(f"{_KEY_VERSION} {len(document.sentence_spans)} ".encode())
    for part in (document.input_ids, document.segment_lengths, document.sentence_index):
        digest.update(str(len(part)).encode())
        digest.update(part.numpy().data)
    return digest.digest()


def encoder_fingerprint(model: HierBertModel) -> str:
    """Hash of a segment encoder and its pooling, 24 hexadecimal digits; see `model_fingerprint`."""
    # A processor's own instructions make SHA-256 the fastest of the strong hashes.
    digest = hashlib.sha256()
    config = plain_config(model.config.encoder_config)
    settings = [config, model.config.pooling, model.segment_encoder.computes]
    if model.segment_encoder.first_token_sees_all:
        settings.append("first token sees all")
    add_settings(digest, settings)
    add_weights(digest, model.segment_encoder)
    return digest.hexdigest()[:24]
