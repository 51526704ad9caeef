"""The only place that defines, reads from disk or checks configuration."""

from cmvl.config.defaults import get_cfg
from cmvl.config.load import dump_cfg, load_cfg
from cmvl.config.plan import BatchPlan, batch_plan
from cmvl.config.validate import check_training

__all__ = ["BatchPlan", "batch_plan", "check_training", "dump_cfg", "get_cfg", "load_cfg"]
