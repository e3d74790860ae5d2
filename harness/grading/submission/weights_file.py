"""A safetensors file read with numpy alone and believed in nothing: header, bounds, finite values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.spec.submission import Problem
from harness.taskkit.scoring.strict_json import StrictJsonError, strict_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A 70B model's single-file header is about 100 kB; the format's own reader stops at 100 MB.
MAX_HEADER = 8 * 1024 * 1024
# Weights are scanned in pieces of this many elements, so that checking 15 GB needs no more memory than checking 15 MB.
CHUNK = 4 * 1024 * 1024

# dtype → bytes an element, unsigned integer of that width, mask of the exponent bits (all set means Inf or NaN)
_FLOATS: dict[str, tuple[int, str, int]] = {
    "F32": (4, "<u4", 0x7F80_0000),
    "F16": (2, "<u2", 0x7C00),
    "BF16": (2, "<u2", 0x7F80),
}


class WeightsError(ValueError):
    """A file that cannot be used as weights; ``code`` says which rule it broke."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Mapped:
    """A file's bytes, mapped once for all of its tensors: an adapter has hundreds, each looked at several times."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def bytes(self) -> NDArray[np.uint8]:
        """The whole file."""
        import numpy as np

        return np.asarray(np.memmap(self._path, dtype=np.uint8, mode="r"))


@dataclass(frozen=True)
class Tensor:
    """Where one tensor lies: absolute byte offsets in ``path``."""

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int
    file: Mapped = field(repr=False, compare=False)

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def raw(self) -> NDArray[Any]:
        """Return the tensor's elements as unsigned integers of their width, memory-mapped, one-dimensional."""
        import numpy as np

        if self.elements == 0:
            return np.empty(0, dtype=_FLOATS[self.dtype][1])
        return self.file.bytes[self.begin : self.end].view(_FLOATS[self.dtype][1])

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """Yield the values as float32, `CHUNK` elements at a time."""
        raw = self.raw()
        for start in range(0, self.elements, CHUNK):
            yield self.as_float32(raw[start : start + CHUNK])

    def as_float32(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Return a piece of `raw` as the values it stands for."""
        import numpy as np

        part = np.asarray(raw)
        if self.dtype == "F32":
            return part.view(np.float32)
        if self.dtype == "F16":
            return part.view(np.float16).astype(np.float32)
        return (part.astype(np.uint32) << 16).view(np.float32)

    def is_finite(self) -> bool:
        """Whether no element is NaN or infinite; looks at the bits, so no arithmetic can hide one."""
        mask = _FLOATS[self.dtype][2]
        raw = self.raw()
        return not any(bool(((raw[s : s + CHUNK] & mask) == mask).any()) for s in range(0, self.elements, CHUNK))


def read_header(path: Path) -> dict[str, Tensor]:
    """Read the header of a safetensors file and check every claim it makes against the file.

    Raises:
        WeightsError: code ``bad_header``, ``bad_dtype`` or ``bad_bounds``.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little") if size >= 8 else -1
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise WeightsError("bad_header", f"header length {length} does not fit a file of {size} bytes")
        head = stream.read(length)
    try:
        document = strict_json(head, max_bytes=MAX_HEADER)
    except StrictJsonError as exc:
        raise WeightsError("bad_header", f"header: {exc}") from exc
    if not isinstance(document, dict):
        raise WeightsError("bad_header", "the header is no JSON object")
    metadata = document.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise WeightsError("bad_header", "__metadata__ must map text to text")
    file = Mapped(path)
    tensors = {name: _tensor(path, name, entry, 8 + length, file) for name, entry in document.items()}
    _check_layout(list(tensors.values()), 8 + length, size)
    return tensors


def _tensor(path: Path, name: str, entry: Any, data_start: int, file: Mapped) -> Tensor:
    shown = repr(name[:120])
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise WeightsError("bad_header", f"tensor {shown}: an entry has exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _FLOATS:
        raise WeightsError("bad_dtype", f"tensor {shown}: dtype {str(dtype)[:20]!r} is not one of {', '.join(_FLOATS)}")
    if not isinstance(shape, list) or len(shape) > 8 or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise WeightsError("bad_header", f"tensor {shown}: shape {str(shape)[:80]} is no list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(n) is int and 0 <= n < 2**60 for n in offsets):
        raise WeightsError("bad_header", f"tensor {shown}: data_offsets {str(offsets)[:80]} are no pair of offsets")
    if offsets[1] - offsets[0] != math.prod(shape) * _FLOATS[dtype][0]:
        raise WeightsError("bad_bounds", f"tensor {shown}: {offsets[1] - offsets[0]} bytes do not hold shape {shape} of {dtype}")
    return Tensor(path, name, dtype, tuple(shape), data_start + offsets[0], data_start + offsets[1], file)


def _check_layout(tensors: list[Tensor], data_start: int, size: int) -> None:
    """Tensors must follow one another without gap or overlap up to the end of the file."""
    position = data_start
    for tensor in sorted(tensors, key=lambda t: (t.begin, t.end)):
        if tensor.begin != position:
            what = "overlaps the one before it" if tensor.begin < position else "leaves a gap before it"
            raise WeightsError("bad_bounds", f"tensor {tensor.name[:120]!r} {what}")
        position = tensor.end
    if position != size:
        raise WeightsError("bad_bounds", f"tensors end at byte {position} of {size}")


def read_weights(paths: Sequence[Path]) -> tuple[dict[str, Tensor], list[Problem]]:
    """Read the headers of all files of a model; a tensor that stands in two of them is a problem."""
    tensors: dict[str, Tensor] = {}
    for path in paths:
        try:
            found = read_header(path)
        except WeightsError as exc:
            hint = "save again with safetensors, in float32, bfloat16 or float16"
            return {}, [Problem(code=exc.code, message=f"{path.name}: {exc}", hint=hint)]
        twice = tensors.keys() & found.keys()
        if twice:
            text = f"tensor {min(twice)[:120]!r} is in two files"
            return {}, [Problem(code="duplicate_tensor", message=text, hint="remove the files of an earlier save")]
        tensors |= found
    return tensors, []
