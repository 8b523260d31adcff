"""Capture files of any format: which format a file has is seen from its content, and for a new one from its name."""
