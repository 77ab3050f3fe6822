"""Stages: a spec in, a record out."""
