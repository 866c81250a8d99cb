"""Keep the last items of a stream in memory, without a gap."""

from datapunk_broker.consumers.items import Item

MOST_ITEMS, MOST_BYTES = 1_000, 1024 * 1024


class Ring:
    """The items at the positions behind ``start``, up to ``head``."""

    def __init__(self, start: int) -> None:
        self.start = self.head = start
        self._items: list[Item] = []
        self._bytes = 0

    def append(self, item: Item) -> None:
        """Take the next item in; after a gap nothing from before it is kept."""
        if item.position != self.head + 1:
            self.start = item.position - 1
            self._items.clear()
            self._bytes = 0
        self._items.append(item)
        self._bytes += item.size
        self.head = item.position

    def trim(self) -> None:
        """Let the oldest go where there are too many, save the newest."""
        gone = 0
        while len(self._items) - gone > 1 and (len(self._items) - gone > MOST_ITEMS or self._bytes > MOST_BYTES):
            self._bytes -= self._items[gone].size
            gone += 1
        del self._items[:gone]
        self.start += gone

    def after(self, position: int, limit: int) -> list[Item]:
        """Return up to ``limit`` items behind a position that is not before ``start``."""
        index = position - self.start
        return self._items[index : index + limit]
