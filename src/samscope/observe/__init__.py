"""What is gathered of the two gradients while a run trains."""
