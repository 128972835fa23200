"""Feeds: which texts are trained on, how often and in which view."""
