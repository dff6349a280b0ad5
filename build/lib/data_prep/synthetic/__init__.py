"""Faces that are drawn: anatomy (identity), action units (expression), renderer, the two twin databases."""
