"""From rows of tables to the runs that a profile makes, and their order."""
