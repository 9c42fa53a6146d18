"""Turn an Alertmanager webhook payload into the text that people read.

The payload is version 4 of Alertmanager's webhook format (prometheus.io, "Alerting > Configuration > webhook_config").
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Alert:
    """The first alert of a group, as a person needs it: one headline, one text."""

    headline: str
    text: str


def read_alert(path: Path) -> Alert:
    """Read a webhook payload from a file.

    Raises:
        ValueError: the file is not a version 4 payload with at least one alert.
    """
    payload = json.loads(path.read_text(encoding="utf-8"))
    if payload.get("version") != "4" or not payload.get("alerts"):
        raise ValueError(f"{path} is not an Alertmanager webhook payload (version 4, at least one alert)")
    first = payload["alerts"][0]
    labels, annotations = first["labels"], first["annotations"]
    headline = f"[{payload['status'].upper()}] {labels['alertname']} ({labels.get('severity', 'unknown')})"
    text = "\n".join((headline, annotations["summary"], annotations["description"], annotations["runbook_url"]))
    return Alert(headline=headline, text=text)
