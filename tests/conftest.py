"""What holds for all tests: none of them asserts a time, so hypothesis gives every example the time it takes."""

from hypothesis import settings

settings.register_profile("mitmdump", deadline=None)
settings.load_profile("mitmdump")
