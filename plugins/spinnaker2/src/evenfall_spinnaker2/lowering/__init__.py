"""From models and graphs to a network of populations and projections."""
