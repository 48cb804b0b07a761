"""Readers of point clouds and meshes by kind of file."""
