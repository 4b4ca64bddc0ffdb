"""Recalls: what left is asked back, with a due day, until somebody knows that it is destroyed."""
