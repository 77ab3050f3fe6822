"""The page for readers: one self-contained HTML file."""
