"""What changes flows on their way.

base       Handler: the hooks in the order in which they happen
hooks      Hooks: for each of them, who wants to be called
"""
