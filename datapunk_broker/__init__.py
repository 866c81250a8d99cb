"""A pub/sub broker that lives inside a Django project: ``from datapunk_broker import broker``."""

__version__ = "0.1.0"
