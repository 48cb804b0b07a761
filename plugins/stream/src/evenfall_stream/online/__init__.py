"""Online classification of event streams and sounds."""

from .classifier import OnlineClassifier
from .sound import SoundStream, follow_sound

__all__ = ["OnlineClassifier", "SoundStream", "follow_sound"]
