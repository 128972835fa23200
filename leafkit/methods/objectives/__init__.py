"""What is imitated, and how the distance is measured: one file per objective."""
