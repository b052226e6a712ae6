"""Flags that the commands which use a trained model share: what they read, how it computes."""

import argparse
import contextlib
from collections.abc import Callable
from dataclasses import Field
from typing import Any

from hierbert.cli.common import CommandLineParser
from hierbert.model.selection_options import OPTIONS, check_option, choices_of


def number(kind: type, fits: Callable[[Any], bool], allowed: str) -> Callable[[str], Any]:
    """What reads the number of a flag, as argparse wants it."""

    def read(text: str) -> Any:
        with contextlib.suppress(ValueError):
            if fits(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: {allowed}")

    return read


count = number(int, lambda value: value >= 1, "a whole number, at least 1")
DTYPES = ("float32", "bfloat16", "float16", "int8", "auto")
BACKENDS = ("torch", "openvino", "onnx", "auto")


def add_document_flags(parser: CommandLineParser) -> None:
    """How documents are read; `options.fields_of` reads what --column says."""
    add = parser.add_argument
    text = "column of the text (default: text); alternatives in order as text|body, of one file "
    text += "as docs.csv=body|text"
    add("--text-column", default="text", help=text)
    add("--id-column", help='column of the id (default: "id" if there, else made)')
    text = "column of a field that the model's features read beside the text"
    add("--column", action="append", default=[], metavar="FIELD=NAME", help=text)
    text = "between the fields of csv (default: a comma, or what the header has)"
    add("--delimiter", metavar="D", help=text)
    add("--encoding", default="utf-8", help="of text files (default: utf-8)")


def add_selection_flags(group: "argparse._ArgumentGroup") -> None:
    """One for each option of a selection; without it the model's own way holds."""
    for name, option in OPTIONS.items():
        flag, text = "--" + name.replace("_", "-"), option.metadata["help"].rstrip(".")
        text = text[0].lower() + text[1:]
        if option.type is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        elif choices := choices_of(option):
            group.add_argument(flag, choices=choices, help=text)
        else:
            group.add_argument(flag, type=_number_of(option), metavar="N", help=text)


def _number_of(option: Field) -> Callable[[str], Any]:
    """What reads an option's number."""

    def read(text: str) -> Any:
        value: Any = text
        with contextlib.suppress(ValueError):
            value = int(text) if option.type is int else float(text)
        try:
            check_option(option, value, "")
        except ValueError as error:
            allowed = str(error).partition("is not allowed: ")[2]
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed: {allowed}") from None
        return value

    return read


def add_encoder_flags(parser: CommandLineParser) -> None:
    """Where and how the model computes; `options.cache_options` reads those of the cache."""
    add = parser.add_argument
    text = "tokens of one pass of the encoder, or auto to measure which is fastest here (default: "
    text += "2048 on a CPU, 32768 elsewhere)"
    add("--tokens-per-forward", type=count_or_auto, metavar="N", help=text)
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    text = "default: float32; the others answer slightly differently; int8 is for CPUs; auto "
    text += "measures whether bfloat16 or float16 is faster here"
    add("--dtype", default="float32", choices=DTYPES, help=text)
    text = (
        "what encodes on a CPU (default: torch): openvino or onnx, of the extras of these names, "
    )
    text += "with the same answers up to rounding in float32; auto: what is fastest here"
    add("--backend", default="torch", choices=BACKENDS, help=text)
    text = "compile the encoder first, which takes some seconds; halves the time of int8 (default: "
    text += "with int8)"
    add("--compile", action=argparse.BooleanOptionalAction, help=text)
    kept = parser.add_argument_group(
        "cached vectors (a document that was read before, in training or by another job with the "
        "same encoder, is not encoded again)"
    ).add_argument
    kept("--cache-dir", metavar="DIR", help="keep vectors in DIR (default: keep none)")
    text = "default: float32; float16 takes half the room and answers slightly differently"
    kept("--cache-dtype", choices=("float32", "float16"), help=text)
    text = "most GiB of DIR (default: half of the disk's free room)"
    kept("--cache-limit-gib", type=float, metavar="G", help=text)


def count_or_auto(value: str) -> int | str:
    """A whole number, at least 1, or "auto"."""
    with contextlib.suppress(argparse.ArgumentTypeError):
        return value if value == "auto" else count(value)
    raise argparse.ArgumentTypeError(f"{value!r} is not allowed: auto, or at least 1")
