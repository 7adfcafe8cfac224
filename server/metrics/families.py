"""Makes Prometheus's metric families, all with the same prefix and labels."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from ftllm.server.metrics.histogram import Histogram

ENGINE = "0"  # vLLM numbers the engines behind one endpoint; here there is one


class Families:
    """Every sample carries vLLM's labels `model_name` and `engine`."""

    def __init__(self, prefix: str, model_name: str) -> None:
        self._prefix = prefix
        self._labels = {"model_name": model_name, "engine": ENGINE}

    def gauge(self, name: str, text: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(self._name(name), text, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), value)
        return family

    def gauges(
        self, name: str, text: str, label: str, values: Mapping[str, float]
    ) -> GaugeMetricFamily:
        """One sample for each value of `label`."""
        family = GaugeMetricFamily(self._name(name), text, labels=[*self._labels, label])
        for key, value in values.items():
            family.add_metric([*self._labels.values(), key], value)
        return family

    def info(self, name: str, text: str, facts: Mapping[str, str]) -> GaugeMetricFamily:
        """A gauge that is always 1 and tells by its labels."""
        labels = {**self._labels, **facts}
        family = GaugeMetricFamily(self._name(name), text, labels=list(labels))
        family.add_metric(list(labels.values()), 1)
        return family

    def counter(self, name: str, text: str, value: float) -> CounterMetricFamily:
        family = CounterMetricFamily(self._name(name), text, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), value)
        return family

    def counters(
        self, name: str, text: str, label: str, values: Mapping[str, float]
    ) -> CounterMetricFamily:
        """One sample for each value of `label`."""
        family = CounterMetricFamily(self._name(name), text, labels=[*self._labels, label])
        for key, value in values.items():
            family.add_metric([*self._labels.values(), key], value)
        return family

    def histogram(self, name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
        family = HistogramMetricFamily(self._name(name), text, labels=list(self._labels))
        family.add_metric(list(self._labels.values()), histogram.cumulative(), histogram.total)
        return family

    def _name(self, name: str) -> str:
        return f"{self._prefix}:{name}"
