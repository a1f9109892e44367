"""Does the flow reach where real embeddings with the target attributes live, and keep them apart?"""

from fclf.evaluation.protocol import evaluate
from fclf.evaluation.results import Report

__all__ = ["Report", "evaluate"]
