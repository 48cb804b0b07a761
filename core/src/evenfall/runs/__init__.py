"""Training runs: the folder of a run, callbacks in its loop, and grids of runs."""

from .callbacks import Callback, Callbacks, TrainingContext, check_callbacks, make_callbacks
from .folder import RunFolder
from .grid import grid_table, run_grid
from .lock import is_first_rank
from .once import run_once
from .progress import Progress
from .states import read_state, write_state

__all__ = [
    "Callback",
    "Callbacks",
    "Progress",
    "RunFolder",
    "TrainingContext",
    "check_callbacks",
    "grid_table",
    "is_first_rank",
    "make_callbacks",
    "read_state",
    "run_grid",
    "run_once",
    "write_state",
]
