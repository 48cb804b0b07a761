"""Studies: dense models, pruned in steps, trained, counted, timed and compared."""

from .curves import draw_curves
from .file import StudyFile, find_study, read_study
from .report import study_text, write_report
from .run import run_study
from .speed import time_study

__all__ = [
    "StudyFile",
    "draw_curves",
    "find_study",
    "read_study",
    "run_study",
    "study_text",
    "time_study",
    "write_report",
]
