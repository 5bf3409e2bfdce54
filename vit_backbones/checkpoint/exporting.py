"""Export: a model as a graph that runs without this package, held against the model itself."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..backbones.base import Backbone
from ..errors import UserError
from ..files import ended_in_order, explained, make_folder
from .writing import check_new

FORMATS = ("onnx", "pt2")
TOLERANCE = 1e-4  # of the largest value; float32 sums in another order
EXTERNAL = 1_500_000_000  # bytes of weights from which on they lie beside an .onnx, limited to 2 GB
MAX_BATCH, MAX_SIDE = 4096, 512  # images, patches
Run = Callable[[Tensor], list[Tensor]]


class Logits(nn.Module):
    """An mmpretrain classifier: normalised images (B, 3, H, W) -> scores (B, classes), before the
    softmax."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images, mode="tensor")


@dataclass(frozen=True)
class Exported:
    """What :func:`export` wrote.

    Attributes:
        files: The file, and the one with the weights where they lie beside it.
        shapes: Of the outputs for the example input.
        error: Largest difference from the model, over the largest value of its output.
        checked: Shapes of the images with which it was compared.
    """

    files: tuple[Path, ...]
    shapes: tuple[tuple[int, ...], ...]
    error: float
    checked: tuple[tuple[int, ...], ...]


def export(
    model: nn.Module,
    path: str | Path,
    format: str,
    size: tuple[int, int],
    *,
    dynamic: str | None = None,
    encoder: Backbone | None = None,
    force: bool = False,
) -> Exported:
    """Write a model as ONNX or as PyTorch's exported program, load that again and hold its outputs
    against the model's.

    Args:
        model: An encoder, or :class:`Logits`; takes normalised images (B, C, H, W).
        path: The file.
        format: 'onnx' or 'pt2'.
        size: (H, W) of the images.
        dynamic: 'batch': any number of images; 'all': of any size, too (multiples of the patch);
            None: one image of this size.
        encoder: The encoder in the model.
        force: Replace the file.

    Raises:
        UserError: A package is missing, the model can't have the sizes open, the graph computes
            something else, or the file can't be written. Then there is none.
    """
    encoder = model if encoder is None else encoder
    path = check_new(path, force)
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file")
    if format == "onnx":
        require_onnx()
    if dynamic == "all" and (reason := why_fixed_size(encoder)):
        raise UserError(
            f"--dynamic: this {type(encoder).__name__} can't be exported for all sizes of images: "
            f"{reason}. --dynamic batch leaves the number of images open"
        )
    folder = make_folder(path.parent)  # before the minutes that a large model takes
    model = model.eval()
    example = _images(encoder, 2 if dynamic else 1, _example_size(encoder, size, dynamic))
    program = trace(model, example, encoder, dynamic)
    inputs = [_images(encoder, 1, size)]
    if dynamic:
        inputs.append(_images(encoder, 3, size))
    if dynamic == "all":
        ph, pw = encoder.arch.patch
        inputs.append(_images(encoder, 2, (4 * ph, 7 * pw)))
    empty = tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=folder)
    with ended_in_order(), explained(path), empty as new:
        partial = Path(new, path.name)
        run = (_write_onnx if format == "onnx" else _write_pt2)(program, partial, example)
        error, shapes = 0.0, ()
        for images in inputs:
            with torch.no_grad():
                expected = _as_list(model(images))
            error = max(error, largest_error(run(images), expected))
            shapes = shapes or tuple(tuple(out.shape) for out in expected)
        del run
        if not error <= TOLERANCE:
            raise UserError(
                f"the exported graph puts out something else than the model: the largest "
                f"difference is {error:.1e} of the largest value. Nothing was written; please "
                "report this"
            )
        # the weights first: the file itself appears when all is there
        files = sorted(Path(new).iterdir(), key=lambda p: p.name == path.name)
        for file in files:
            os.replace(file, folder / file.name)
    written = tuple(folder / file.name for file in reversed(files))
    return Exported(written, shapes, error, tuple(tuple(x.shape) for x in inputs))


def trace(
    model: nn.Module, example: Tensor, encoder: Backbone, dynamic: str | None = None
) -> ExportedProgram:
    """torch.export's graph of a model.

    Raises:
        UserError: torch.export can't have the dimensions open, with its reason.
    """
    shapes = None
    if dynamic:
        dims: dict[int, Dim] = {0: Dim("batch", max=MAX_BATCH)}
        if dynamic == "all":
            ph, pw = encoder.arch.patch
            dims[2] = ph * Dim("rows", min=2, max=MAX_SIDE)
            dims[3] = pw * Dim("columns", min=2, max=MAX_SIDE)
        shapes = (dims,)
    wrapped = _Named(model)
    try:
        with torch.no_grad(), _quiet():
            return torch.export.export(wrapped, (example,), dynamic_shapes=shapes, strict=False)
    except torch._dynamo.exc.UserError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UserError(
            f"torch.export can't leave this open: {' '.join(lines[:3])[:400]}. Export for one "
            "size, or only the batch: --dynamic batch"
        ) from error


class _Named(nn.Module):
    """Gives the input one name, 'images', whatever the model calls it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.model(images)


def why_fixed_size(encoder: Backbone) -> str | None:
    """Why its graph holds for one size of images, None where it doesn't."""
    kind, arch = type(encoder).__name__, encoder.arch
    if kind == "SwinTransformer":
        return "where its windows lie in the padded map is part of the graph"
    if kind == "MViT":
        return "how its maps are pooled and its tables of relative positions resized is part of it"
    kinds = set(arch.attention_kinds)
    if kinds != {"global"}:
        return f"where its {', '.join(sorted(kinds - {'global'}))} attention looks is part of it"
    if "decomposed" in arch.positions:
        return "its tables of relative positions are resized to the map"
    if encoder.pos_embed is not None and arch.interpolation.offset:
        return (
            "its positions are resized by a factor (pos_interpolation offset="
            f"{arch.interpolation.offset}), which the graph would keep; set offset=0"
        )
    return None


def require_onnx() -> None:
    """Raise a UserError that says what to install unless all is there that ONNX needs."""
    missing = []
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise UserError(
            f"--format onnx needs {', '.join(missing)}, which {'are' if missing[1:] else 'is'} "
            f"not installed: pip install {' '.join(missing)} (or this package's extra 'export')"
        )


def largest_error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest absolute difference over the largest absolute value; infinite where numbers or shapes
    of tensors differ."""
    if [tuple(t.shape) for t in found] != [tuple(t.shape) for t in expected]:
        return float("inf")
    errors = [
        ((a - b).abs().max() / b.abs().max().clamp_min(1e-12)).item()
        for a, b in zip(found, expected)
    ]
    return max(errors) if not any(e != e for e in errors) else float("nan")


def _images(encoder: Backbone, batch: int, size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(batch * size[0] + size[1])
    return torch.randn(batch, encoder.in_channels, *size, generator=generator)


def _example_size(encoder: Backbone, size: tuple[int, int], dynamic: str | None) -> tuple[int, int]:
    """With the sizes open, one unlike the positions' own: what holds for one value alone would
    become part of the graph."""
    if dynamic != "all":
        return size
    (h, w), (ph, pw) = encoder.arch.pos_grid, encoder.arch.patch
    return (2 * h + 3) * ph, (2 * w + 5) * pw


def _write_onnx(program: ExportedProgram, path: Path, example: Tensor) -> Run:
    import onnxruntime

    # without no_grad the exporter takes the strides of another kind of attention than it has
    with torch.no_grad(), _quiet():
        onnx_program = torch.onnx.export(
            program, (example,), dynamo=True, verbose=False, input_names=["images"]
        )
    size = sum(t.numel() * t.element_size() for t in program.state_dict.values())
    onnx_program.save(str(path), external_data=size > EXTERNAL)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # a failure is an error below, not a line on the screen
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> list[Tensor]:
        try:
            outputs = session.run(None, {"images": images.numpy()})
        except Exception as error:  # onnxruntime's own types
            raise UserError(
                f"onnxruntime can't run the exported graph for images {tuple(images.shape)}: "
                f"{str(error).splitlines()[0]}. Nothing was written"
            ) from error
        return [torch.from_numpy(out) for out in outputs]

    return run


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on its own progress."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _write_pt2(program: ExportedProgram, path: Path, example: Tensor) -> Run:
    data = io.BytesIO()  # torch's own writer ends the process where the disk is full
    with _quiet():
        torch.export.save(program, data)
        path.write_bytes(data.getbuffer())
        module = torch.export.load(path).module()

    def run(images: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return _as_list(module(images))

    return run


def _as_list(outputs: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
