"""One test for each undocumented handle on a library: its name says what breaks when a release changes it.

Each looks at the library as it is installed, in the way that Hive uses it. After an upgrade run these first:
`pytest tests/upstream`; `make lowest` runs them with the lowest versions that pyproject.toml allows.
"""
