"""The files around the package: workflows, hooks, forms and metadata agree with the Makefile and with pyproject.toml."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.paths import ROOT

import generals_env

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def load(path: Path) -> dict[str, Any]:
    # YAML 1.1 reads the key "on" as True; strings keep "3.10" from becoming 3.1.
    content = yaml.load(path.read_text(), Loader=yaml.BaseLoader)
    assert isinstance(content, dict)
    return content


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def supported_versions() -> list[str]:
    name = "Programming Language :: Python :: "
    return [line.removeprefix(name) for line in PROJECT["classifiers"] if line.startswith(name)]


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_is_bounded_and_runs_existing_targets(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "group" in workflow["concurrency"]
    for name, job in workflow["jobs"].items():
        assert 0 < int(job["timeout-minutes"]) <= 90, name
        assert set(re.findall(r"\bmake ([a-z]+)", str(job["steps"]))) <= make_targets(), name
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), name
            if "uses" in step:
                assert re.fullmatch(r"actions/[a-z-]+@v\d+|pypa/gh-action-pypi-publish@release/v1", step["uses"]), name
    assert len(WORKFLOWS) == 2


def test_continuous_integration_covers_every_supported_python() -> None:
    jobs = load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == supported_versions()
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert oldest == supported_versions()[0] == jobs["check"]["steps"][1]["with"]["python-version"]


def test_only_the_publishing_job_can_identify_itself() -> None:
    jobs = load(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    assert {name for name, job in jobs.items() if "permissions" in job} == {"publish"}
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert (jobs["publish"]["needs"], jobs["test"]["needs"]) == ("test", "build")


def test_programs_that_workflows_call_exist() -> None:
    called = {name for path in WORKFLOWS for name in re.findall(r"python (tools/\S+)", path.read_text())}
    assert called == {"tools/check_wheel.py"}
    assert all((ROOT / name).is_file() for name in called)


def test_hooks_run_targets_of_make() -> None:
    hooks = [hook for repository in load(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]
    assert {hook["entry"].removeprefix("make ") for hook in hooks} <= make_targets()
    assert all(hook["language"] == "system" for hook in hooks)  # else a tool would have a second version here
    assert hooks


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_form_has_what_the_host_requires(path: Path) -> None:
    form = load(path)
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in fields} <= {"textarea", "dropdown", "checkboxes", "input"}
    assert len({field["id"] for field in fields}) == len(fields) > 0
    assert all(field["attributes"]["label"] for field in fields)


def test_citation_names_this_version() -> None:
    citation = load(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == generals_env.__version__
    assert citation["license"] == PROJECT["license"]
    dt.date.fromisoformat(citation["date-released"])


def test_changelog_has_a_section_of_this_version_with_the_date_of_the_citation() -> None:
    sections = re.findall(r"^## \[(.+?)\](?: - (.+))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == ("Unreleased", "")
    assert sections[1] == (generals_env.__version__, load(ROOT / "CITATION.cff")["date-released"])


def test_tools_of_development_are_pinned() -> None:
    names = [re.split(r"[\[<>=]", line)[0].lower() for line in PROJECT["optional-dependencies"]["dev"]]
    assert {name for name in names if name != "generals_env"} <= set(pinned())
