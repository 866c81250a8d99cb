"""The broker over HTTP: it translates, and decides nothing."""

APPS = ("rest_framework", "rest_framework.authtoken", "drf_spectacular", "drf_spectacular_sidecar")
"""The apps that it is made with; it is mounted where all are installed."""
