"""Partition, place and route: where each unit lies, and how its events travel."""
