"""What travels with a checkpoint: text to segments, segments to vectors, vectors to answers.

Imports torch, transformers and its own siblings only, so that its files work on the Hub alone.
"""
