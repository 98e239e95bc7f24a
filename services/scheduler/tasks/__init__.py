"""What a scheduler does for one payload, one kind a file."""
