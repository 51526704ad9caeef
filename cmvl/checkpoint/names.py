"""What each kind of file calls a tensor, in PySlowFast's words.

Our own names are PySlowFast's with `backbone.` in front; what it calls `head.` is ours as it is.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

OURS = ("backbone.", "memory.", "head.")
Rules = tuple[tuple[str, str], ...]  # pattern and replacement, applied in turn


def our_name(key: str) -> str:
    """PySlowFast's name -> ours."""
    return key if key.startswith(OURS) else f"backbone.{key}"


def pyslowfast_name(key: str) -> str:
    """Our name of a backbone's or head's tensor -> PySlowFast's."""
    return key.removeprefix("backbone.")


def substitute(rules: Rules, key: str) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


# Caffe2: base names, the more special first. K stage, I block, X convolution, N "_bn" or "".
BASES = (
    (r"(t_)?conv1", "s1.pathway{p}_stem.conv"),
    (r"(t_)?res_conv1_bn", "s1.pathway{p}_stem.bn"),
    (r"t_pool1_subsample_bn", "s1_fuse.bn"),
    (r"t_pool1_subsample", "s1_fuse.conv_f2s"),
    (r"t_res(?P<K>[2-4])_\d+_branch2c_bn_subsample_bn", "s{K}_fuse.bn"),
    (r"t_res(?P<K>[2-4])_\d+_branch2c_bn_subsample", "s{K}_fuse.conv_f2s"),
    (
        r"(t_)?res(?P<K>[2-5])_(?P<I>\d+)_branch1(?P<N>(_bn)?)",
        "s{K}.pathway{p}_res{I}.branch1{N}",
    ),
    (
        r"(t_)?res(?P<K>[2-5])_(?P<I>\d+)_branch2(?P<X>[abc])(?P<N>(_bn)?)",
        "s{K}.pathway{p}_res{I}.branch2.{X}{N}",
    ),
    (r"nonlocal_conv(?P<K>[2-5])_(?P<I>\d+)_bn", "s{K}.pathway0_nonlocal{I}.bn"),
    (
        r"nonlocal_conv(?P<K>[2-5])_(?P<I>\d+)_(?P<X>theta|phi|g|out)",
        "s{K}.pathway0_nonlocal{I}.conv_{X}",
    ),
    (r"pred", "head.projection"),
)
OF_NORM = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}
OF_OTHERS = {"w": "weight", "b": "bias"}


def caffe2_name(blob: str) -> str:
    """A blob's name -> PySlowFast's; a name that no rule fits stays as it is."""
    base, _, suffix = blob.rpartition("_")
    tensor = (OF_NORM if base.endswith("bn") else OF_OTHERS).get(suffix)
    for pattern, name in BASES:
        fits = re.fullmatch(pattern, base)
        if fits and tensor:
            return f"{name.format(p=int(base.startswith('t_')), **fits.groupdict())}.{tensor}"
    return blob


def pytorchvideo(stages: Iterable[int], head: int) -> Rules:
    """Rules for a net whose blocks numbered `stages` are stem and res2..res5."""
    blocks = tuple((rf"^blocks\.{b}\.", f"s{k}.") for k, b in enumerate(stages, start=1))
    return (*blocks, (rf"^blocks\.{head}\.proj\.", "head.projection."), *PYTORCHVIDEO)


PYTORCHVIDEO = (
    (r"^(s[1-4])\.multipathway_fusion\.conv_fast_to_slow\.", r"\1_fuse.conv_f2s."),
    (r"^(s[1-4])\.multipathway_fusion\.norm\.", r"\1_fuse.bn."),
    (r"^(s\d)\.multipathway_blocks\.(\d)\.", r"\1.pathway\2_"),
    (r"^(s\d)\.(?=conv\.|norm\.|res_blocks\.)", r"\1.pathway0_"),
    (r"pathway(\d)_conv\.", r"pathway\1_stem.conv."),
    (r"pathway(\d)_norm\.", r"pathway\1_stem.bn."),
    (r"pathway(\d)_res_blocks\.(\d+)\.", r"pathway\1_res\2."),
    (r"\.branch1_conv\.", ".branch1."),
    (r"\.branch1_norm\.", ".branch1_bn."),
    (r"\.conv_b\.conv_t\.", ".b_t."),  # R(2+1)D's convolution b is two
    (r"\.conv_b\.norm\.", ".b_t_bn."),
    (r"\.conv_b\.conv_xy\.", ".b."),
    (r"\.conv_([abc])\.", r".\1."),
    (r"\.norm_([abc])\.", r".\1_bn."),
)
PTV_ONE_PATHWAY = pytorchvideo((0, 1, 2, 3, 4), head=5)  # R(2+1)D, Slow
PTV_I3D = pytorchvideo((0, 1, 3, 4, 5), head=6)  # a pool is block 2
PTV_SLOWFAST = pytorchvideo((0, 1, 2, 3, 4), head=6)

IMAGE_RESNET = (
    (r"^conv1\.", "s1.pathway0_stem.conv."),
    (r"^bn1\.", "s1.pathway0_stem.bn."),
    *((rf"^layer{k - 1}\.(\d+)\.", rf"s{k}.pathway0_res\1.") for k in range(2, 6)),
    (r"\.downsample\.0\.", ".branch1."),
    (r"\.downsample\.1\.", ".branch1_bn."),
    *((rf"\.conv{i}\.", f".branch2.{x}.") for i, x in enumerate("abc", start=1)),
    *((rf"\.bn{i}\.", f".branch2.{x}_bn.") for i, x in enumerate("abc", start=1)),
    (r"^fc\.", "head.projection."),
)


def torchvision(head: str) -> Rules:
    """Rules for a video net whose classifier is called `head`."""
    return (rf"^{head}\.", "head.projection."), (r"^(?!head\.projection\.)", "net.")


@dataclass(frozen=True)
class Naming:
    """One kind of file. Where `unused` matches a name without a rule, the entry is passed over."""

    kind: str
    marker: str  # pattern of a name that only these files have
    rename: Callable[[str], str] = str
    unused: str = "(?!)"  # nothing
    why: str = ""


CAFFE2 = Naming("Caffe2", "", caffe2_name, "momentum|lr|model_iter", "solver state")
CMVL = "cmvl"
NAMINGS = (  # of torch files; the first whose marker is found
    Naming(CMVL, r"^(backbone|memory)\."),
    Naming(
        "pytorchvideo",
        r"^blocks\.0\.multipathway_blocks\.",
        partial(substitute, PTV_SLOWFAST),
    ),
    Naming("pytorchvideo", r"^blocks\.5\.res_blocks\.", partial(substitute, PTV_I3D)),
    Naming("pytorchvideo", r"^blocks\.0\.conv\.", partial(substitute, PTV_ONE_PATHWAY)),
    Naming("torchvision", r"^layer1\.0\.conv1\.weight$", partial(substitute, IMAGE_RESNET)),
    Naming("torchvision", r"^stem\.0\.", partial(substitute, torchvision("fc"))),
    Naming(
        "torchvision", r"^features\.0\.0\.0\.", partial(substitute, torchvision(r"classifier\.1"))
    ),
    Naming("torchvision", r"^patch_embed\.", partial(substitute, torchvision("head"))),
    Naming(
        "torchvision",
        r"^pos_encoding\.",
        partial(substitute, ((r"^(?!head\.)", "net."),)),
        r"^head\.",
        "the file's reads the class token, ours the patches",
    ),
    Naming("PySlowFast", r"^(s1|head\.projection)\."),
)


def find_naming(keys: Iterable[str]) -> Naming | None:
    """The naming of a torch file's entries, if it is a known one."""
    keys = list(keys)
    return next((n for n in NAMINGS if any(re.search(n.marker, k) for k in keys)), None)


def rename(naming: Naming, keys: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Entry -> PySlowFast's name; and the entries passed over."""
    names, unused = {}, []
    for key in keys:
        name = naming.rename(key)
        if name == key and re.search(naming.unused, key):
            unused.append(key)
        else:
            names[key] = name
    return names, unused
