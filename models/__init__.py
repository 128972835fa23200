"""What ships with leafkit besides code.

bge-small-leaf/   a student, ready to use by its name
recipes/          recipes for `leafkit distill --recipe`
quickstart/       the data of `leafkit quickstart`; help_pages.py unpacks it
parts.py          split large files into small parts and join them again
"""
