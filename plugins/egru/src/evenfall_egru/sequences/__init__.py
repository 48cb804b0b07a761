"""Sequences of frames to classify: vectors of features instead of tokens."""

from .event_frames import read_event_frames
from .frames import Frames, read_frames
from .mnist import read_mnist

__all__ = ["Frames", "read_event_frames", "read_frames", "read_mnist"]
