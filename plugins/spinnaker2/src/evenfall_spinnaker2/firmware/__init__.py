"""The program of a processing element in C, its build, and its run in an emulated Cortex-M4F.

Importing the package imports none of its modules.
"""
