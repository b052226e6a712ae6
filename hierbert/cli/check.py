"""The command line that looks at documents before training: `hierbert check`."""

import os
from pathlib import Path

from hierbert.cli.common import (
    CommandLineParser,
    check_writable,
    command,
    escape_unprintable,
    quiet_libraries,
)
from hierbert.cli.terminal import show
from hierbert.config import RunConfig
from hierbert.errors import (
    HierBertError,
    ModelError,
    RunError,
    config_setting,
    error_text,
)
from hierbert.files import write_json, writing
from hierbert.log import log
from hierbert.settings import load_config, parse_command_line

WOULD_FAIL = 3
"""The exit code where a run of these documents and settings would fail."""

EXAMPLES = f"""examples:
  hierbert check --config configs/classification.yaml data.train=my.csv \\
      data.text_column=body data.label_column=topic
  hierbert check --config runs/mine/config.resolved.yaml run_dir=runs/next --no-probe \\
      --json findings.json

settings: those of training, as --config FILE and key=value
output:   tables and findings, the gravest first, each with what to do
exit:     0, also with warnings; {WOULD_FAIL} where the run would fail; 2 for a mistake in the
          command, its settings or the names of files; 130 when interrupted
"""
_FLAGS = ("--json FILE", "--no-probe", "--no-baselines", "--help")


def _main(argv: list[str], prog: str) -> int:
    parser = CommandLineParser(
        prog=prog,
        description="Look at the documents of a run before it trains.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("--json", type=Path, metavar="FILE", help="write all that was found to FILE")
    text = "leave out the estimate of time and memory, for which the encoder reads for some seconds"
    add("--no-probe", action="store_true", help=text)
    add("--no-baselines", action="store_true", help="leave out the baselines")
    options, rest = parser.parse_known_args(argv)
    command = parse_command_line(rest, RunConfig, _FLAGS)
    config = load_config(RunConfig, command.config, command.overrides)
    path = None
    if options.json is not None:
        # Of a link, what it points to is written.
        path = Path(os.path.expanduser(options.json)).resolve()
        check_writable(path, "--json")
    escape_unprintable()
    from hierbert.checking.check import known_checks
    from hierbert.checking.checks.baselines import Baselines
    from hierbert.checking.checks.lengths import Lengths
    from hierbert.checking.finding import Finding
    from hierbert.checking.reading import look_at
    from hierbert.checking.report import make_report, report_text
    from hierbert.loading.encoders import resolve_encoder
    from hierbert.loading.tokenizer import load_tokenizer
    from hierbert.training.building import check_model_settings
    from hierbert.training.estimate import estimate_run

    quiet_libraries()
    findings, tokenizer = [], None
    name = config.model.start_from or resolve_encoder(
        config.model.encoder, config.model.encoder_revision
    )
    try:
        place = config.model.start_from or config.model.encoder
        revision = None if config.model.start_from else config.model.encoder_revision
        tokenizer = load_tokenizer(name, place, revision=revision)
    except ModelError as error:
        findings.append(Finding("error", "model", str(error), "mend it: a run refuses it"))
    kinds = [kind for kind in known_checks() if kind is not Baselines or not options.no_baselines]
    corpus, checks, found = look_at(config, tokenizer, checks=kinds)
    findings += found
    lengths = next(check for check in checks if isinstance(check, Lengths))
    estimate = None
    broken = any(one.severity == "error" for one in findings)
    if tokenizer is not None:
        try:
            if options.no_probe or broken:
                check_model_settings(config)
            else:
                train = [corpus.examples[number] for number in corpus.splits["train"]]
                estimate = estimate_run(config, corpus.tasks, train, lengths.tokens(corpus))
        except HierBertError as error:
            findings.append(Finding("error", "model", str(error), "mend it: a run refuses it"))
    if problem := _run_folder_problem(config):
        findings.append(Finding("error", "run_dir", problem, "name another: a run refuses it"))
    report = make_report(corpus, checks, findings, estimate)
    if path is not None:
        with writing(f"--json {path}"):
            write_json(path, report)
    show(report_text(report, checks))
    if path is not None:
        log.info(f"findings: {path}")
    return WOULD_FAIL if report["would_fail"] else 0


main = command(_main, "hierbert-check", config_setting)


def _run_folder_problem(config: RunConfig) -> str | None:
    """Why a new run would refuse its folder; None where it would not."""
    from hierbert.training.run_folder import check_run_folder

    try:
        check_run_folder(config, resume=False)
    except RunError as error:
        return str(error)
    except OSError as error:
        return f"run_dir={config.run_dir} cannot be read: {error_text(error)}"
    folder = Path(config.run_dir).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return None
    why = "may not be written" if there.is_dir() else "is no folder"
    return f"run_dir={config.run_dir} cannot be made: {there} {why}"
