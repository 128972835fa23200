"""Files and folders on disk: atomic writes, locks, checksums, JSON and progress bars."""
