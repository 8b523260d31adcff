"""What changes flows on their way.

| module | holds |
|---|---|
| `base` | what a handler is: the hooks in the order in which they happen |
| `hooks` | for each of them, who wants to be called |
"""
