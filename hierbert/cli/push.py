"""The command line of publishing: `hierbert push` and `hierbert-push`."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from hierbert.cli.common import CommandLineParser, command, quiet_libraries
from hierbert.errors import ConfigError
from hierbert.files import write_text, writing
from hierbert.hub_names import check_hub_name
from hierbert.log import log

EXAMPLES = """examples:
  hierbert push runs/NAME/model --repo user/name --dry-run
  hierbert push runs/NAME/model --repo user/name --private
  hierbert push runs/NAME/model --repo user/name --dry-run --card-out card.md

The token is that of `hf auth login`, or HF_TOKEN. The page that is there keeps what its author
wrote: only the parts between hierbert's markers, and the figures of its metadata, are renewed.
Pushing again without a change makes no commit; after an interruption the same command goes on.
"""


def _parse(argv: Sequence[str], prog: str) -> argparse.Namespace:
    parser = CommandLineParser(
        prog=prog,
        description="Publish a trained model on the Hugging Face Hub, with a model card.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("model", type=Path, help="folder of a trained model (runs/NAME/model)")
    add("--repo", required=True, metavar="USER/NAME", help="the model's name on the Hub")
    add("--private", action="store_true", help="make a new repository private")
    add(
        "--revision", dest="branch", default="main", metavar="BRANCH", help="branch (default: main)"
    )
    add("--license", metavar="ID", help="such as apache-2.0 (default: the encoder's)")
    add("--run", type=Path, metavar="DIR", help="the run's folder (default: beside the model)")
    add("--message", default="Upload model with hierbert", help="of the commit")
    add("--dry-run", action="store_true", help="show files and sizes; needs no network, no token")
    add("--card", type=Path, metavar="FILE", help="push this card as it is")
    add("--card-out", type=Path, metavar="FILE", help="write the card there too, to look at")
    add("--overwrite-card", action="store_true", help="replace the page's text, edits included")
    return parser.parse_args(argv)


def _main(argv: list[str], prog: str) -> None:
    options = _parse(argv, prog)
    check_hub_name("repo", options.repo)
    check_hub_name("revision", options.branch)
    if options.license is not None:
        check_hub_name("license", options.license)
    from huggingface_hub.utils import logging as hub_logging

    from hierbert.publishing.publish import describe, prepare, publish
    from hierbert.publishing.upload import Request, require_token

    request = Request(**{field.name: getattr(options, field.name) for field in fields(Request)})
    if not request.message.strip():
        raise ConfigError("--message is empty: a commit needs a message")
    quiet_libraries()
    hub_logging.set_verbosity_error()
    if not options.dry_run:
        require_token()
    upload = prepare(request, online=not options.dry_run)
    if options.card_out is not None:
        with writing(f"--card-out {options.card_out}"):
            write_text(options.card_out, upload.card)
        log.info(f"card: {options.card_out}")
    if options.dry_run:
        print(f"would push {request.model} to {request.repo}, branch {request.branch}:")
        print("\n".join(describe(upload)))
        return
    try:
        publish(request, upload)
    except KeyboardInterrupt:
        log.info("what was uploaded stays: the same command goes on")
        raise


main = command(_main, "hierbert-push")
