"""What crosses a wire: job records, messages and their signatures."""
