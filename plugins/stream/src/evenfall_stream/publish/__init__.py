"""Folders of checkpoints for the Hub."""
