"""Tests metrics, dashboard and alert rules with a real Prometheus server and its tools."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from PIL import Image
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from support.helpers import wait_until
from support.metered_run import MeteredRun, metered_run
from support.paths import ROOT
from support.prometheus_server import metrics_page, program, prometheus

from generals_env.operations.metrics.catalogue import CATALOGUE, MetricInfo, sample_names
from generals_env.operations.metrics.transport import exposition

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "generals_env.json"
RULES = ROOT / "deploy" / "prometheus" / "generals_env.rules.yml"
PAGE = ROOT / "docs" / "metrics.md"

#: Series that Prometheus itself makes of each target.
OF_PROMETHEUS = {"up"}

#: Names of all series.
SERIES = {name for info in CATALOGUE.values() for name in sample_names(info)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeteredRun]:
    """Return a run of all parts with metrics."""
    with metered_run(tmp_path_factory.mktemp("run")) as running:
        yield running


def promtool(*arguments: str | Path, text: bytes = b"") -> str:
    """Run promtool, which must find nothing wrong, and return what it printed."""
    done = subprocess.run([program("promtool"), *map(str, arguments)], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode() + done.stdout.decode()
    return done.stdout.decode()


def names_in(query: str) -> set[str]:
    """Return the names of the metrics in a query of PromQL."""
    query = re.sub(r'"[^"]*"', '""', query)
    query = re.sub(r"\b(by|ignoring|on|without|group_left|group_right) *\([^)]*\)", "", query)
    query = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", query)
    return set(re.findall(r"(?<![\w.])[a-z_][a-z_0-9]*(?![\w(]| *\()", query)) - {
        "and",
        "or",
        "unless",
        "ignoring",
        "group_left",
    }


def expressions() -> Iterator[tuple[str, str]]:
    """Yield the queries of the dashboard and of the alert rules, each with the title of its panel or alert."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        yield variable["name"], re.sub(r"label_values\((\w+), \w+\)", r"\1", variable["query"]["query"])
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def test_names_are_found_in_queries() -> None:
    query = 'histogram_quantile(0.9, sum by (le, s) (rate(a_bucket{x=~"$y",z="b"}[1m]))) / ignoring(c) sum(d_total) * 2e3'
    assert names_in(query) == {"a_bucket", "d_total"}
    assert names_in("deriv(e[1h]) * 3600 > 512 * 1024 or absent(f)") == {"e", "f"}


@pytest.mark.checklist("L16")
def test_dashboard_and_alerts_use_only_metrics_of_the_catalogue() -> None:
    used: set[str] = set()
    for title, query in expressions():
        names = names_in(query)
        assert names, (title, query)
        assert names - OF_PROMETHEUS <= SERIES, title
        used |= names
    shown = {info.name for info in CATALOGUE.values() if used & set(sample_names(info))}
    assert set(CATALOGUE) - shown == set()  # the dashboard shows every metric


@pytest.mark.checklist("L2", "L3", "L5", "L6", "L7", "L9", "L10", "L11", "L12", "L14", "L15")
def test_run_of_all_parts_exports_every_metric_of_the_catalogue(run: MeteredRun) -> None:
    families = list(run.registry.collect())
    without_samples = {family.name for family in families if not family.samples}
    exported = {sample.name for family in families for sample in family.samples}
    assert exported <= SERIES
    assert SERIES - exported == {"experience_submissions_rejected_total"}  # it has a series for each reason that occurred
    assert without_samples == {"experience_submissions_rejected"}
    for family in families:
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(CATALOGUE[info_name(family, sample.name)].labels)


def info_name(family: Any, sample: str) -> str:
    """Return the name in the catalogue of a sample."""
    return next(name for name in (sample, family.name) if name in CATALOGUE)


def sample_of(run: MeteredRun, name: str, **labels: str) -> float:
    """Return the value of the sample with these labels."""
    samples = [sample for family in run.registry.collect() for sample in family.samples]
    (found,) = [sample for sample in samples if sample.name == name and labels.items() <= sample.labels.items()]
    return found.value


@pytest.mark.checklist("L2", "L5", "L6", "L7", "L10", "L11", "L12", "L14", "L15")
def test_metrics_equal_the_state_of_the_parts(run: MeteredRun) -> None:
    stats, files = run.buffer.stats(), run.files.stats()
    total = run.log.last + 1
    assert sample_of(run, "experiences_recorded_total") == total == run.env.experiences > 250
    assert sample_of(run, "experience_buffer_size", buffer_id="games") == stats.size == 200
    assert sample_of(run, "experience_buffer_capacity") == 200
    assert sample_of(run, "experience_buffer_utilization") == 1.0
    assert sample_of(run, "experience_buffer_dropped_total", reason="drop_oldest") == stats.dropped == total - 200
    assert sample_of(run, "experience_log_next_sequence") == total
    assert sample_of(run, "experience_log_first_sequence") == 0
    assert sample_of(run, "experience_log_consumer_lag_records", consumer="storage") == total - 11
    assert sample_of(run, "experience_log_bytes") >= sum(path.stat().st_size for path in run.log.folder.glob("*.db"))
    assert sample_of(run, "experience_storage_written_total") == files.written == total
    assert sample_of(run, "experience_storage_bytes_total") == files.bytes
    assert sample_of(run, "experience_storage_write_seconds_count") == files.files
    assert sample_of(run, "experience_validation_passed_total") == total
    assert sample_of(run, "experience_validation_failures_total", reason="illegal_action") == 0
    assert sample_of(run, "experience_stream_consumers") == 1
    assert sample_of(run, "experience_stream_lag_records") == run.server.streams[0].lag
    assert sample_of(run, "experience_stream_sent_total") == run.server.totals.experiences >= 32
    assert sample_of(run, "experience_stream_latency_seconds_count") >= 1
    tensors = sample_of(run, "experience_tensor_bytes_total", target="file")
    assert tensors == total * 2 * 9 * 8 * 8 * 4
    assert sample_of(run, "experience_encoded_bytes_total", target="file") == files.bytes
    assert sample_of(run, "experience_compression_ratio", target="file", against="tensors") == tensors / files.bytes
    assert sample_of(run, "experience_serialization_seconds_count", target="log") >= 1


@pytest.mark.checklist("L1", "L2", "L3", "L16")
def test_prometheus_scrapes_a_run_and_answers_every_panel(run: MeteredRun, tmp_path: Path) -> None:
    with metrics_page(run.registry) as target, prometheus(tmp_path, target) as server:
        # The command of the guide: curl -s localhost:9090/metrics | grep experiences_collected_total
        with urlopen(f"http://{target}/metrics") as page:
            assert re.search(rb'^experiences_collected_total\{game_id="[^"]+",player_id="0"\} \d', page.read(), re.MULTILINE)
        (collected,) = server.query("sum(experiences_collected_total)")
        assert float(collected["value"][1]) == run.env.experiences
        assert {series["metric"]["le"] for series in server.query("experience_rewards_bucket")} > {"-1.0", "0.0", "+Inf"}
        run.play()
        before = server.scrapes()
        wait_until(lambda: server.scrapes() >= before + 2)
        assert server.query("increase(experiences_recorded_total[1m]) > 0")
        command = [sys.executable, ROOT / "tools" / "dashboard_queries.py", "--prometheus", server.url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        empty = {line.split(" | ")[0] for line in done.stdout.splitlines() if "| 0 series |" in line}
        assert empty == {"Submitted experiences a second"}, done.stdout + done.stderr
        assert "queries of 4" in done.stdout


def test_panel_is_rendered_in_a_browser(run: MeteredRun, tmp_path: Path) -> None:
    program("chromium")
    dashboard = json.loads(DASHBOARD.read_text())
    dashboard["panels"] = [panel for panel in dashboard["panels"] if panel["title"] == "Entropy of the actions"]
    (tmp_path / "dashboard.json").write_text(json.dumps(dashboard))
    with metrics_page(run.registry) as target, prometheus(tmp_path, target) as server:
        run.play()
        options = ["--dashboard", tmp_path / "dashboard.json", "--pictures", tmp_path / "pictures", "--range", "1m"]
        command = [sys.executable, ROOT / "tools" / "dashboard_queries.py", "--prometheus", server.url, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith("1 queries of 1 panels, 0 without a result\n")
        with Image.open(tmp_path / "pictures" / "entropy_of_the_actions.png") as picture:
            assert picture.width == 1400
            assert len(picture.convert("RGB").getcolors(2**24) or []) > 50  # a page with text and a line, no blank one


@pytest.mark.checklist("L16")
def test_promtool_accepts_the_metrics(run: MeteredRun) -> None:
    text = exposition(run.registry.collect())[1]
    told = promtool("check", "metrics", text=text)
    assert told == ""
    families = {
        family.name
        for family in parse_openmetrics(exposition(run.registry.collect(), "application/openmetrics-text")[1].decode())
    }
    assert "experiences_collected" in families


def test_promtool_accepts_configuration_and_tests_of_alerts() -> None:
    assert "SUCCESS" in promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("check", "config", ROOT / "deploy" / "prometheus" / "prometheus.yml")
    assert "SUCCESS" in promtool("test", "rules", Path(__file__).parent / "alerts_test.yml")
    tested = Path(__file__).parent.joinpath("alerts_test.yml").read_text()
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            assert f"alertname: {rule['alert']}\n        exp_alerts" in tested, rule["alert"]


def row_of(info: MetricInfo) -> str:
    """Return the row of a metric in the documentation."""
    labels = ", ".join(f"`{label}`" for label in info.labels)
    return f"| `{info.name}` | {info.type} | {labels} | {info.unit} | {info.meaning} |"


def test_page_lists_every_metric_as_the_code_does() -> None:
    listed = re.findall(r"^\| `[a-z_]+` \| .*$", PAGE.read_text(), re.MULTILINE)
    assert listed == [row_of(info) for info in CATALOGUE.values()]


def test_dashboard_has_panels_that_do_not_overlap() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    sources = yaml.safe_load((ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text())
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"] if "datasource" in panel} == {
        sources["datasources"][0]["uid"]
    }
