"""The models as transformers models. Importing this registers them with the Auto classes."""
