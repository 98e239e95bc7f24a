"""Members in and out as files, a piece at a time: the file's size is no matter."""
