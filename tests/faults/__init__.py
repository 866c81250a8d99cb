"""What is promised while things break: drills that break something real and count every message."""
