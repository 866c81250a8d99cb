"""The bytes of a payload: made, judged, packed and read."""

from datapunk_broker.payload.headers import check_headers, check_text, is_media_type
from datapunk_broker.payload.judging import MAX_DEPTH, judge
from datapunk_broker.payload.packing import compress, decompress, unpacked_size
from datapunk_broker.payload.reading import decode
from datapunk_broker.payload.schema import Validator, check_schema, compile_schema
from datapunk_broker.payload.writing import encode

__all__ = (
    "MAX_DEPTH",
    "Validator",
    "check_headers",
    "check_schema",
    "check_text",
    "compile_schema",
    "compress",
    "decode",
    "decompress",
    "encode",
    "is_media_type",
    "judge",
    "unpacked_size",
)
