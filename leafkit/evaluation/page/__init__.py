"""Reports as one page that needs nothing outside itself."""
