"""Run real queries without labels through two encoders of one index, and compare what they find.

run.py       `shadow`, the function behind ``leafkit shadow``
queries.py   read queries, one line after the other
tally.py     what is kept of each query: counts, and the few that differ most
report.py    the figures: to JSON and as text
page.py      the report as one HTML file
options.py   the options
"""
