"""Eq. 2 to 4 against loops, the designs of Table 2b, the parameter counts of Table 2c."""

import pytest
import torch

from cmvl.config import load_cfg
from cmvl.memory import CollaborativeMemory, build_memory
from cmvl.memory.build import INFUSIONS, INTERACTIONS
from cmvl.memory.infusion import FeatureGating, NoInfusion, ResidualInfusion
from cmvl.memory.init import INITS
from cmvl.memory.interaction import AssociativeMemory, AveragePoolMemory, NoMemory
from cmvl.memory.norm import MatrixNorm
from cmvl.model import build_model
from cmvl.tasks import find_task
from cmvl.utils.errors import ConfigError

B, N, K, D, D_MEM = 2, 3, 4, 6, 5
NORMS = ("batch", "batch_all", "batch_each", "layer", "none")


@pytest.fixture(name="X")
def features():
    torch.manual_seed(0)
    return torch.randn(B, N, K, D, dtype=torch.float64)


def project(layer, x):
    return x @ layer.weight.T


def test_push_is_equation_2(X):
    memory = AssociativeMemory(D, D_MEM, bias=False).double()
    M = memory.push(X)
    for b in range(B):
        expected = torch.zeros(D_MEM, D_MEM, dtype=torch.float64)
        for n in range(N):
            K_n, V_n = project(memory.W_k, X[b, n]), project(memory.W_v, X[b, n])
            expected += K_n.T @ V_n / N
        torch.testing.assert_close(M[b], expected, rtol=0, atol=1e-12)


def test_pop_is_equation_3_and_attention_over_clips(X):
    memory = AssociativeMemory(D, D_MEM, bias=False).double()
    M_n = memory.pop(memory.push(X), X)
    for b in range(B):
        for n in range(N):
            Q = project(memory.W_q, X[b, n])
            attended = torch.zeros(K, D_MEM, dtype=torch.float64)
            for m in range(N):
                K_m, V_m = project(memory.W_k, X[b, m]), project(memory.W_v, X[b, m])
                attended += (Q @ K_m.T) @ V_m / N
            torch.testing.assert_close(M_n[b, n], attended, rtol=0, atol=1e-12)


def test_gate_is_equation_4(X):
    gating = FeatureGating(D, D_MEM, bias=False, norm="none").double()
    M_n = torch.randn(B, N, K, D_MEM, dtype=torch.float64)
    X_hat = gating(X, M_n)
    for b in range(B):
        for n in range(N):
            M_hat = M_n[b, n].mean(dim=0)
            gate = 1 / (1 + torch.exp(-(gating.W_O.weight @ M_hat)))
            expected = torch.stack([(1 + gate) * X[b, n, k] for k in range(K)])
            torch.testing.assert_close(X_hat[b, n], expected, rtol=0, atol=1e-12)


def built(interaction, infusion, norm, init="uniform"):
    opts = ["MEMORY.INTERACTION", interaction, "MEMORY.INFUSION", infusion, "MEMORY.NORM", norm]
    opts += ["MEMORY.REDUCTION", "1", "MEMORY.INIT", init]
    return build_memory(load_cfg(None, opts), [D]).double()


def memory_of(interaction, infusion, norm):
    memory = built(interaction, infusion, norm)
    with torch.no_grad():
        for p in memory.parameters():
            p.normal_()
    return memory


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("infusion", ["FeatureGating", "ResidualInfusion"])
@pytest.mark.parametrize("interaction", ["AssociativeMemory", "AveragePoolMemory", "NoMemory"])
def test_recall_infuses_what_pop_does(X, interaction, infusion, norm):
    """The same output and gradient, also where it takes the mean first; which is where it may."""
    memory = memory_of(interaction, infusion, norm)
    outputs, gradients = [], []
    for read in (memory.pop, memory.recall):
        x = X.clone().requires_grad_()
        M = memory.push([x])
        M_n = read(M, [x])
        (X_hat,) = memory.infuse([x], M_n)
        X_hat.square().sum().backward()
        outputs.append(X_hat)
        gradients.append(x.grad)
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-8, atol=1e-8)
    short = interaction == "AssociativeMemory" and norm != "batch_each"
    if infusion == "FeatureGating" and short:
        assert M_n[0].shape[2] == 1


def test_recall_leaves_a_pop_of_ones_own(X):
    class Squared(AssociativeMemory):
        def pop(self, M, X):
            return super().pop(M, X).square()

    class Peak(FeatureGating):
        def gate(self, M_n):
            return M_n.amax(dim=2, keepdim=True)

    pairs = [(Squared, FeatureGating), (AssociativeMemory, Peak)]
    for interaction, infusion in pairs:
        memory = CollaborativeMemory([interaction(D, D)], [infusion(D, D)]).double()
        (M_n,) = memory.recall(memory.push([X]), [X])
        assert M_n.shape == (B, N, K, D)


def test_residual_infusion(X):
    infusion = ResidualInfusion(D, D_MEM, bias=False, norm="none").double()
    M_n = torch.randn(B, N, K, D_MEM, dtype=torch.float64)
    expected = torch.stack([X[:, n] + project(infusion.W_O, M_n[:, n]) for n in range(N)], dim=1)
    torch.testing.assert_close(infusion(X, M_n), expected, rtol=0, atol=1e-12)


def test_average_pool_memory(X):
    memory = AveragePoolMemory(D, D_MEM, bias=False).double()
    M = memory.push(X)
    for b in range(B):
        rows = torch.stack([project(memory.W_I, X[b, n, k]) for n in range(N) for k in range(K)])
        torch.testing.assert_close(M[b], rows.mean(dim=0), rtol=0, atol=1e-12)
    M_n = memory.pop(M, X)
    assert M_n.shape == (B, N, 1, D_MEM)
    assert all(torch.equal(M_n[:, n, 0], M) for n in range(N))


@pytest.mark.parametrize("name", [name for name, _ in INTERACTIONS])
def test_push_is_a_mean_of_pushes(name, X):
    """What the cached test and AVA's sliding window rest on."""
    design = INTERACTIONS.get(name)
    memory = design() if design is NoMemory else design(D, D_MEM)
    memory = memory.double().eval()
    each = torch.stack([memory.push(X[:, n : n + 1]) for n in range(N)])
    torch.testing.assert_close(memory.push(X), each.mean(dim=0))


@pytest.mark.parametrize("infusion", [name for name, _ in INFUSIONS])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("interaction", ["AssociativeMemory", "AveragePoolMemory"])
def test_every_design_trains(X, interaction, infusion, norm):
    cfg = load_cfg(
        None,
        f"MEMORY.INTERACTION {interaction} MEMORY.INFUSION {infusion} MEMORY.NORM {norm} "
        "MEMORY.REDUCTION 2 VIDEO.NUM_CLIPS 3".split(),
    )
    memory = build_memory(cfg, [D, D]).double()
    maps = [X, X.flip(0)]
    X_hat = memory.infuse(maps, memory.pop(memory.push(maps), maps))
    sum((x**2).sum() for x in X_hat).backward()
    dead = [k for k, p in memory.named_parameters() if p.grad is None]
    assert not dead


@pytest.mark.parametrize("kind", ["batch", "batch_all"])
def test_what_the_gates_norm_is_taken_over(X, kind):
    """batch: over the videos, clip by clip, one step of the running mean each; batch_all: both."""
    norm = MatrixNorm(kind, D).double()
    over = (0, 2) if kind == "batch" else (0, 1, 2)
    mean, var = X.mean(over, keepdim=True), X.var(over, correction=0, keepdim=True)
    torch.testing.assert_close(norm(X), (X - mean) / (var + norm.bn.eps).sqrt())
    running = torch.zeros(D, dtype=torch.float64)
    for of_group in mean[0, :, 0]:
        running += norm.bn.momentum * (of_group - running)
    torch.testing.assert_close(norm.bn.running_mean, running)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("infusion", "scale"), [("FeatureGating", 1.5), ("ResidualInfusion", 1)])
def test_zero_infuses_nothing_at_first(X, infusion, scale, norm):
    """And it learns: a step moves what is zero, the next one the projections before it."""
    memory = built("AssociativeMemory", infusion, norm, "zero")
    optimizer = torch.optim.SGD(memory.parameters(), 0.1)
    for expected in (scale * X, None):
        (X_hat,) = memory.infuse([X], memory.pop(memory.push([X]), [X]))
        if expected is not None:
            torch.testing.assert_close(X_hat, expected, rtol=0, atol=0)
        optimizer.zero_grad()
        (X_hat * X.flip(0)).sum().backward()
        optimizer.step()
    assert all(p.grad.abs().max() > 0 for k, p in memory.named_parameters() if "W_q.weight" in k)


def test_normal_is_the_classifiers():
    torch.manual_seed(0)
    memory = AssociativeMemory(64, 64), FeatureGating(64, 64)
    INITS["normal"](*memory)
    for linear in (memory[0].W_k, memory[0].W_v, memory[0].W_q, memory[1].W_O):
        assert linear.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert not linear.bias.any()


def test_zero_wants_to_know_what_to_zero():
    with pytest.raises(ConfigError, match="start_at_zero.*, and NoInfusion has none: set MEMORY"):
        INITS["zero"](NoMemory(), NoInfusion())


def test_slow_pathway_only():
    opts = "MEMORY.INTERACTION AssociativeMemory MEMORY.PATHWAYS slow MEMORY.REDUCTION 2"
    memory = build_memory(load_cfg(None, opts.split()), [D, 4])
    x = [torch.randn(B, N, K, D), torch.randn(B, N, 7, 4)]
    X_hat = memory.infuse(x, memory.pop(memory.push(x), x))
    assert not torch.equal(X_hat[0], x[0])
    assert X_hat[1] is x[1]


def test_gate_statistics():
    gating = FeatureGating(D, D_MEM, norm="none")
    with torch.no_grad():
        gating.W_O.weight.zero_()
        gating.W_O.bias.copy_(torch.tensor([0.0, 0, 0, 100, 100, -100]))
    gating(torch.randn(B, N, K, D), torch.randn(B, N, K, D_MEM))
    assert gating.last_gate.grad_fn is None  # or a step's activations would outlive it
    stats = gating.statistics()
    assert stats["gate_mean"].item() == pytest.approx((3 * 0.5 + 2) / 6)
    assert stats["gate_saturated"].item() == pytest.approx(0.5)


@pytest.mark.parametrize(("reduction", "printed"), [(1, 49.2), (2, 40.9), (4, 36.7), (8, 34.6)])
def test_parameters_of_table_2c(reduction, printed):
    opts = f"MEMORY.INTERACTION AssociativeMemory MEMORY.REDUCTION {reduction}".split()
    cfg = load_cfg(None, [*opts, "VIDEO.NUM_CLIPS", "5"])
    with torch.device("meta"):
        model = build_model(cfg, find_task("classification").head)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert round(millions, 1) == printed


def test_before_a_first_step_there_is_no_gate_to_tell_of():
    memory = built("AssociativeMemory", "FeatureGating", "batch")
    assert memory.gate_statistics() == memory.last_gates() == {}
