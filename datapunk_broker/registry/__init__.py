"""Handlers by the name of their subscription."""

from datapunk_broker.registry.functions import path_of, takes_batch
from datapunk_broker.registry.handlers import Handler, Registry, autodiscover, registry

__all__ = ["Handler", "Registry", "autodiscover", "path_of", "registry", "takes_batch"]
