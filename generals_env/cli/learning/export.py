"""Implements ``generals-env export``: a network as a model of ONNX, or as arrays for players that need numpy alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from generals_env.cli.dataset import console
from generals_env.errors import ConfigError, StorageError
from generals_env.recorders.filesystem.atomic_files import make_folder, replace_file

if TYPE_CHECKING:
    from generals_env.networks.parity import Parity

__all__ = ["export"]


def export(
    checkpoint: Annotated[str, typer.Argument(help="A saved network: a checkpoint, a file of weights, or trained.")],
    onnx: Annotated[Path | None, typer.Option(help="File for a model of ONNX (.onnx).")] = None,
    numpy: Annotated[Path | None, typer.Option(help="File for weights that numpy alone can play (.npz).")] = None,
) -> None:
    """Convert a network to ONNX or to arrays of numpy, and compare it with torch on random boards of several sizes.

    Nothing is written if the outputs differ by more than rounding does. A file of weights plays wherever a checkpoint does,
    without torch: in arena, play, match, pack, run and live.
    """
    if onnx is None and numpy is None:
        raise ConfigError("export: expected --onnx FILE or --numpy FILE, got none: name a file to write")
    for option, path, suffix in (("onnx", onnx, ".onnx"), ("numpy", numpy, ".npz")):
        if path is not None and path.suffix != suffix:
            raise ConfigError(f"{option}: expected a file that ends in {suffix}, got {path.name!r}: rename it")
    try:
        import threadpoolctl  # noqa: F401

        from generals_env.networks.onnx_export import onnx_bytes, onnx_outputs, torch_outputs
        from generals_env.networks.parity import compare_outputs, numpy_outputs
        from generals_env.networks.torch_networks import named_weights
    except ImportError as error:
        raise typer.BadParameter(f'{error.name or error} is missing: pip install "generals_env[export]"') from error
    from generals_env.agents.weight_files import weights_bytes

    with console.status(f"reading {escape(checkpoint)}"), one_thread():
        network = named_weights(checkpoint)
        channels = network.weights["features.0.weight"].shape[1]
        expected = torch_outputs(network)
        if numpy is not None:
            compared = compare_outputs(expected, numpy_outputs(network), channels)
            write_whole(numpy, weights_bytes(network))
            report(numpy, "numpy", compared)
        if onnx is not None:
            model = onnx_bytes(network)
            compared = compare_outputs(expected, onnx_outputs(model), channels)
            write_whole(onnx, model)
            report(onnx, "onnxruntime", compared)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and numpy compute on one core, so that times can be compared."""
    import threadpoolctl
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpoolctl.threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, which appears whole or not at all.

    Raises:
        StorageError: If it cannot be written.
    """
    try:
        make_folder(path.parent)
        replace_file(path, lambda file: file.write(content))
    except OSError as error:
        raise StorageError(f"export: expected a file that can be written, got {str(path)!r} ({error}): pass another") from error


def report(path: Path, library: str, compared: Sequence[Parity]) -> None:
    """Print what was written, and how it compares with torch."""
    title = f"{path}: {path.stat().st_size:,} bytes"
    table = Table("board", f"largest difference of {library} from torch", "bound", f"{library}, ms a move", "torch, ms a move")
    for one in compared:
        rows, columns = one.board
        expected, found = one.milliseconds
        table.add_row(f"{rows}x{columns}", f"{one.difference:.1e}", f"{one.bound:.1e}", f"{found:.2f}", f"{expected:.2f}")
    console.print(title, markup=False, highlight=False, soft_wrap=True)
    console.print(table)
