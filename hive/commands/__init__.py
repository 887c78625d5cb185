"""The commands of `hive`, one module for each family."""
