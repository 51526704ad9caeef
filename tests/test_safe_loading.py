"""A weights file is data: nothing in it runs, and what asks to run is named."""

import builtins
import gzip
import os
import pickle
import struct
from collections import OrderedDict

import pytest
import torch

from cmvl.checkpoint import load_weights
from cmvl.checkpoint.formats import read_weights
from cmvl.utils.errors import CheckpointError

from toy import toy_model

MARK = "was_here"


class Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.how = function, arguments

    def __reduce__(self):
        return self.how


def refused(path, content):
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        load_weights(toy_model(), path, may_miss=("memory.",))
    assert str(error.value).startswith(f"{path}: ")
    assert not (path.parent / MARK).exists()
    return str(error.value)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (Call(os.system, f"touch {MARK}"), "posix.system"),
        (Call(builtins.eval, f"open('{MARK}', 'w')"), "builtins.eval"),
        (Call(builtins.getattr, os, "getpid"), "builtins.getattr"),
        (Call(OrderedDict), "collections.OrderedDict"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("packed", [False, True])
def test_a_pickle_may_ask_for_arrays_alone(tmp_path, monkeypatch, call, named, protocol, packed):
    monkeypatch.chdir(tmp_path)
    if named == "builtins.getattr":
        call.how = builtins.getattr, ("", "join")
    data = pickle.dumps({"blobs": {"conv1_w": call}}, protocol)
    named = named.replace("builtins", "__builtin__") if protocol < 3 else named
    told = refused(tmp_path / "c2.pkl", gzip.compress(data) if packed else data)
    assert f"refused: it asks for {named}, which may run code" in told


def test_a_call_outside_of_the_blobs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = refused(tmp_path / "x", pickle.dumps(Call(os.system, f"touch {MARK}"), 2))
    assert "posix.system" in told


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pyth"
    content = {"model_state": {"a": Call(os.system, f"touch {MARK}")}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    told = refused(path, path.read_bytes())
    assert "refused: it asks for posix.system" in told and "weights_only" not in told


def array_pickle(code, order, shape, data):
    """Opcodes of a numpy array as Python 2 wrote it, with a type of our choosing."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    numbers = b"(" + b"".join(b"K" + bytes([n]) for n in shape) + b"t"
    return (
        b"\x80\x02}U\x05blobs}U\x07conv1_wcnumpy.core.multiarray\n_reconstruct\n"
        b"(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01" + numbers + b"cnumpy\ndtype\n("
        + text(code) + b"K\x00K\x01tR(K\x03" + text(order)
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", len(data)) + data + b"tbss."
    )  # fmt: skip


def test_arrays_of_either_byte_order(tmp_path):
    for order, form in ((b"<", "<2f"), (b">", ">2f")):
        path = tmp_path / "a.pkl"
        path.write_bytes(array_pickle(b"f4", order, [2], struct.pack(form, 1, 2)))
        assert read_weights(path).state["backbone.s1.pathway0_stem.conv.weight"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("array", "told"),
    [
        ((b"O8", b"|", [1], b"\x41" * 8), "an array of type 'O8'"),
        ((b"V8", b"|", [1], b"\x41" * 8), "an array of type 'V8'"),
        ((b"f4", b"x", [1], b"\x41" * 4), "an array of byte order 'x'"),
        ((b"f4", b"<", [99], b"\x41" * 4), "cannot reshape"),
    ],
)
def test_arrays_that_are_no_numbers(tmp_path, array, told):
    """Pointers to objects, above all: numpy itself would follow them."""
    assert told in refused(tmp_path / "a.pkl", array_pickle(*array))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a readable weights file"),
        (b"hello", "not a readable weights file"),
        (b"PK\x03\x04 cut", "not a readable torch file"),
        (gzip.compress(b"x" * 99)[:-9], "cannot be unpacked"),
        (
            gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"x")))),
            "packed more than",
        ),
        (pickle.dumps({"model": 1}, 2), "a pickle without the dict `blobs`"),
        (pickle.dumps([1, 2], 2), "a pickle without the dict `blobs`"),
        (pickle.dumps({"blobs": {"conv1_w": 3}}, 2), "blob conv1_w is no array"),
    ],
    # Not the content: gzip writes the time into it, and test processes must agree on names.
    ids=["nothing", "text", "cut zip", "cut gzip", "packed", "dict", "list", "number"],
)
def test_unreadable_files(tmp_path, content, told):
    assert told in refused(tmp_path / "x.pyth", content)


def test_no_file(tmp_path):
    with pytest.raises(CheckpointError, match="no such weights file"):
        read_weights(tmp_path / "x.pyth")
