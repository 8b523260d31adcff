"""Capture formats of others, one module each; `FORMATS` is the table of them."""
