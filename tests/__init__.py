"""The test suite: one file for each source file, folder by folder."""

import os

# What tests say of seconds is meant as it stands, whatever the machine's own time-outs are multiplied by.
os.environ.pop("TCPCLIENT_TESTING_TIMEOUT_SCALE", None)
