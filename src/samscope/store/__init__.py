"""Records on disk: runs, states, where numbers come from, what counts as a change of code."""
