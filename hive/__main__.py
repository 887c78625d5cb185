"""`python -m hive` is the command `hive`."""

from hive.cli import main

main()
