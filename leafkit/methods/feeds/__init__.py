"""Which texts are trained on, how often and in what view: one file per system."""
