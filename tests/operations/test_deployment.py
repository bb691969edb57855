"""Tests container, compose file and Kubernetes manifests without a container engine, by schemas, parsers and real processes."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml
from support.command_line import runner
from support.helpers import PATIENCE, wait_until
from support.paths import ROOT
from support.run_process import RunProcess

from generals_env.cli.app import app
from generals_env.operations.health.health_report import HealthReport
from generals_env.operations.health.http_server import HttpServer
from generals_env.operations.metrics.catalogue import CATALOGUE
from generals_env.operations.run.supervisor import DRAIN_SECONDS
from generals_env.operations.settings.load import load_settings

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
NOT_OF_THE_CLUSTER = {"kustomization.yaml", "prometheus-adapter-values.yaml"}
MANIFESTS = sorted(path for path in KUBERNETES.iterdir() if path.name not in NOT_OF_THE_CLUSTER)
RELEASES = ("1.29", "1.33")  # of Kubernetes


def manifest(name: str) -> Any:
    return yaml.safe_load((KUBERNETES / f"{name}.yaml").read_text())


def instructions(path: Path = DEPLOY / "Containerfile") -> Iterator[tuple[str, str]]:
    """Yield name and arguments of each instruction, with continued lines joined."""
    lines = (line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#"))
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, arguments = line.strip().partition(" ")
        yield name.upper(), " ".join(arguments.split())


def last(name: str) -> str:
    """Return the arguments of the last instruction of a name in the Containerfile."""
    return [arguments for found, arguments in instructions() if found == name][-1]


def health_command() -> list[str]:
    command: list[str] = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    return [sys.executable if part == "python" else part for part in command]


def parsed(command: list[str]) -> dict[str, Any]:
    """Return the options that the command line finds in a command, without running it."""
    group = typer.main.get_command(app)
    chosen = group.commands[command[0]]  # type: ignore[attr-defined]
    return dict(chosen.make_context(command[0], command[1:]).params)


@pytest.mark.checklist("N5")
def test_containerfile_runs_unprivileged_and_passes_signals() -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", last("USER"))
    uid, gid = last("USER").split(":")
    assert f"--uid {uid} --gid {gid}" in last("RUN")
    assert json.loads(last("ENTRYPOINT")) == ["generals-env"]  # a JSON list, so without a shell, which would keep SIGTERM
    assert last("STOPSIGNAL") == "SIGTERM"
    names = [name for name, _ in instructions()]
    assert names.index("USER") > max(k for k, name in enumerate(names) if name in {"RUN", "COPY"})
    parsed(json.loads(last("CMD")))


def test_containerfile_copies_files_that_exist_and_are_not_ignored() -> None:
    sources = []
    for name, arguments in instructions():
        if name == "COPY" and not arguments.startswith("--from="):
            sources += arguments.split()[:-1]
    assert {"pyproject.toml", "generals_env", "recorders", "wrappers"} <= set(sources)
    ignore = (DEPLOY / "Containerfile.containerignore").read_text()
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"\n!{source}\n" in ignore, source
    assert "\n*\n" in ignore
    assert (DEPLOY / "Containerfile.dockerignore").read_text() == ignore


def test_containerfile_warms_groups_that_exist_and_reads_them() -> None:
    command = next(arguments for name, arguments in instructions() if name == "RUN" and "generals-env warm" in arguments)
    options = parsed(shlex.split(command)[1:])
    assert {"vector", "recording", "buffers", "storage", "stream"} <= set(options["names"])
    assert f"GENERALS_ENV_KERNELS={options['out']}" in last("ENV")
    assert ("COPY", f"--from=build {options['out']} {options['out']}") in list(instructions())


@pytest.mark.checklist("N5", "N6")
def test_health_command_of_the_image_follows_readiness() -> None:
    problems = [""]
    report = HealthReport(heartbeat=PATIENCE, interval=0.05)
    report.add("log", lambda: problems[0])
    with report, HttpServer("127.0.0.1:0", report.routes()) as server:
        command = [part.replace("127.0.0.1:9090", server.address) for part in health_command()]
        assert server.address in command[-1]

        def status() -> int:
            return subprocess.run(command, check=False, capture_output=True).returncode

        wait_until(lambda: status() == 0)
        problems[0] = "log: full"
        wait_until(lambda: status() == 1)
    assert status() == 1, "nothing answers"
    assert COMPOSE["services"]["run"]["healthcheck"]["test"][1:] == json.loads(last("HEALTHCHECK").partition("CMD ")[2])


@pytest.mark.checklist("N9")
def test_compose_file_references_only_what_exists() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"run", "trainer", "prometheus", "grafana"}
    mounted = 0
    for name, service in services.items():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), f"{name}: {source}"
                assert volume.endswith(":ro"), f"{name}: {volume}"
                mounted += 1
            else:
                assert source in COMPOSE["volumes"], f"{name}: {source}"
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in services[other]
        if "build" in service:
            assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
            assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert mounted >= 5
    used = {volume.split(":")[0] for service in services.values() for volume in service["volumes"]}
    assert set(COMPOSE["volumes"]) <= used


@pytest.mark.checklist("N9")
def test_compose_services_find_each_other() -> None:
    services = COMPOSE["services"]
    run, trainer = parsed(services["run"]["command"]), parsed(services["trainer"]["command"])
    file = services["run"]["volumes"][1].split(":")
    assert str(run["config"]).startswith(file[1])
    settings = load_settings(DEPLOY / file[0] / run["config"].name, {})
    assert trainer["source"] == settings.streaming.address
    assert services["trainer"]["network_mode"] == "service:run"
    scraped = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"]
    assert scraped == [{"targets": [f"run:{settings.metrics.address.split(':')[1]}"]}]
    assert settings.metrics.address.startswith("0.0.0.0:")
    for path in (settings.log.directory, settings.storage.file.directory):
        assert path.startswith("/data/")
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    assert source["url"] == "${PROMETHEUS_URL}"
    assert services["grafana"]["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
@pytest.mark.checklist("N4")
def test_manifest_is_valid_by_schema(path: Path, release: str) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(document, release, strict=True)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "generals-env"


def test_schema_refuses_misspelt_fields() -> None:
    autoscaler = manifest("autoscaler")
    autoscaler["spec"]["minReplica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(autoscaler, RELEASES[0], strict=True)


@pytest.mark.checklist("N4")
def test_autoscaler_has_the_guides_numbers_in_units_of_the_metric() -> None:
    autoscaler, server = manifest("autoscaler")["spec"], manifest("game-server")
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (3, 100)
    target = autoscaler["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (server["kind"], server["metadata"]["name"])
    assert "replicas" not in server["spec"], "else each apply would undo what the autoscaler chose"
    memory, utilization = autoscaler["metrics"]
    assert memory["resource"] == {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}
    assert server["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"]
    name = utilization["pods"]["metric"]["name"]
    metric = CATALOGUE[name]
    assert (metric.type, metric.unit) == ("gauge", "ratio")
    milli = re.fullmatch(r"(\d+)m", utilization["pods"]["target"]["averageValue"])
    assert milli is not None
    assert int(milli[1]) / 1000 == 0.8, "the guide's 80 percent, of a gauge from 0 to 1"
    (rule,) = yaml.safe_load((KUBERNETES / "prometheus-adapter-values.yaml").read_text())["rules"]["custom"]
    assert rule["name"]["as"] == name
    assert rule["seriesQuery"].startswith(name + "{")


def test_manifests_agree_with_each_other_and_kustomization() -> None:
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == [path.name for path in MANIFESTS]
    server, service = manifest("game-server")["spec"], manifest("service")
    labels = server["template"]["metadata"]["labels"]
    assert server["serviceName"] == service["metadata"]["name"]
    budget, policy = manifest("disruption-budget")["spec"], manifest("network-policy")["spec"]
    selectors = (server["selector"], {"matchLabels": service["spec"]["selector"]}, budget["selector"], policy["podSelector"])
    for selector in selectors:
        assert selector["matchLabels"].items() <= labels.items()
    (container,) = server["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == set(ports)
    assert {rule["ports"][0]["port"] for rule in policy["ingress"]} == set(ports)
    report = HealthReport()
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in report.routes()
        assert container[probe]["httpGet"]["port"] == "metrics"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    volumes = {volume["name"] for volume in server["template"]["spec"]["volumes"]}
    claims = {claim["metadata"]["name"] for claim in server["volumeClaimTemplates"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes | claims


def test_pods_are_unprivileged_and_may_drain() -> None:
    spec = manifest("game-server")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    uid, gid = map(int, last("USER").split(":"))
    security = spec["securityContext"]
    assert security["runAsNonRoot"]
    assert (security["runAsUser"], security["runAsGroup"], security["fsGroup"]) == (uid, gid, gid)
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["terminationGracePeriodSeconds"] > DRAIN_SECONDS
    assert int(COMPOSE["services"]["run"]["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS


def test_settings_of_pods_load_and_fit_mounts_and_secrets(tmp_path: Path) -> None:
    (tmp_path / "experience.yaml").write_text(manifest("settings")["data"]["experience.yaml"])
    server = manifest("game-server")["spec"]
    (container,) = server["template"]["spec"]["containers"]
    variables = {entry["name"]: entry.get("value") for entry in container["env"]}
    settings = load_settings(tmp_path / "experience.yaml", {name: value or "-" for name, value in variables.items()})
    assert settings.storage.s3.prefix == "training/$(POD_NAME)/"
    assert settings.streaming.token_variable in variables
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert settings.streaming.address == f"0.0.0.0:{ports['stream']}"
    assert settings.metrics.address == f"0.0.0.0:{ports['metrics']}"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    for path in (settings.streaming.certificate, settings.streaming.key):
        assert str(path).startswith(mounts["tls"] + "/tls.")
    for path in (settings.log.directory, settings.storage.file.directory):
        assert path.startswith(mounts["data"] + "/")
    assert str(parsed(container["args"])["config"]).startswith(mounts["settings"] + "/")
    size = int(server["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) * 2**30
    assert (settings.log.max_bytes or size) + (settings.storage.keep_bytes or size) < 0.9 * size


@pytest.mark.checklist("N5", "N8")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_entry_command_with_the_settings_of_compose_runs_and_drains(tmp_path: Path) -> None:
    """The process of the container, as a plain process: other folders, free ports, and smaller games."""
    changed = (
        *(f"log.directory={tmp_path}/log", f"storage.file.directory={tmp_path}/files"),
        *("streaming.address=127.0.0.1:0", "metrics.address=127.0.0.1:0", "games.parallel=4"),
        *("games.height=6", "games.width=6", "games.max_turns=40", "collection.turns_per_second=2000"),
    )
    with RunProcess(tmp_path, "--config", str(DEPLOY / "compose" / "experience.yaml"), settings=changed) as run:
        command = [part.replace("127.0.0.1:9090", run.http) for part in health_command()]
        wait_until(lambda: subprocess.run(command, check=False, capture_output=True).returncode == 0)
        result = runner.invoke(app, ["health", "--address", run.http])
        assert result.exit_code == 0, result.output
        assert result.output.startswith("ready\n")
        status, text = run.get("/metrics")
        assert status == 200
        assert "experience_buffer_utilization{" in text
        run.stop(signal.SIGTERM)
    assert runner.invoke(app, ["health", "--address", run.http]).exit_code == 1
    assert any((tmp_path / "log").iterdir())
    assert any((tmp_path / "files").iterdir())


def test_health_command_shows_problems_and_refuses_other_answers() -> None:
    report = HealthReport(heartbeat=PATIENCE, interval=0.05)
    report.add("log", lambda: "log: expected free space, got none")
    with report, HttpServer("127.0.0.1:0", report.routes()) as server:
        wait_until(lambda: "free space" in runner.invoke(app, ["health", "--address", server.address]).output)
        result = runner.invoke(app, ["health", "--address", server.address])
        assert result.exit_code == 1
        assert re.match(r"not ready\nok +main loop, since .*\nPROBLEM  log, since .*: log: expected free space", result.output)
        assert runner.invoke(app, ["health", "--alive", "--address", server.address]).exit_code == 0
    with HttpServer("127.0.0.1:0", {}) as other:
        result = runner.invoke(app, ["health", "--address", other.address])
        assert result.exit_code == 1
        assert "expected a report of health, got" in result.output
