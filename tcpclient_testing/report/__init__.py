"""What a failure looks like: the text of an `ExpectationError`, and its hints."""

from .report import ExpectationError, Report, conversation_text, headline

__all__ = ["ExpectationError", "Report", "conversation_text", "headline"]
