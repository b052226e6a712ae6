"""The command line about trees of labels: `hierbert taxonomy check`."""

import os
from collections.abc import Sequence
from pathlib import Path

from hierbert.cli.common import CommandLineParser, escape_unprintable, run_command
from hierbert.errors import ConfigError
from hierbert.files import write_json, writing

EXAMPLES = """examples:
  hierbert taxonomy check tree.jsonl
  hierbert taxonomy check synsets.jsonl.gz --parent-column hypernyms --json facts.json

input:  nodes with their parent or parents (columns id and parent, or id and parents), pairs
        (parent and child), paths from the top (path: a list, or one text with ' > ' between the
        names), in any format of a corpus; or a .txt file whose lines are a parent and its
        children with tabs between them
output: how many nodes each level has, and what may be a mistake
exit:   0; 2 for a mistake, such as a circle or a parent that is no node
"""


def main(argv: Sequence[str] | None = None, prog: str = "hierbert-taxonomy") -> int:
    """Run the command, which the help calls `prog`; argv of None is the process's.

    The exit code: 0, or 2 for a mistake in the input.
    """
    return run_command(lambda arguments: _main(arguments, prog), argv, _flag)


def _flag(name: str) -> str:
    """As this command line names settings; what holds the nodes is no flag."""
    return "FILE" if name == "taxonomy" else "--" + name.replace("_", "-")


def _main(argv: list[str], prog: str) -> None:
    parser = CommandLineParser(prog=prog, description="Look at a tree of labels.", epilog=EXAMPLES)
    add = parser.add_argument
    add("action", choices=("check",), help="say what is in a file, and whether it can be used")
    add("file", metavar="FILE", help="what holds the nodes")
    add("--id-column", metavar="NAME", help="column of a node's id (default: id, or child)")
    text = "column of its parent, or of a list of them (default: parents, or parent)"
    add("--parent-column", metavar="NAME", help=text)
    add("--path-column", metavar="NAME", help="column of its path from the top (default: path)")
    add("--name-column", metavar="NAME", help="column of what it is called (default: name)")
    text = "between the names of a path that is one text (default: ' > ')"
    add("--separator", metavar="TEXT", help=text)
    add("--encoding", default="utf-8", help="of text files (default: utf-8)")
    add("--json", type=Path, metavar="FILE", help="write all that was found to FILE")
    options = parser.parse_args(argv)
    escape_unprintable()
    from hierbert.data.streams import check_encoding
    from hierbert.taxonomy.facts import facts_text, taxonomy_facts
    from hierbert.taxonomy.reading import SEPARATOR, TaxonomyColumns, read_taxonomy

    check_encoding(options.encoding)
    if options.separator is not None and not options.separator.strip():
        raise ConfigError(
            "is not allowed: at least one character that is no space",
            setting="separator",
            value=options.separator,
        )
    columns = TaxonomyColumns(
        options.id_column,
        options.parent_column,
        options.path_column,
        options.name_column,
        separator=options.separator or SEPARATOR,
    )
    facts = taxonomy_facts(read_taxonomy(options.file, columns, options.encoding))
    if options.json is not None:
        path = Path(os.path.expanduser(options.json)).resolve()
        with writing(f"--json {path}"):
            write_json(path, facts)
    print(facts_text(facts))
