import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.grading.submission.weights_file import WeightsError, read_header

ENTRY = b'{"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'


def write(path, header, data=b""):
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)
    return path


def entry(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_reads_what_the_format_s_own_library_wrote(tmp_path):
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    save_file({"w": values, "h": values.astype(np.float16)}, tmp_path / "a.safetensors", metadata={"format": "pt"})
    tensors = read_header(tmp_path / "a.safetensors")
    assert {n: (t.dtype, t.shape) for n, t in tensors.items()} == {"w": ("F32", (3, 4)), "h": ("F16", (3, 4))}
    assert np.array_equal(np.concatenate(list(tensors["w"].chunks())), values.ravel())
    assert np.array_equal(np.concatenate(list(tensors["h"].chunks())), values.ravel())


def test_a_file_is_mapped_once_however_often_its_tensors_are_looked_at(tmp_path, monkeypatch):
    made, map_file = [], np.memmap
    monkeypatch.setattr(np, "memmap", lambda *args, **settings: made.append(1) or map_file(*args, **settings))
    save_file({f"w{n}": np.ones(3, dtype=np.float32) for n in range(9)}, tmp_path / "a.safetensors")
    tensors = read_header(tmp_path / "a.safetensors").values()
    assert all(tensor.is_finite() and list(next(tensor.chunks())) == [1, 1, 1] for tensor in tensors)
    assert len(made) == 1


def test_bfloat16_is_read_as_the_upper_half_of_a_float32(tmp_path):
    values = np.array([1.5, -2.0, 0.0, 3.140625], dtype=np.float32)
    data = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    path = write(tmp_path / "a.safetensors", {"w": entry(0, 8, [4], "BF16")}, data)
    assert np.array_equal(next(iter(read_header(path)["w"].chunks())), values)


@pytest.mark.parametrize(
    ("header", "data", "code"),
    [
        pytest.param(b"not json at all", b"", "bad_header", id="no JSON"),
        pytest.param(b"[1]", b"", "bad_header", id="no object"),
        pytest.param(b'{"a": ' + b"[" * 100_000, b"", "bad_header", id="deep nesting"),
        pytest.param({"w": {"dtype": "F32", "shape": [1]}}, b"", "bad_header", id="no offsets"),
        pytest.param({"w": entry(0, 4, [-1])}, b"1234", "bad_header", id="negative size"),
        pytest.param({"w": entry(0, 4, [True])}, b"1234", "bad_header", id="boolean size"),
        pytest.param({"w": entry(0, 4, "1")}, b"1234", "bad_header", id="shape is text"),
        pytest.param({"__metadata__": {"a": 1}, "w": entry(0, 4, [1])}, b"1234", "bad_header", id="metadata is no text"),
        pytest.param({"w": entry(0, 4, [4], "I8")}, b"1234", "bad_dtype", id="integer dtype"),
        pytest.param({"w": entry(0, 4, [4], ["F32"])}, b"1234", "bad_dtype", id="dtype is a list"),
        pytest.param({"w": entry(0, 4, [4], "F8_E4M3")}, b"1234", "bad_dtype", id="float8"),
        pytest.param({"w": entry(0, 4, [2])}, b"1234", "bad_bounds", id="too few bytes for its shape"),
        pytest.param({"w": entry(0, 8, [2])}, b"1234", "bad_bounds", id="beyond the end"),
        pytest.param({"a": entry(0, 4, [1]), "b": entry(2, 6, [1])}, b"123456", "bad_bounds", id="overlap"),
        pytest.param({"a": entry(0, 4, [1]), "b": entry(0, 4, [1])}, b"1234", "bad_bounds", id="two names for one place"),
        pytest.param({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, b"1" * 12, "bad_bounds", id="gap"),
        pytest.param({"a": entry(0, 4, [1])}, b"1" * 12, "bad_bounds", id="unaccounted tail"),
        pytest.param({"a": entry(0, 4, [2**39, 2**39, 2**39])}, b"1234", "bad_bounds", id="product overflows 64 bits"),
        pytest.param(b'{"w": %s, "w": %s}' % ((ENTRY,) * 2), b"1234", "bad_header", id="duplicate key"),
    ],
)  # fmt: skip
def test_a_lying_header_is_refused(tmp_path, header, data, code):
    with pytest.raises(WeightsError) as caught:
        read_header(write(tmp_path / "a.safetensors", header, data))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "raw", [b"", b"1234567", struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 0) + b"{}", struct.pack("<Q", 100) + b"{}"]
)
def test_a_header_length_that_does_not_fit_the_file_is_refused(tmp_path, raw):
    (tmp_path / "a.safetensors").write_bytes(raw)
    with pytest.raises(WeightsError) as caught:
        read_header(tmp_path / "a.safetensors")
    assert caught.value.code == "bad_header"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_a_single_nan_or_infinity_is_found_in_every_dtype(tmp_path, bad, dtype):
    values = np.linspace(-6e4, 6e4, 1000, dtype=np.float32)
    raw = {"F32": lambda v: v, "F16": lambda v: v.astype(np.float16), "BF16": lambda v: (v.view(np.uint32) >> 16).astype("<u2")}[
        dtype
    ]
    width = 4 if dtype == "F32" else 2
    header = {"w": entry(0, 1000 * width, [10, 100], dtype)}
    assert read_header(write(tmp_path / "good.safetensors", header, raw(values).tobytes()))["w"].is_finite()
    values[777] = bad
    assert not read_header(write(tmp_path / "bad.safetensors", header, raw(values).tobytes()))["w"].is_finite()
