"""Why the test error is above the train error, or both are too high, and what to change."""

from diagnose.gap._recommendation import Recommendation
from diagnose.gap._space import recommend_space, sweep_parameters
from diagnose.gap._stopping import CheckpointChoice, best_checkpoint

__all__ = ["CheckpointChoice", "Recommendation", "best_checkpoint", "recommend_space", "sweep_parameters"]
