"""Remove weights while a model trains."""
