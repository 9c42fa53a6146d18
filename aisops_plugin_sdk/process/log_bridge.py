"""Writes log records and events as the contract's lines, those of the standard library's logging included."""

import logging
import time
from collections.abc import Callable

from aisops_plugin_sdk import events
from aisops_plugin_sdk.events import EventRecord
from aisops_plugin_sdk.logs import Level, LogRecord, LogSink, current_job, to_document
from aisops_plugin_sdk.process.stdout import ContractOutput
from aisops_plugin_sdk.secret import Redactor


class StandardLogBridge(logging.Handler):
    """Hands every record to a sink, with the job that is current where it was logged."""

    def __init__(self, sink: LogSink) -> None:
        super().__init__(logging.INFO)
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        try:
            text = record.getMessage()
            if record.exc_info:
                text += "\n" + logging.Formatter().formatException(record.exc_info)
        except Exception:  # noqa: BLE001 - a record with wrong arguments must not hurt the caller
            text = str(record.msg)
        self._sink(LogRecord(_level(record.levelno), text, current_job.get(), {"logger": record.name}))


class OutputSink:
    """Writes log records as the contract's lines. `redactor` is set once the config is known."""

    def __init__(self, output: ContractOutput, *, clock: Callable[[], float] = time.time) -> None:
        self.redactor = Redactor()
        self._output = output
        self._clock = clock

    def __call__(self, record: LogRecord) -> None:
        """Write one record."""
        self._output.line(to_document(record, time_ms=round(self._clock() * 1000), redactor=self.redactor))


class EventOutput:
    """Writes events as the contract's lines."""

    def __init__(self, output: ContractOutput) -> None:
        self._output = output

    def __call__(self, event: EventRecord) -> bool:
        """Write one event; False when the reader is too far behind."""
        return self._output.line(events.to_document(event))


def bridge_standard_logging(sink: LogSink) -> None:
    """Send all standard logging from INFO up to the sink, and nowhere else."""
    root = logging.getLogger()
    root.handlers[:] = [StandardLogBridge(sink)]
    root.setLevel(logging.INFO)


def _level(number: int) -> Level:
    """Map a standard level to the contract's."""
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
