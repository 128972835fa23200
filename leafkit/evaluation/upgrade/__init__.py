"""Measure the ways to go on with an index whose model goes away: what ``leafkit upgrade`` does.

run.py         `upgrade`, the function behind the command
old.py         the old texts and vectors: an index or a vectors file
queries.py     the queries to measure with, and their old vectors where something knows them
bridge.py      linear maps between the two spaces, in closed form
student.py     the student of the old space: opened, or distilled within a budget
ways.py        the ways, and which vectors search which documents in each
agreement.py   without labels: overlap and rank agreement with the old ranking
judged.py      with judgements: nDCG@10 of each way on the same resampled queries
cost.py        what each way costs: texts, tokens, seconds, milliseconds a query
verdict.py     the rule that says which way to take
report.py      the figures: to JSON and as text
options.py     the options
"""
