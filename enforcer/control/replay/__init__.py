"""
Replay: recorded traffic decided again, with the rows as they were, under the policies that were or that might be.

Read ``fold`` first. ``recording`` is where records come from, ``policies`` what was in force, ``differences`` what is
told of it, ``running`` the partitions side by side, ``page`` the report to look at.
"""
