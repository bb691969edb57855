"""Tests how metrics cross process borders, are merged, and are written for Prometheus."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support.recorded import record_game

from generals_env.errors import StateError
from generals_env.operations.metrics.catalogue import Family
from generals_env.operations.metrics.recording_metrics import RecordingMetrics
from generals_env.operations.metrics.transport import dump_families, exposition, load_families, merge_families

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20)


def samples_of(families: list[Metric]) -> list[tuple[str, dict[str, str], float]]:
    """Return the samples, sorted."""
    return sorted(((sample.name, sample.labels, sample.value) for family in families for sample in family.samples), key=repr)


@given(st.dictionaries(st.tuples(TEXT, TEXT), st.floats(0, 2**53), max_size=5))
def test_families_survive_transport_and_both_formats(counts: dict[tuple[str, str], float]) -> None:
    family = Family("experiences_collected_total")
    for labels, count in counts.items():
        family.add(count, *labels)
    (loaded,) = load_families(dump_families([family]))
    assert (loaded.name, loaded.documentation, loaded.type) == (family.name, family.documentation, family.type)
    assert loaded.samples == family.samples
    for accept, parse in (("", parse_text), (OPENMETRICS, parse_openmetrics)):
        kind, text = exposition([loaded], accept)
        assert kind.startswith("application/openmetrics-text" if accept else "text/plain")
        assert samples_of(list(parse(text.decode()))) == samples_of([family])


@pytest.mark.checklist("L3")
def test_reward_histogram_is_valid_in_both_formats() -> None:
    metrics = RecordingMetrics()
    metrics.observe(record_game(1, 30, height=5, width=5))
    families = list(metrics.collect())
    text = exposition(families)[1].decode()
    assert 'experience_rewards_bucket{le="-0.9"} 0.0' in text
    assert "experience_rewards_sum" in text
    open_text = exposition(families, OPENMETRICS)[1].decode()
    assert "experience_rewards_sum" not in open_text  # OpenMetrics forbids it where a bucket is negative
    assert {family.name for family in parse_openmetrics(open_text)} == {family.name for family in families}


def test_merged_families_add_counters_and_histograms() -> None:
    def worker(count: int) -> list[Metric]:
        seconds = Family("experience_storage_write_seconds").add_histogram([0.1, 1], [count, 0, 1], 2.5)  # type: ignore[arg-type]
        memory = Family("generals_process_memory_bytes").add(count, f"worker {count}")
        return [Family("experience_storage_failures_total").add(count), seconds, memory]

    merged = {family.name: family for family in merge_families([worker(1), worker(2)])}
    assert samples_of([merged["experience_storage_failures"]]) == [("experience_storage_failures_total", {}, 3.0)]
    assert samples_of([merged["experience_storage_write_seconds"]]) == samples_of(
        [Family("experience_storage_write_seconds").add_histogram([0.1, 1], [3, 0, 2], 5)]  # type: ignore[arg-type]
    )
    assert len(merged["generals_process_memory_bytes"].samples) == 2
    assert len(parse_all(list(merged.values()))) == 3


def parse_all(families: list[Metric]) -> list[Metric]:
    """Parse the exposition of families, which must name each of them once."""
    return list(parse_openmetrics(exposition(families, OPENMETRICS)[1].decode()))


def test_merge_refuses_equal_gauges_and_types_that_differ() -> None:
    gauge = Family("experience_log_bytes").add(1)
    with pytest.raises(StateError, match=r"experience_log_bytes: expected one sample with the labels .*, got two: give each"):
        merge_families([[gauge], [gauge]])
    with pytest.raises(StateError, match="expected one type, got gauge and counter"):
        merge_families([[gauge], [Metric("experience_log_bytes", "", "counter")]])


def test_infinite_and_missing_values_survive_transport() -> None:
    family = Family("experience_reward_mean").add(math.nan)
    (loaded,) = load_families(dump_families([family, Family("experience_reward_min").add(-math.inf)]))[:1]
    assert math.isnan(loaded.samples[0].value)
    assert "experience_reward_mean NaN" in exposition([loaded])[1].decode()


def test_sample_needs_all_labels_of_the_catalogue() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        Family("experiences_collected_total").add(1, "game")
