"""What a store that grows does to applying and reading."""
