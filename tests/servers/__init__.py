"""The real PostgreSQL and Redis-protocol servers that the tests run on."""
