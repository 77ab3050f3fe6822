"""Training: the engine, a step, its batches."""
