"""Writers: where the training texts come from."""
