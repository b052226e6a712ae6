"""The batch job on Ray Data: many machines, that come and go."""
