"""Imports point down, and `cfg` stays where configuration is translated."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [
    {"utils"},
    {"config", "checkpoint", "structures", "launch"},
    {"layers", "data"},
    {"backbones", "memory", "heads", "losses", "evaluation"},
    {"encode"},
    {"model"},
    {"inference"},
    {"tasks"},
    {"engine"},
    {"report", "benchmarks", "doctor"},
    {"tools"},
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
CFG_ROOMS = {"config", "engine", "report", "benchmarks", "doctor", "tools"}
FILES = sorted([*(ROOT / "cmvl").rglob("*.py"), *(ROOT / "tools").glob("*.py")])


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "tools" if parts[0] == "tools" else parts[1]


def imported_rooms(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [node.module] if node.module != "cmvl" else [f"cmvl.{a.name}" for a in node.names]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (n.split(".")[1] for n in names if n.startswith("cmvl.") and "__" not in n)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    room = room_of(path)
    if room == "__init__":
        return
    climbs = {
        other
        for other in imported_rooms(ast.parse(path.read_text()))
        if other != room and LEVEL[other] >= LEVEL[room]
    }
    assert not climbs, f"{path.relative_to(ROOT)} climbs to {climbs}"


def functions_with_cfg(tree: ast.AST):
    """Names of the outermost functions that mention a variable called cfg."""
    outer = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef)]
    outer += [f for c in classes for f in c.body if isinstance(f, ast.FunctionDef)]
    for function in outer:
        names = {n.id for n in ast.walk(function) if isinstance(n, ast.Name)}
        names |= {n.arg for n in ast.walk(function) if isinstance(n, ast.arg)}
        if "cfg" in names:
            yield function.name


@pytest.mark.parametrize(
    "path",
    [f for f in FILES if room_of(f) not in CFG_ROOMS],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_cfg_stops_at_builders(path):
    for name in functions_with_cfg(ast.parse(path.read_text())):
        assert name == "from_cfg" or name.startswith("build_"), f"{path}: {name} reads cfg"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nobody_assigns_to_cfg(path):
    if room_of(path) == "config":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            root = node
            while isinstance(root, ast.Attribute | ast.Subscript):
                root = root.value
            assert getattr(root, "id", "") != "cfg", f"{path}:{node.lineno} assigns to cfg"


def test_torchvision_is_imported_where_it_is_used():
    """It takes a second and a half, of every tool and every process of a run."""
    for path in set(FILES) - {ROOT / "cmvl/backbones/torchvision.py"}:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                named = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
                assert not any(n.startswith("torchvision") for n in named), path


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_stay_small(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 250, f"{path.relative_to(ROOT)} has {len(lines)} lines: split it"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= 50, f"{path.relative_to(ROOT)}: {node.name} has {length} lines"
