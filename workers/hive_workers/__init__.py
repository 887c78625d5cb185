"""The capabilities that come with Hive, one package each. A new task is one new file in its capability's package."""
