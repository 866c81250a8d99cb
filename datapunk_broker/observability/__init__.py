"""What can be seen of the broker from outside: logs, metrics and what is collected at scrape time."""
