"""How a step's clip budget is spent, on any number of processes (Sec. 3.3)."""

from dataclasses import dataclass

from fvcore.common.config import CfgNode


@dataclass(frozen=True)
class BatchPlan:
    """What one step holds: `videos` in each of `passes` backward passes of each of `ranks`."""

    videos: int
    clips: int  # N of each video
    at_once: int  # of them, those whose activations are held together
    ranks: int
    passes: int
    lr_scale: float  # linear scaling rule: independent videos against the budget B
    reason: str

    @property
    def step_videos(self) -> int:
        """Videos of a step over all processes and passes."""
        return self.videos * self.ranks * self.passes

    def __str__(self) -> str:
        parts = [f"{self.videos} videos x {self.clips} clips"]
        parts += [f"{self.ranks} processes"] if self.ranks > 1 else []
        parts += [f"{self.passes} passes"] if self.passes > 1 else []
        total = f" = {self.step_videos} videos" if len(parts) > 1 else ""
        return f"{' x '.join(parts)}{total} a step, {self.reason}"


def batch_plan(cfg: CfgNode, ranks: int = 1) -> BatchPlan:
    """How `TRAIN.BATCH_SIZE`, the clip budget B of a step over all `ranks`, is spent.

    Batch reduction takes B / N videos, multi-iteration B; rounded for every process and pass. The
    learning rate is scaled by videos / B: a step sees that many independent samples.
    """
    B, N, passes = cfg.TRAIN.BATCH_SIZE, cfg.VIDEO.NUM_CLIPS, cfg.SOLVER.ACCUM_ITERS
    multi = cfg.VIDEO.STRATEGY == "multi_iteration"
    shares = ranks * passes
    exact = (B if multi else B / N) / shares
    videos = max(1, round(exact))
    total = videos * shares
    strategy = "multi-iteration" if multi else "batch reduction"
    at_once = min(N, cfg.VIDEO.CLIPS_AT_ONCE) if multi else N
    if multi and at_once > 1:
        strategy += f" by {at_once} clips"
    share = f"{B}" if multi else f"{B} / {N}"
    share += f" / {ranks}" * (ranks > 1) + f" / {passes}" * (passes > 1)
    share = share if videos == exact else f"round({share})"
    scale = f"learning rate x {total}/{B}" if total != B else "learning rate unscaled"
    reason = f"{strategy}: {share} videos, {scale}"
    return BatchPlan(videos, N, at_once, ranks, passes, total / B, reason)
