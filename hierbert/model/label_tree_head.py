"""A head for labels that have parents: a node is as likely as its leaves together."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from .configuration_hierbert import HierBertConfig
from .heads import Answered, Head, Structure, Vectors, register_head

MISSING_PATH = -100


@register_head
class LabelTreeHead(Head):
    """Document vectors to logits of leaves, float (D, leaves).

    Args:
        config: `head_settings["label_tree"]["paths"]` holds the path of each leaf, from the root.
    """

    name, verb, attribute = "label_tree", "place", "label_tree"
    reads = frozenset(["document"])

    def __init__(self, config: HierBertConfig) -> None:
        super().__init__()
        self.paths: list[list[str]] = (config.head_settings or {})[self.name]["paths"]
        self.norm = nn.LayerNorm(config.hidden_size)
        self.output = nn.Linear(config.hidden_size, len(self.paths))

    def forward(self, vectors: Vectors) -> Tensor:
        """Logits."""
        return self.output(self.norm(vectors.document))

    def losses(
        self, scores: Tensor, targets: Tensor, structure: Structure
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy over leaves; `targets` are int64 (D,)."""
        known = targets != MISSING_PATH
        losses = F.cross_entropy(scores.float(), targets.masked_fill(~known, 0), reduction="none")
        return losses.where(known, losses * 0.0), known

    def answer(self, answered: Answered, config: HierBertConfig, options: None) -> dict[str, Any]:
        """`path`, the likeliest child under the likeliest parent, and the `shares` of its nodes."""
        leaves = answered.scores[self.name].softmax(0).tolist()
        shares: dict[tuple[str, ...], float] = {}
        for path, share in zip(self.paths, leaves, strict=True):
            for depth in range(1, len(path) + 1):
                node = tuple(path[:depth])
                shares[node] = shares.get(node, 0.0) + share
        best: tuple[str, ...] = ()
        while children := [one for one in shares if one[:-1] == best]:
            best = max(children, key=shares.__getitem__)
        on_path = [shares[best[:depth]] for depth in range(1, len(best) + 1)]
        return {"path": list(best), "shares": on_path}
