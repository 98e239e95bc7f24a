"""Segments: which members of a newsletter's lists get it, as a tree of conditions.

Each condition is true or false of a member, never unknown: what a member does not have is not equal, not less, not
contained in anything, so a `not` around such a condition is true.
"""
