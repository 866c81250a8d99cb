"""How many messages a subscription may still be sent: granted by its client, absolutely and once for all."""

import asyncio


class Credit:
    """Counts what was granted and what was sent, both from the beginning; a smaller grant takes nothing back.

    window: how far a grant may lie ahead of what was sent.
    """

    def __init__(self, granted: int, window: int) -> None:
        self._window = window
        self._granted = self._sent = 0
        self._more = asyncio.Event()
        self.grant(granted)

    @property
    def left(self) -> int:
        """How many may be sent now."""
        return self._granted - self._sent

    def grant(self, limit: int) -> None:
        """Let ``limit`` messages be sent in all."""
        self._granted = max(self._granted, min(limit, self._sent + self._window))
        if self.left:
            self._more.set()

    def spend(self, count: int) -> None:
        """Count messages as sent."""
        self._sent += count
        if not self.left:
            self._more.clear()

    async def some(self) -> int:
        """Wait until there is some, and return how much."""
        await self._more.wait()
        return self.left
