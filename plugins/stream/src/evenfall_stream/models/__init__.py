"""The models, and saving and loading them."""
