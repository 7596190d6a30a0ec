"""Starts `framematch …` as a process that has imported it already, so that a test does not wait for that.

A server (`server.py`) imports what the services need, once in each process of the tests, and forks for each command.
What runs is a real process with its own id, signals, environment and files; only its imports are older than it is.
`tests/install` and the demo run the commands as users do.
"""
