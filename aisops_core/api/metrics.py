"""Core's figures for Prometheus. Label values are few and known (methods, route patterns, statuses), never ids."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

KNOWN_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

Figures = Mapping[str, Callable[[], float]]
"""Metric name without the prefix, to how its present value is read. Names ending in `_total` are counters."""


class _Readings(Collector):
    """Reads other parts' own counts at scrape time, so that those parts need not know Prometheus."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        for name, read in self._figures.items():
            full = f"aisops_core_{name}"
            text = name.replace("_", " ")
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield kind(full, text, value=read())


class Metrics:
    """The registry of one Core and the figures the HTTP door itself counts; `refresh` brings the others up to date."""

    def __init__(self, version: str, figures: Figures, refresh: Callable[[], Awaitable[None]]) -> None:
        self._refresh = refresh
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "aisops_core_http_requests",
            "HTTP requests answered",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "aisops_core_http_request_duration_seconds",
            "Time to answer an HTTP request, waiting included",
            ("route",),
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        Info("aisops_core_build", "Version of Core", registry=self._registry).info({"version": version})
        self._registry.register(_Readings(figures))

    def request(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count one answered request."""
        key = (method if method in KNOWN_METHODS else "other", route, status)
        found = self._series.get(key)
        if found is None:  # few: methods, routes and statuses are known sets
            found = (self._requests.labels(key[0], route, str(status)), self._seconds.labels(route))
            self._series[key] = found
        found[0].inc()
        found[1].observe(duration_s)

    async def exposition(self) -> tuple[bytes, str]:
        """Return the metrics in Prometheus' text format, and its content type."""
        await self._refresh()
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
