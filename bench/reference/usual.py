#!/usr/bin/env python3
"""Reference *usual*: the procedure of released.py without padding."""

from released import run

if __name__ == "__main__":
    run("usual", 0, __doc__)
