"""Models and encoders on disk and on the Hub: found, checked, built, loaded, saved."""
