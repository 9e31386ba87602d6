"""The test suite: one file for each source file, folder by folder."""

import asyncio.constants
import os

# What tests say of seconds is meant as it stands, whatever the machine's own time-outs are multiplied by.
os.environ.pop("TCPCLIENT_TESTING_TIMEOUT_SCALE", None)

# unittest runs asyncio in debug mode, which keeps ten lines of stack for each future and callback: it was a fifth of
# all the time. The innermost line will do; what debug mode checks is the same.
asyncio.constants.DEBUG_STACK_DEPTH = 1  # type: ignore[misc,unused-ignore]
