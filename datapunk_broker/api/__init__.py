"""The broker over HTTP: it translates, and decides nothing."""
