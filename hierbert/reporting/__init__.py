"""What a run or an evaluation found, as a page and as tables; and runs beside one another.

A section of a report is a file of `sections`, which draws the entries of results.json that it
knows; which ones there are, a task decides. Nothing here imports tasks, training or a model.
"""
