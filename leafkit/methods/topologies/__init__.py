"""Who teaches whom, in which rounds: one file per system."""
