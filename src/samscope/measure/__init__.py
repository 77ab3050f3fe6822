"""Statistics of a trained model: what its loss looks like around the weights."""
