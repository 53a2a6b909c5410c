"""What one client may take of what belongs to all.

shared_slots.py   numbers that all worker processes of a gateway share, found by a key
budgets.py        how many requests a key has, in any stretch of time
rate_limits.py    whose budgets a request is charged to, and in which order
connections.py    how many connections there may be, and which one gives way
overload.py       when the gateway has more to do than it can, and what it says then
"""
