"""What ships with leafkit besides code.

bge-small-leaf*/  three students of bge-small-en-v1.5, ready to use by their names
recipes/          recipes for `leafkit distill --recipe`
quickstart/       the data of `leafkit quickstart`; help_pages.py unpacks it
parts.py          split large files into small parts and join them again
"""
