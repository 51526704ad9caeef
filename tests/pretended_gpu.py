"""A GPU where there is none: tensors in a CPU's memory that say they are on cuda:0.

What a GPU refuses is refused, its numbers are the CPU's: a run on it is to be the CPU's to the last
bit, unless a step depends on where tensors are. As a script it runs another one so:

python tests/pretended_gpu.py tools/run_net.py --cfg FILE NUM_GPUS 1
"""

import runpy
import sys
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from unittest.mock import Mock, patch

import torch
import torch.distributed as dist
from norm_kernels import stand_ins
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
aten = torch.ops.aten
WRITING = {aten.copy_.default, aten.mul.out}  # the last: DDP's, to buckets it has on the CPU here
MIXING = WRITING | {aten._to_copy.default}
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}
WAITING = {aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default}


class OnGPU(Tensor):
    """`values` are on the CPU, and so is the tensor to all of torch but Python."""

    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values):
        size, stride, offset = values.size(), values.stride(), values.storage_offset()
        return Tensor._make_wrapper_subclass(cls, size, stride, offset, dtype=values.dtype)

    def __init__(self, values):
        self.values = values

    def __tensor_flatten__(self):
        return ["values"], None

    @staticmethod
    def __tensor_unflatten__(inner, meta, size, stride):
        return OnGPU(inner["values"])

    def __repr__(self):
        return f"OnGPU({self.values!r})"

    def __reduce_ex__(self, protocol):
        return self.values.__reduce_ex__(protocol)

    def __deepcopy__(self, memo):
        copy = OnGPU(self.values.clone()).requires_grad_(self.requires_grad)
        return memo.setdefault(id(self), copy)

    @classmethod
    def __torch_dispatch__(cls, op, types, args=(), kwargs=None):
        return compute(op, args, kwargs or {})


class Computing(TorchDispatchMode):
    waits_allowed = True

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        if not self.waits_allowed and is_wait(op, args, kwargs or {}):
            raise RuntimeError(f"{op} waits for the GPU")
        return compute(op, args, kwargs or {})


def is_wait(op, args, kwargs):
    """No copy to a GPU is, if it is of pinned memory and not to block."""
    of, *more = args
    if op is aten.copy_.default:
        to_gpu, (of, *more) = isinstance(of, OnGPU), more
    elif op is aten._to_copy.default:
        to_gpu = torch.device(kwargs.get("device") or of.device).type == "cuda"
    else:
        return op in WAITING and isinstance(of, OnGPU)
    prompt = hasattr(of, "pinned") and kwargs.get("non_blocking", more == [True])
    return to_gpu != isinstance(of, OnGPU) and not (to_gpu and prompt)


def compute(op, args, kwargs):
    """On the values, and the result on the device it would be on."""
    flat, spec = tree_flatten((args, kwargs))
    there = [x for x in flat if isinstance(x, OnGPU)]
    here = [x for x in flat if isinstance(x, Tensor) and not isinstance(x, OnGPU) and x.dim()]
    if there and here and op not in MIXING:
        if op not in INDEXING or not isinstance(args[0], OnGPU):
            raise RuntimeError(f"{op}: expected all tensors on one device, found cuda:0 and cpu")
    on_gpu = isinstance(kwargs.get("out", args[0]), OnGPU) if op in WRITING else bool(there)
    args_here, kwargs_here = tree_unflatten(
        [x.values if isinstance(x, OnGPU) else x for x in flat], spec
    )
    if kwargs.get("device") is not None:
        # Autograd's accumulators, for gradients of another layout, take the device of C++.
        if op is not aten.new_empty_strided.default:
            on_gpu = torch.device(kwargs["device"]).type == "cuda"
        kwargs_here |= {"device": CPU}
    result = op(*args_here, **kwargs_here)
    if not on_gpu:
        return result
    result = tree_map(lambda x: OnGPU(x) if isinstance(x, Tensor) else x, result)
    return return_and_correct_aliasing(op, args, kwargs, result) if there else result


class Moving(TorchFunctionMode):
    """What torch decides in C++, where all tensors are on the CPU."""

    def __torch_function__(self, f, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            return MOVES.get(f, f)(*args, **(kwargs or {}))


def to(x, *args, non_blocking=False, copy=False, memory_format=torch.preserve_format, **kwargs):
    if args and isinstance(args[0], Tensor):
        args = (args[0].device, args[0].dtype)
    given = [*args, *kwargs.values()]
    device = next((torch.device(a) for a in given if isinstance(a, str | torch.device)), x.device)
    dtype = next((a for a in given if isinstance(a, torch.dtype)), x.dtype)
    as_is = (device.type, dtype) == (x.device.type, x.dtype) and not copy
    layout = {"memory_format": memory_format}
    if as_is and (memory_format is torch.preserve_format or x.is_contiguous(**layout)):
        return x
    return aten._to_copy(x, dtype=dtype, device=device, non_blocking=non_blocking, **layout)


def numpy(x, *args, **kwargs):
    if isinstance(x, OnGPU):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")
    return Tensor.numpy(x, *args, **kwargs)


def pin_memory(x, *args):
    x.pinned = True
    return x


MOVES = {
    Tensor.to: to,
    Tensor.cpu: lambda x: to(x, CPU),
    Tensor.cuda: lambda x: to(x, GPU),
    Tensor.numpy: numpy,
    Tensor.pin_memory: pin_memory,
}
ABOUT = SimpleNamespace(name="pretended GPU", total_memory=2**36, major=9, minor=0)


@contextmanager
def pretended_gpu():
    """Inside, torch.cuda has such GPUs, and gloo does what NCCL would; yields what computes."""
    begin = dist.init_process_group
    answers = {
        "is_available": True,
        "is_initialized": True,
        "is_bf16_supported": True,
        "device_count": 2,
        "current_device": 0,
        "get_device_name": ABOUT.name,
        "get_device_properties": ABOUT,
        "mem_get_info": (2**30, 2**36),
        "max_memory_allocated": 2**30,
        "reset_peak_memory_stats": None,
        "set_device": None,
        "synchronize": None,
        "current_stream": Mock(),
        "Stream": Mock(),
        "_lazy_init": None,
    }
    patches = {name: Mock(return_value=answer) for name, answer in answers.items()}
    patches |= {
        "stream": lambda _: nullcontext(),
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "set_rng_state": lambda state, *_: torch.set_rng_state(state),
    }
    swap = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    with ExitStack() as stack:
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, swap)
        stack.enter_context(patch.multiple(torch.cuda, **patches))
        stack.enter_context(patch.object(Tensor, "record_stream", Mock()))
        stack.enter_context(
            patch.object(dist, "init_process_group", lambda _, **more: begin("gloo", **more))
        )
        stack.enter_context(stand_ins())
        computing = stack.enter_context(Computing())
        stack.enter_context(Moving())
        yield computing


if __name__ == "__main__":
    del sys.argv[0]
    with pretended_gpu():
        runpy.run_path(sys.argv[0], run_name="__main__")
