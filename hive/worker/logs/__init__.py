"""An attempt's log on its way: captured, spooled on disk, put in order and sent."""
