"""What ``snakemake`` shows here: runs done, of how many, time left; every warning and error.

A dry run, ``--verbose`` or ``--printshellcmds`` show what Snakemake shows by default.
"""

import logging
import sys
import time
from pathlib import Path

from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

_REPLACED = {
    LogEvent.WORKFLOW_STARTED, LogEvent.RUN_INFO, LogEvent.RESOURCES_INFO, LogEvent.JOB_INFO,
    LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED, LogEvent.PROGRESS, LogEvent.SHELLCMD,
}  # fmt: skip
_CHATTER = (
    "Assuming unrestricted", "Using shell", "host:", "Select jobs", "Execute ", "Complete log",
    "Conda environments", "Removing output files of failed job", "WorkflowError:\nAt least one job",
    "RuleException:\nCalledProcessError", "Elapsed time",
)  # fmt: skip
"""What a reader of the progress line learns nothing from; a failed job is told by `_failure`."""

how_far = "Starting"
"""The line that was shown last; "" once the page itself is made, of which this tells nothing."""

planned: dict[tuple[str, str], int] = {}
"""By rule and cell, the runs that this call of the workflow will make; measurements are none. The
Snakefile fills it in ``onstart``."""


class LogHandler(LogHandlerBase):
    """Snakemake's own log, with one progress line in place of its job messages."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Set up Snakemake's default handler for all that is not progress."""
        s = self.common_settings
        self.plain = s.dryrun or s.verbose or s.printshellcmds
        self.default = ColorizingTextHandler(
            nocolor=s.nocolor,
            stream=sys.stdout if s.stdout else sys.stderr,
            formatter=DefaultFormatter(s.quiet, s.show_failed_logs),
            filter=DefaultFilter(s.quiet, s.debug_dag, s.verbose, s.dryrun, s.printshellcmds),
        )
        self.making: dict[int, tuple[str, str]] = {}
        self.runs = self.made = self.jobs = self.total = 0
        self.started = self.shown = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record, or count it."""
        event = getattr(record, "event", None)
        if self.plain:
            if self.default.filter(record):
                self.default.emit(record)
        elif event in _REPLACED:
            self._count(event, record)
        elif event == LogEvent.JOB_ERROR:
            self._end_line()
            self.default.stream.write(_failure(record))
        elif self.default.filter(record) and not record.getMessage().startswith(_CHATTER):
            self._end_line()
            self.default.emit(record)

    def _count(self, event: LogEvent, record: logging.LogRecord) -> None:
        of_event = vars(record)  # whose fields Snakemake adds
        if event == LogEvent.RUN_INFO:
            self.total = of_event["stats"]["total"]
            self.started = time.monotonic()
        elif event == LogEvent.JOB_INFO:
            job = of_event["rule_name"], (of_event["wildcards"] or {}).get("cell", "")
            self.making |= {of_event["jobid"]: job} if job in planned else {}
            if of_event["rule_name"] == "page":
                self._tell("")
        elif event == LogEvent.JOB_FINISHED:
            self.jobs += 1
            if of_event["job_id"] in self.making:
                self.made += 1
                self.runs += planned[self.making.pop(of_event["job_id"])]
            self._show()

    def _tell(self, line: str) -> None:
        """For the page that is being made; the last word is "", where the page makes itself."""
        global how_far
        how_far = line if how_far else ""

    def _show(self) -> None:
        terminal, now = self.default.is_tty, time.monotonic()
        last = self.jobs == self.total
        # A run and any other job count as one unit of work: good enough for an estimate.
        runs = sum(planned.values())
        units = runs + self.total - len(planned)
        done = self.runs + self.jobs - self.made
        left = (now - self.started) * max(units - done, 0) / max(done, 1)
        line = f"runs {self.runs}/{runs}  jobs {self.jobs}/{self.total}  "
        line += f"{_clock(now - self.started)} so far, about {_clock(left)} left"
        self._tell(line)
        if not last and now - self.shown < (0.2 if terminal else 5):
            return
        self.shown = now
        self.default.stream.write(f"\r{line:78}" if terminal and not last else f"{line}\n")
        self.default.flush()

    def _end_line(self) -> None:
        if self.default.is_tty and self.jobs:
            self.default.stream.write("\n")


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


def _failure(record: logging.LogRecord) -> str:
    """The failed job, the last line of its log, and where the rest is."""
    of_job = vars(record)
    lines = []
    for log in of_job["log"]:
        path = Path(log)
        lines += path.read_text(errors="replace").splitlines()[-1:] if path.exists() else []
    reason = lines[-1] if lines else "no message"
    return f"failed: {of_job['output'][0]}: {reason} [{', '.join(of_job['log'])}]\n"
