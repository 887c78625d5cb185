"""The commands of `hive`: each module lists those that it holds in COMMANDS, by the section of `hive --help`."""
