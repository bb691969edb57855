"""Carries metric families between processes as JSON, merges those of several processes, and writes them for Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from generals_env.errors import StateError

__all__ = ["dump_families", "exposition", "load_families", "merge_families"]


def dump_families(families: Iterable[Metric]) -> bytes:
    """Return families as JSON; nan and infinity are written as Python's ``json`` does."""
    rows = [
        [
            family.name,
            family.documentation,
            family.type,
            [[sample.name, sample.labels, sample.value] for sample in family.samples],
        ]
        for family in families
    ]
    return json.dumps(rows, separators=(",", ":")).encode()


def load_families(data: bytes) -> list[Metric]:
    """Return the families that ``dump_families`` wrote."""
    families = []
    for name, documentation, kind, samples in json.loads(data):
        family = Metric(name, documentation, kind)
        family.samples = [Sample(*sample) for sample in samples]
        families.append(family)
    return families


def merge_families(lists: Iterable[Iterable[Metric]]) -> list[Metric]:
    """Return families of several processes as one list, each family once.

    Samples of counters and histograms with the same labels are added up.

    Raises:
        StateError: If two families of one name differ in type, or two samples of a gauge have the same labels: a sum of gauges
            may be wrong, so they need a label such as ``component``.
    """
    merged: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], Sample]] = {}
    families: dict[str, Metric] = {}
    for family in (family for each in lists for family in each):
        known = families.get(family.name)
        if known is None:
            known = families[family.name] = Metric(family.name, family.documentation, family.type)
            merged[family.name] = {}
        if known.type != family.type:
            raise StateError(f"{family.name}: expected one type, got {known.type} and {family.type}: rename one of them")
        samples = merged[family.name]
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            other = samples.get(key)
            if other is not None and family.type == "gauge":
                raise StateError(
                    f"{family.name}: expected one sample with the labels {sample.labels}, got two: give each "
                    "process labels of its own"
                )
            samples[key] = sample if other is None else sample._replace(value=sample.value + other.value)
    for name, samples in merged.items():
        families[name].samples = list(samples.values())
    return list(families.values())


class Families(Collector):
    """Families as the collector that the encoders of prometheus-client take."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        """Return the families."""
        return self._families


def exposition(families: Iterable[Metric], accept: str = "") -> tuple[str, bytes]:
    """Return the content type and the text of families.

    OpenMetrics allows no ``_sum`` and ``_count`` for a histogram with negative buckets, so ``experience_rewards`` has them in
    Prometheus's older text format only.

    Args:
        families: The families.
        accept: The header ``Accept`` of the request: OpenMetrics if it names that first, else Prometheus's text format.
    """
    encoder, content_type = choose_encoder(accept)
    shown = list(families)
    if content_type.startswith("application/openmetrics-text"):
        shown = [without_negative_sums(family) for family in shown]
    return content_type, encoder(Families(shown))


def without_negative_sums(family: Metric) -> Metric:
    """Return a family without sums and counts if it is a histogram with negative buckets."""
    if family.type != "histogram" or not any(sample.labels.get("le", "").startswith("-") for sample in family.samples):
        return family
    kept = Metric(family.name, family.documentation, family.type)
    kept.samples = [sample for sample in family.samples if sample.name.endswith("_bucket")]
    return kept
