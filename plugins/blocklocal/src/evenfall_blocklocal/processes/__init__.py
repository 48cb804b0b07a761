"""Blocks on several processes: activations stream forward, and no gradient comes back."""

from .checkpoints import load_checkpoint, save_checkpoint
from .costs import PipelineCost, pipeline_costs
from .pipeline import BlockPipeline, DeadRankError, PipelineOutput
from .plan import Plan, explain_plan, make_plan

__all__ = [
    "BlockPipeline",
    "DeadRankError",
    "PipelineCost",
    "PipelineOutput",
    "Plan",
    "explain_plan",
    "load_checkpoint",
    "make_plan",
    "pipeline_costs",
    "save_checkpoint",
]
