"""The code examples of a model's page, each of which runs as it stands."""

from hierbert.model.configuration_hierbert import HierBertConfig
from hierbert.publishing.markdown import code_block

# The oldest that hierbert is made for, as its pyproject.toml says.
TRANSFORMERS = "5.10"
_READ = 'text = open("document.txt", encoding="utf-8").read()'


def snippets(repo: str, config: HierBertConfig) -> str:
    """Four ways to use a model: with hierbert or without, in a line or by hand.

    Args:
        repo: Name of the repository, user/name.
        config: The model's.

    Returns:
        Markdown with Python blocks that need nothing but a file `document.txt`.
    """
    parts = [
        f"With nothing but `torch` and `transformers` ({TRANSFORMERS} or newer). "
        "`trust_remote_code=True` runs the Python files of this repository; to be sure of what "
        "runs, read them and pin `revision=` to that commit.",
        code_block(_pipelines(repo, config), "python"),
        "The model itself, on a batch of documents of any length:",
        code_block(_by_hand(repo, config), "python"),
        "With hierbert installed, the same answers without remote code:",
        code_block(_predictor(repo, config), "python"),
        code_block(_auto_classes(repo), "python"),
    ]
    return "\n\n".join(parts)


def _pipelines(repo: str, config: HierBertConfig) -> str:
    lines = ["from transformers import pipeline", "", _READ]
    if config.classification:
        keys = '"label"], answer["probabilities"'
        if config.problem_type == "multi_label_classification":
            keys = '"labels"], answer["probabilities"'
        elif config.problem_type == "regression":
            keys = '"label"'
        lines += [
            "classify = pipeline(",
            f'    "document-classification", model="{repo}", trust_remote_code=True',
            ")",
            "answer = classify(text)",
            f"print(answer[{keys}])",
        ]
    if config.summarization:
        lines += [
            "summarize = pipeline(",
            f'    "document-summarization", model="{repo}", trust_remote_code=True',
            ")",
            'for sentence in summarize(text, max_words=100)["sentences"]:',
            '    print(sentence["start"], sentence["end"], sentence["score"], sentence["text"])',
        ]
    return "\n".join(lines)


def _by_hand(repo: str, config: HierBertConfig) -> str:
    lines = [
        "import torch",
        "from transformers import AutoModelForSequenceClassification, AutoProcessor",
        "",
        f'processor = AutoProcessor.from_pretrained("{repo}", trust_remote_code=True)',
        "model = AutoModelForSequenceClassification.from_pretrained(",
        f'    "{repo}", trust_remote_code=True',
        ")",
        'texts = [open("document.txt", encoding="utf-8").read()]',
        "with torch.no_grad():",
        "    output = model(**processor(texts))",
    ]
    if config.problem_type == "regression":
        lines.append("print(output.logits * model.config.label_scale + model.config.label_mean)")
    elif config.problem_type == "multi_label_classification":
        lines.append("print(output.logits.sigmoid() >= model.config.decision_threshold)")
    elif config.classification:
        lines.append("print(model.config.id2label[int(output.logits[0].argmax())])")
    if config.summarization:
        lines.append("print(output.sentence_scores.sigmoid())  # one number for each sentence")
    return "\n".join(lines)


def _predictor(repo: str, config: HierBertConfig) -> str:
    lines = [
        "from hierbert import HierBertPredictor",
        "",
        f'predictor = HierBertPredictor.from_pretrained("{repo}")',
        _READ,
    ]
    if config.classification:
        name = "label"
        if config.problem_type == "multi_label_classification":
            name = "labels"
        lines.append(f"print(predictor.classify(text)[0].{name})")
    if config.summarization:
        lines.append("print(predictor.summarize(text, max_words=100)[0].summary)")
    return "\n".join(lines)


def _auto_classes(repo: str) -> str:
    return "\n".join(
        [
            "import hierbert",
            "from transformers import AutoModelForSequenceClassification, AutoProcessor",
            "",
            f'processor = AutoProcessor.from_pretrained("{repo}")',
            f'model = AutoModelForSequenceClassification.from_pretrained("{repo}")',
        ]
    )
