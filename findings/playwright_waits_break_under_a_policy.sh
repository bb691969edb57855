#!/bin/sh
# playwright 1.65.2: on a page whose content security policy has no 'unsafe-eval', wait_for_function("expression") raises
#   EvalError: Evaluating a string as JavaScript violates the following Content Security Policy directive ...
# if the expression is false at first, and works if it is true at once; evaluate("expression") always works. So tests with it
# pass or fail with the speed of the page. Locators wait without evaluating strings. Needs the program chromium.
# This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet playwright==1.65.2
"$folder/venv/bin/python" - "$(command -v chromium)" "$folder/page.html" <<'PYTHON'
import pathlib, sys

from playwright.sync_api import Error, sync_playwright

page_file = pathlib.Path(sys.argv[2])
policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
page_file.write_text(f"<!DOCTYPE html><html><head>{policy}</head><body>text</body></html>")
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=sys.argv[1], args=["--no-sandbox"])
    page = browser.new_page()
    page.goto(page_file.as_uri())
    assert page.evaluate("1 + 1") == 2
    page.wait_for_function("document.body !== null", timeout=20_000)
    page.evaluate("setTimeout(() => document.body.append('more'), 1000)")
    try:
        page.wait_for_function("document.body.textContent.includes('more')", timeout=20_000)
    except Error as error:
        assert "unsafe-eval" in str(error), error
        print("as seen:", str(error).splitlines()[0][:160])
    else:
        sys.exit("changed: wait_for_function waits under such a policy now")
    browser.close()
PYTHON
