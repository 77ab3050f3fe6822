"""Reading text: YAML, profiles, papers, printed numbers, claims."""
