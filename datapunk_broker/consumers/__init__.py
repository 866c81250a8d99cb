"""The WebSocket and SSE door: streams by position and durable subscriptions, for whoever has the right to them.

One reader a topic and process reads the stream from the database; every socket has its own place in what that reader
keeps in memory, and reads the database itself only while it is further behind. So a reader that stalls costs its
place, not memory.
"""
