"""Models that write text, causal ones and encoder-decoders, from a folder, a GGUF file or the Hub.

They write greedily, one text at a time, so that a text depends on the model and what it is asked
alone. Nothing of their own settings of generation is read but which tokens begin and end a text.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import cached_file
from transformers.utils.hub import extract_commit_hash

from hierbert.errors import ModelError, error_text, needing
from hierbert.hub import cached_alone
from hierbert.hub_names import is_hub_id
from hierbert.loading.checks import (
    CONFIG,
    WeightSizes,
    bounded_building,
    check_files,
    check_sizes,
    of_generator,
    refuse_other_weights,
    strangers_files,
)
from hierbert.loading.forking import on_one_thread
from hierbert.loading.model import check_folder
from hierbert.loading.tokenizer import load_tokenizer

GGUF = ".gguf"
# Small models lose their way in longer texts, and attention over them takes gigabytes.
_LARGEST_WINDOW = 4096
_USUAL_WINDOW = 1024
# Of a config, how many tokens a model reads.
_WINDOWS = ("max_encoder_position_embeddings", "max_position_embeddings", "n_positions", "n_ctx")
_DECODER_WINDOW = "max_decoder_position_embeddings"
# The ids that a model's own settings of generation are read for.
_TOKENS = (
    *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"),
    *("forced_bos_token_id", "forced_eos_token_id"),
)
# Templates of some models ask for these: today's date would change answers from day to day, and
# what a model thinks before it answers would take the room of the answer.
_OF_TEMPLATES = {"date_string": "01 Jan 2025", "enable_thinking": False}


class UnreadableError(ModelError):
    """The chat template of a model refuses a text."""


class Written(NamedTuple):
    """What a model wrote, and whether it came to an end by itself."""

    text: str
    finished: bool


@dataclass(frozen=True)
class Generator:
    """A model that writes, with its tokenizer."""

    model: PreTrainedModel  # In evaluation mode.
    tokenizer: PreTrainedTokenizerBase
    window: int  # Tokens that it reads; those that a causal model writes are among them.

    @property
    def has_encoder(self) -> bool:
        """Whether what it writes takes no room of what it reads."""
        return bool(self.model.config.is_encoder_decoder)

    def count(self, text: str) -> int:
        """How many tokens a text has."""
        return len(self.tokenizer(self._plain(text), add_special_tokens=False)["input_ids"])

    def encode(self, text: str, instruction: str | None) -> list[int]:
        """The tokens of a request: an instruction, None for what such models know, and a text.

        An UnreadableError where the chat template refuses them, as some do what is long.
        """
        text = self._plain(text)
        if self.has_encoder:
            prefix = self._prefix if instruction is None else f"{instruction}\n\n"
            return list(self.tokenizer(f"{prefix}{text}")["input_ids"])
        asked = text if instruction is None else f"{instruction}\n\n{text}"
        if self.tokenizer.chat_template is None:
            return list(self.tokenizer(f"{asked}\n\n")["input_ids"])
        message = [{"role": "user", "content": asked}]
        try:
            encoded = self.tokenizer.apply_chat_template(
                message, add_generation_prompt=True, return_dict=True, **_OF_TEMPLATES
            )
        # A template is a program, and fails with anything.
        except Exception as error:
            raise UnreadableError(f"its chat template fails: {error_text(error)}") from error
        return list(encoded["input_ids"])

    def _plain(self, text: str) -> str:
        """A text in which special tokens are no more than a space.

        Halves of surrogate pairs, which UTF-8 has no form for, are question marks.
        """
        if special := _special(self.tokenizer):
            text = re.sub("|".join(map(re.escape, sorted(special, reverse=True))), " ", text)
        return text.encode("utf-8", "replace").decode("utf-8")

    @property
    def _prefix(self) -> str:
        """What an encoder-decoder was trained to be asked for a summary by, such as of T5."""
        tasks = getattr(self.model.config, "task_specific_params", None)
        own = tasks.get("summarization") if isinstance(tasks, Mapping) else None
        prefix = own.get("prefix") if isinstance(own, Mapping) else None
        return prefix if isinstance(prefix, str) else ""

    def write(self, tokens: list[int], most_tokens: int) -> Written:
        """What the model writes after these tokens, the likeliest token each time."""
        asked = torch.tensor([tokens], device=self.model.device)
        with torch.inference_mode():
            made = self.model.generate(
                input_ids=asked, attention_mask=torch.ones_like(asked), max_new_tokens=most_tokens
            )[0].tolist()
        own = made if self.has_encoder else made[len(tokens) :]
        ends = self.model.generation_config.eos_token_id or []
        finished = bool(own) and own[-1] in ([ends] if isinstance(ends, int) else ends)
        return Written(self.tokenizer.decode(own, skip_special_tokens=True), finished)


def load_generator(
    name: str,
    revision: str | None,
    device: str | torch.device,
    trust_remote_code: bool = False,
) -> Generator:
    """Load a model that writes: on a CPU in float32, else as its weights are.

    It is a folder with config.json and safetensors, or with one GGUF file; such a file; a Hub id,
    whose code runs with `trust_remote_code` alone; or a GGUF file of the Hub
    (``user/name/file.gguf``). A ConfigError where a package is missing for it; a ModelError where
    there is no such model, it is damaged, or it does not write text.
    """
    place = f"rewrite={name}"
    source, file = _find(name)
    with strangers_files(place):
        hub = _hub(source, file, revision)
        if file is not None:
            path = Path(source, file)
            if not os.path.isdir(source):
                path = Path(str(cached_file(source, file, **hub)))
            source, hub = str(path.parent), {"gguf_file": path.name}
            sizes: WeightSizes | None = _gguf_sizes(path, place)
            config = AutoConfig.from_pretrained(source, **hub)
            check_sizes(of_generator(config.to_dict(), place), place, sizes)
        else:
            hub["trust_remote_code"] = trust_remote_code
            kind = (lambda values, _: values) if trust_remote_code else of_generator
            sizes, commit = check_files(source, place, kind, **hub)
            hub["revision"] = commit or revision
            config = AutoConfig.from_pretrained(source, **hub)
        on_cpu = torch.device(device).type == "cpu"
        auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        with on_one_thread(), bounded_building(None if trust_remote_code else sizes, place):
            model, report = auto.from_pretrained(
                source,
                dtype=torch.float32 if on_cpu else "auto",
                use_safetensors=True,
                output_loading_info=True,
                # They are refused below, by name.
                ignore_mismatched_sizes=True,
                **hub,
            )
        refuse_other_weights(model, report, place)
        tokenizer = load_tokenizer(source, place, **hub)
    known = model.get_input_embeddings().weight.shape[0]
    if tokenizer.vocab_size > known:
        raise ModelError(
            f"the tokenizer of {place} is of another model: it has {tokenizer.vocab_size:,} "
            f"tokens, the model knows {known:,}"
        )
    # Special ones no text has (`_plain`), and some of them transformers itself adds.
    special = _special(tokenizer)
    ids = {word: number for word, number in tokenizer.get_vocab().items() if word not in special}
    last = max(ids, key=ids.__getitem__, default=None)
    if last is not None and ids[last] >= known:
        raise ModelError(
            f"the tokenizer of {place} has a token that the model lacks: {last!r} has the "
            f"id {ids[last]:,}, the model's end at {known - 1:,}"
        )
    model.generation_config = _greedy(model, tokenizer)
    made = Generator(model.to(device).eval(), tokenizer, _window(model, tokenizer))
    try:
        with on_one_thread():
            made.write(made.encode("a", "a"), 1)
    except Exception as error:
        raise ModelError(
            f"{place} is loaded and cannot be used: {type(error).__name__}: {error_text(error)}"
        ) from error
    return made


def find_commit(name: str, revision: str | None) -> str | None:
    """The commit of a model of the Hub, None for a folder or file; raises as `load_generator`."""
    source, file = _find(name)
    if os.path.isdir(source):
        return None
    with strangers_files(f"rewrite={name}"):
        found = cached_file(source, file or CONFIG, **_hub(source, file, revision))
        return extract_commit_hash(str(found), None)


def _find(name: str) -> tuple[str, str | None]:
    """The folder or repository of a model, and the name of its GGUF file, None where it is none."""
    path = os.path.expanduser(name)
    if path.endswith(GGUF):
        source, file = os.path.split(path)
        source = source or "."
        if os.path.isfile(path) or (not os.path.exists(source) and is_hub_id(source)):
            return source, file
        raise ModelError(f"rewrite={name}: there is no such file")
    if is_hub_id(path):
        return path, None
    files = sorted(Path(path).glob(f"*{GGUF}")) if os.path.isdir(path) else []
    if files and not Path(path, CONFIG).exists():
        if len(files) > 1:
            raise ModelError(
                f"rewrite={name} holds {len(files)} GGUF files; name one, such as {files[0]}"
            )
        return path, files[0].name
    check_folder(Path(path))
    return path, None


def _hub(source: str, file: str | None, revision: str | None) -> dict[str, Any]:
    """How a repository is asked for, or found in the cache; nothing for a folder."""
    if os.path.isdir(source):
        return {}
    alone = cached_alone(source, file or CONFIG, revision=revision)
    return {"revision": revision, "local_files_only": alone}


def _gguf_sizes(path: Path, place: str) -> WeightSizes:
    """The sizes of the weights in a GGUF file, of which only the header is read."""
    with needing(f"{place}, a GGUF file,", "gguf", "rewrite"):
        from gguf import GGUFReader
    try:
        shapes = [[int(size) for size in tensor.shape] for tensor in GGUFReader(path).tensors]
    # A damaged file fails anywhere in the reader, with anything.
    except Exception as error:
        raise ModelError(
            f"{place}: {path.name} is damaged or not whole ({error_text(error)})"
        ) from error
    return WeightSizes.of(shapes)


def _special(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """The tokens that say where texts and turns begin and end, and the like."""

    # Those that part the turns of a talk are not always among `all_special_tokens`.
    added = tokenizer.added_tokens_decoder.values()
    special = {token.content for token in added if token.special}
    return (special | {*tokenizer.all_special_tokens}) - {""}


def _greedy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """Greedy decoding, from and to the tokens that a model and its tokenizer say."""
    own = model.generation_config
    tokens = {name: getattr(own, name, None) for name in _TOKENS}
    given = tokens["eos_token_id"]
    ends = [*(given if isinstance(given, list) else [given]), tokenizer.eos_token_id]
    ends = sorted({token for token in ends if token is not None})
    tokens["eos_token_id"] = ends or None
    if tokens["pad_token_id"] is None:
        tokens["pad_token_id"] = ends[0] if ends else 0
    return GenerationConfig(do_sample=False, num_beams=1, **tokens)


def _window(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens that a model reads at once."""
    config = model.config.get_text_config()
    names = (*_WINDOWS, _DECODER_WINDOW)
    found = [getattr(config, name, None) for name in names]
    # Tokenizers that know of no limit say a number of thirty digits.
    found.append(tokenizer.model_max_length if tokenizer.model_max_length < 1e9 else None)
    sizes = [size for size in found if isinstance(size, int) and size > 0]
    return min(*sizes, _LARGEST_WINDOW) if sizes else _USUAL_WINDOW
