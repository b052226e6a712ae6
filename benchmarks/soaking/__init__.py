"""Killing things at random and looking at what is left."""
