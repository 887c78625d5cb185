"""Who rents machines out: one module for each provider."""
