"""Installs a wheel into a new virtual environment and runs the tests of its sdist with it.

Usage: ``python tools/check_wheel.py SDIST WHEEL [--share-libraries] [-- PYTEST ARGUMENTS]``. The modules of the packages
are removed from the unpacked sdist first, so a module that the wheel lacks fails the tests. Tests of the checkout itself are
left out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path
from types import SimpleNamespace

#: Folders of the sdist from which packages are built.
PACKAGES = ("generals_env", "recorders", "wrappers")
#: Tests that read or look up the source files of the packages, or git's list of files.
CHECKOUT_ONLY = (
    "test_distribution",
    "test_from_the_guide",
    "test_kernel_cache",
    "test_package",
    "test_repository",
    "test_site",
)
CHECKOUT_ONLY_NAME = "test_generated_code_equals_that_of_proto"


class Environment(venv.EnvBuilder):
    """A virtual environment without pip that knows the path of its interpreter."""

    python: str

    def post_setup(self, context: SimpleNamespace) -> None:
        """Keep the path of the interpreter."""
        self.python = context.env_exe


def unpack_tests(sdist: Path, folder: Path) -> Path:
    """Unpack an sdist without the modules of its packages and return the folder of its files."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    for name in PACKAGES:  # other files stay, as documents link to some
        for module in (root / name).rglob("*.py"):
            module.unlink()
    return root


def install(wheel: Path, folder: Path, constraints: Path, *, share_libraries: bool) -> str:
    """Install a wheel into a new virtual environment and return the path of its interpreter.

    Args:
        wheel: The wheel.
        folder: Where the environment is created.
        constraints: Versions of the libraries.
        share_libraries: Use the libraries of the running interpreter; otherwise they are installed, with the extra ``dev``.
    """
    environment = Environment()
    environment.create(folder)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", environment.python, "install", "--quiet"]
    if not share_libraries:
        subprocess.run([*pip, f"{wheel}[dev]", "--constraint", constraints], check=True)
        return environment.python
    subprocess.run([*pip, "--no-index", "--no-deps", wheel], check=True)
    # A path file inside a folder that another path file names is not read: the editable checkout stays out of sight.
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([environment.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    libraries = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (Path(site) / "libraries.pth").write_text("\n".join(libraries), encoding="utf-8")
    return environment.python


def main() -> int:
    """Run the tests and return pytest's exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sdist", type=Path)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--share-libraries", action="store_true", help="use this interpreter's libraries, download nothing")
    # argparse does not take a list of further arguments after an option.
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    arguments, chosen = parser.parse_args(words[:end]), words[end + 1 :]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        root = unpack_tests(arguments.sdist, folder / "sdist")
        python = install(
            arguments.wheel.resolve(),
            folder / "environment",
            root / "constraints.txt",
            share_libraries=arguments.share_libraries,
        )
        variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
        code = "import generals_env, generals_env.recorders as r, generals_env.wrappers as w; print(*r.__path__, *w.__path__)"
        used = subprocess.run([python, "-c", code], cwd=root, env=variables, capture_output=True, text=True, check=True).stdout
        print("tested:", used.strip(), flush=True)
        if used.count(str(folder / "environment")) != 2:
            sys.exit("tools/check_wheel.py: the packages were not imported from the new environment")
        left_out = [f"--ignore-glob=*{name}.py" for name in CHECKOUT_ONLY]
        left_out += ["-k", f"not {CHECKOUT_ONLY_NAME}"]
        return subprocess.run([python, "-m", "pytest", *left_out, *chosen], cwd=root, env=variables, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
