"""What models learn and answer: a file for each task, named as its head is."""
