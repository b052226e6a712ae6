"""The command line that shows what runs found: `hierbert report` and `hierbert-report`."""

import os
from pathlib import Path

from hierbert.cli.common import CommandLineParser, command, escape_unprintable
from hierbert.cli.terminal import show_sections
from hierbert.errors import ConfigError
from hierbert.files import writing
from hierbert.log import log

EXAMPLES = """examples:
  hierbert report runs/NAME
  hierbert report runs/A runs/B
  hierbert report runs/A runs/B evaluations/C --output comparison

input:  folders of runs, or of evaluations (hierbert evaluate --output)
output: tables, and with --output the folder's report.html and report.md. Of several runs the first
        is what the others are held against, on the documents that both have answered
exit:   0, 2 for a mistake
"""


def _main(argv: list[str], prog: str) -> None:
    parser = CommandLineParser(
        prog=prog, description="Show what a run found, or compare several.", epilog=EXAMPLES
    )
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run or an evaluation")
    text = "folder for report.html and report.md, made where it is missing"
    add("--output", type=Path, metavar="DIR", help=text)
    add("--overwrite", action="store_true", help="replace the report of DIR")
    options = parser.parse_args(argv)
    if options.overwrite and options.output is None:
        raise ConfigError("--overwrite needs --output, the folder whose report it means")
    escape_unprintable()
    from hierbert.reporting.comparison import compare, read_several
    from hierbert.reporting.markdown import render_markdown
    from hierbert.reporting.report import PAGE, TABLES, make_sections, write_pages

    output = None if options.output is None else Path(os.path.expanduser(options.output))
    if output is not None and not options.overwrite:
        for name in (PAGE, TABLES):
            if (output / name).exists():
                raise ConfigError(f"{output / name} exists; --overwrite replaces it")
    found = read_several([Path(os.path.expanduser(run)) for run in options.runs])
    if len(found) == 1:
        title, sections = f"Report: {found[0].name}", make_sections(found[0])
    else:
        title, sections = f"{len(found)} runs compared", compare(found)
    if output is not None:
        with writing(output):
            write_pages(output, title, sections)
    show_sections(title, sections, render_markdown(title, sections))
    if output is not None:
        log.info(f"report: {output / PAGE}")


main = command(_main, "hierbert-report")
