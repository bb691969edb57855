"""Runs the query of each panel of the Grafana dashboard on a Prometheus server, and renders its graphs in a browser.

Usage: ``python tools/dashboard_queries.py --prometheus http://127.0.0.1:9091 [--pictures FOLDER] [--range 15m]``. It prints
panel, query, number of series and a value for each query, and exits with status 1 if a query fails or has no result.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

DASHBOARD = Path(__file__).parent.parent / "deploy" / "grafana" / "dashboards" / "generals_env.json"

#: Milliseconds of the page's own clock that the browser waits for the graph.
BROWSER_TIME = 20_000


def queries(dashboard: Path) -> Iterator[tuple[str, str]]:
    """Yield the title of each panel with each of its queries, for all instances."""
    for panel in json.loads(dashboard.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$instance", ".*")


def ask(prometheus: str, query: str) -> list[Any]:
    """Return the series of a query."""
    with urlopen(f"{prometheus}/api/v1/query?{urlencode({'query': query})}") as answer:
        result: list[Any] = json.load(answer)["data"]["result"]
        return result


def render(prometheus: str, title: str, expressions: list[str], window: str, picture: Path) -> None:
    """Write a picture of the graph page of Prometheus with the queries of a panel.

    Raises:
        RuntimeError: If there is no Chromium, or it makes no picture.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise RuntimeError("chromium: expected it to be installed, found none: leave --pictures out")
    fields = {}
    for number, expression in enumerate(expressions):
        fields |= {f"g{number}.expr": expression, f"g{number}.tab": "0", f"g{number}.range_input": window}
    height = 150 + 720 * len(expressions)  # with a short legend
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        options += [f"--window-size=1400,{height}", f"--virtual-time-budget={BROWSER_TIME}", f"--screenshot={picture}"]
        command = [browser, *options, f"{prometheus}/graph?{urlencode(fields)}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not picture.is_file():
        raise RuntimeError(f"{title}: expected a picture from {browser}, got none: {done.stderr[-500:]}")


def main() -> int:
    """Run all queries, and return the exit status."""
    parser = argparse.ArgumentParser(description="Runs the queries of the dashboard on a Prometheus server.")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9091", metavar="URL", help="the server")
    parser.add_argument("--dashboard", type=Path, default=DASHBOARD, metavar="FILE", help="a dashboard of Grafana")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="render each panel to a PNG file there")
    parser.add_argument("--range", default="15m", metavar="TIME", help="time that the pictures show, 15m by default")
    arguments = parser.parse_args()
    failed = 0
    panels: dict[str, list[str]] = {}
    for title, query in queries(arguments.dashboard):
        panels.setdefault(title, []).append(query)
        try:
            series = ask(arguments.prometheus, query)
        except OSError as error:
            series = []
            print(f"error: {error}", file=sys.stderr)
        failed += not series
        value = series[0]["value"][1] if series else "-"
        print(f"{title} | {query} | {len(series)} series | {value}")
    if arguments.pictures is not None:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        for title, expressions in panels.items():
            name = re.sub(r"\W+", "_", title.lower())
            render(arguments.prometheus, title, expressions, arguments.range, arguments.pictures / f"{name}.png")
    print(f"{sum(map(len, panels.values()))} queries of {len(panels)} panels, {failed} without a result")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
